"""Parts of a page, which other processes may have made. Nothing here loads what draws them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from markupsafe import Markup

from ddp_tasks.queries.summary import Summary


class Part(Protocol):
    """A part of a page, which another process may have made."""

    @property
    def html(self) -> Markup:
        """Its elements."""
        ...

    @property
    def figures(self) -> str:
        """Its figures, packed; the page draws them when the part is opened."""
        ...

    @property
    def data(self) -> str:
        """What the page's script draws of it, packed; empty for nothing."""
        ...

    @property
    def drawings(self) -> Mapping[str, str]:
        """Its drawings of one direction, packed, by direction; a page without room omits them."""
        ...

    @property
    def pictures(self) -> Mapping[str, str]:
        """The pictures that it shows as data URIs, by the numbers that its figures give them."""
        ...


@dataclass(frozen=True)
class Fragment:
    """A part of a page, in memory."""

    html: Markup
    figures: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    drawings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FragmentFiles:
    """A part of a page in files, read while the page is written."""

    folder: Path
    name: str

    def write(self, part: Part) -> None:
        """Write the files."""
        self._file("html").write_bytes(part.html.encode())
        self._file("figures").write_bytes(part.figures.encode())
        self._file("data").write_bytes(part.data.encode())
        self._file("drawings").write_bytes(json.dumps(dict(part.drawings)).encode())
        self._file("pictures").write_bytes(json.dumps(dict(part.pictures)).encode())

    @property
    def html(self) -> Markup:
        """As in ``Part``."""
        return Markup(self._file("html").read_bytes().decode())

    @property
    def figures(self) -> str:
        """As in ``Part``."""
        return self._file("figures").read_bytes().decode()

    @property
    def data(self) -> str:
        """As in ``Part``."""
        return self._file("data").read_bytes().decode()

    @property
    def drawings(self) -> Mapping[str, str]:
        """As in ``Part``."""
        drawings: dict[str, str] = json.loads(self._file("drawings").read_bytes())
        return drawings

    @property
    def pictures(self) -> Mapping[str, str]:
        """As in ``Part``."""
        pictures: dict[str, str] = json.loads(self._file("pictures").read_bytes())
        return pictures

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"


def anchors(summary: Summary) -> dict[str, str]:
    """Names of the parts of a report, by layer, in forward order; for addresses see ``queries``."""
    return {layer.layer: f"layer-{i}" for i, layer in enumerate(summary.layers)}
