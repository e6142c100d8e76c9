"""What a report was made of, by which a finished one is known."""

from __future__ import annotations

import hashlib
import os
import re
from importlib.metadata import version
from pathlib import Path

from ddp_tasks.store import groups
from schemas.parameters import RunParameters
from schemas.recording import recorded

#: Bytes that hold what a page says of itself.
_HEAD = 1000
_TAIL = 20


def made_of_page(page: Path) -> str | None:
    """What a page says it was made of; None where it says nothing, or is not there to its end."""
    try:
        with page.open("rb") as file:
            start = file.read(_HEAD)
            file.seek(-min(_TAIL, page.stat().st_size), os.SEEK_END)
            end = file.read()
    except FileNotFoundError:
        return None
    found = re.search(rb'<meta name="made-of" content="([^"]*)">', start)
    return found[1].decode() if found and end.rstrip().endswith(b"</html>") else None


def made_of(run: RunParameters, path: Path) -> str:
    """What tells the report of one finished store from another's; a page says it of itself.

    The run's parameters, the groups of all layers, and the releases of what draws. What layers
    have of their own, hypergraphs and resamples, follows from these.
    """
    shown = [
        "layers",
        "significance",
        "family",
        "exemplars",
        *(["capacity"] if run.capacity else []),
    ]
    parts = [recorded(run).model_dump_json(), groups.stamp(path)]
    parts += [version(package) for package in ("ddp-flows", "bokeh", "holoviews")]
    parts += [groups.fingerprint(path, group) for group in shown]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
