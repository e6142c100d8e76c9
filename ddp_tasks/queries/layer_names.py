"""Layers of a run as a person names them: by name or by glob."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from schemas.run_error import RunError
from schemas.run_files import nearest


def matching_layers(known: Sequence[str], globs: Sequence[str], store: Path) -> list[str]:
    """Layers that names and globs match.

    Parameters
    ----------
    known
        layers of the run, in forward order.
    globs
        names and globs; a name is taken as it stands even where it is a glob too.
    store
        path of the store, for messages.

    Returns
    -------
    in forward order

    Raises
    ------
    RunError
        If one of them matches no layer; it names the nearest, and all layers.
    """
    for glob in globs:
        if not any(_matches(name, glob) for name in known):
            raise RunError(
                f"layers: {glob!r} matches no layer of {store}{nearest(glob, known)}; layers: "
                f"{', '.join(known)}"
            )
    return [name for name in known if any(_matches(name, glob) for glob in globs)]


def _matches(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)
