"""Reference pages made from the source while the site is built.

A page holds ``<!-- generated: NAME -->``; what stands in its place is made by the function of that
name, so that keys, variables, commands and public names are written once, in the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sphinx.application import Sphinx

from docs.generated import commands, public_names, run_files, store

PARTS: Mapping[str, Callable[[], str]] = {
    "run file": run_files.run_file,
    "zoo file": run_files.zoo_file,
    "cluster file": run_files.cluster_file,
    "presets": run_files.preset_list,
    "store": store.groups,
    "store dimensions": store.dimensions,
    "store attributes": store.attributes,
    "commands": commands.commands,
    "public names": public_names.rooms,
}

_ROOT = Path(__file__).resolve().parents[2]

_MARK = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Replace the marks as Sphinx reads a page."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def filled(text: str) -> str:
    """A page's text with what is generated in place of the marks.

    Raises
    ------
    KeyError
        If a mark names no part.
    """
    return _MARK.sub(lambda mark: PARTS[mark[1]](), text)


def _replace(app: Sphinx, _page: str, source: list[str]) -> None:
    if _MARK.search(source[0]):
        # Read again by the next build if the code has changed.
        for package in ("schemas", "flows", "docs/generated"):
            for file in sorted((_ROOT / package).rglob("*.py")):
                app.env.note_dependency(str(file))
        source[0] = filled(source[0])
