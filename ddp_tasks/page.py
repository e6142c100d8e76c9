"""Pages that need nothing beside themselves: templates filled in, figures and scripts inlined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import holoviews as hv
import jinja2
from bokeh.document import Document
from bokeh.embed import components
from bokeh.model import Model
from bokeh.models import Axis, PlainText
from bokeh.resources import Resources
from markupsafe import Markup

from ddp_tasks.notation import short


class Part(Protocol):
    """A part of a page, which another process may have made."""

    @property
    def html(self) -> Markup:
        """Its elements."""
        ...

    @property
    def script(self) -> Markup:
        """What fills in its figures, once the page is there."""
        ...


@dataclass(frozen=True)
class Fragment:
    """A part of a page, in memory."""

    html: Markup
    script: Markup


@dataclass(frozen=True)
class FragmentFiles:
    """A part of a page in two files, read when the page comes to it."""

    folder: Path
    name: str

    def write(self, part: Part) -> None:
        """Write the files."""
        (self.folder / f"{self.name}.html").write_bytes(part.html.encode())
        (self.folder / f"{self.name}.script").write_bytes(part.script.encode())

    @property
    def html(self) -> Markup:
        """As of ``Part``."""
        return Markup((self.folder / f"{self.name}.html").read_bytes().decode())

    @property
    def script(self) -> Markup:
        """As of ``Part``."""
        return Markup((self.folder / f"{self.name}.script").read_bytes().decode())


def fragment(template: str, plots: Mapping[str, hv.Overlay], **context: Any) -> Fragment:
    """A part of a page.

    Parameters
    ----------
    template
        file name within this package.
    plots
        figures of the part; the template finds their elements as ``figure``, by the same keys.
    context
        what else the template uses.
    """
    script, figure = _embedded(plots)
    html = _templates().get_template(template).render(figure=figure, short=short, **context)
    return Fragment(Markup(html), script)


def rendered(template: str, plots: Mapping[str, hv.Overlay], **context: Any) -> str:
    """A page in one text; ``pieces`` says the rest."""
    return "".join(pieces(template, plots, (), **context))


def pieces(
    template: str, plots: Mapping[str, hv.Overlay], parts: Sequence[Part], **context: Any
) -> Iterator[str]:
    """A page whose template extends ``base.html.jinja``, piece by piece.

    Parameters
    ----------
    parts
        of the page, which the template places; each is in memory only while it is written.
    template, plots, context
        as of ``fragment``.
    """
    script, figure = _embedded(plots)
    return (
        _templates()
        .get_template(template)
        .generate(
            # js_raw alone: the rest of it names scripts that Panel, if imported, would have loaded.
            bokeh=[Markup(js) for js in Resources(mode="inline", components=["bokeh"]).js_raw],
            scripts=chain((part.script for part in parts), [script]),
            parts=parts,
            figure=figure,
            short=short,
            **context,
        )
    )


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("ddp_tasks", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _write_names_as_text(root: Model) -> None:
    """Have names at axes shown as they are: Bokeh takes dollar signs for a formula's."""
    for axis in root.select({"type": Axis}):
        axis.major_label_overrides = {
            place: PlainText(text=label) if isinstance(label, str) else label
            for place, label in axis.major_label_overrides.items()
        }


def _embedded(plots: Mapping[str, hv.Overlay]) -> tuple[Markup, dict[str, Markup]]:
    """Script and elements that put figures on a page, by the keys of the figures."""
    if not plots:
        return Markup(""), {}
    renderer = hv.renderer("bokeh")
    roots = {key: renderer.get_plot(plot).state for key, plot in plots.items()}
    document = Document()
    for root in roots.values():
        _write_names_as_text(root)
    # Frozen, since every root added would make Bokeh walk through all models anew.
    with document.models.freeze():
        for root in roots.values():
            document.add_root(root)
    script, divs = components(roots)
    return Markup(script), {key: Markup(div) for key, div in divs.items()}
