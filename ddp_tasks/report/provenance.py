"""What a report was made of, by which a finished one is known."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

from ddp_tasks.store import groups
from schemas.parameters import RunParameters
from schemas.recording import recorded

#: Characters that hold what a page says of itself.
_HEAD = 1000


def made_of_page(page: Path) -> str | None:
    """What a page says it was made of, as its template was given it; None where it says nothing."""
    try:
        with page.open(encoding="utf-8") as file:
            start = file.read(_HEAD)
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    found = re.search(r'<meta name="made-of" content="([^"]*)">', start)
    return found[1] if found else None


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
