"""The digest of what a report was made of, by which a finished report is recognised."""

from __future__ import annotations

import hashlib
import os
import re
from importlib.metadata import version
from pathlib import Path

from ddp_tasks.queries.ablation import is_ablated
from ddp_tasks.store import groups
from schemas.parameters import RunParameters
from schemas.recording import recorded

#: Bytes at the start and the end of a page that hold its digest and its last tag.
_HEAD = 1000
_TAIL = 20


def made_of_page(page: Path) -> str | None:
    """The digest in a page; None if it has none, or if the page is missing or incomplete."""
    try:
        with page.open("rb") as file:
            start = file.read(_HEAD)
            file.seek(-min(_TAIL, page.stat().st_size), os.SEEK_END)
            end = file.read()
    except FileNotFoundError:
        return None
    tag = re.search(rb'<meta name="made-of" content="([^"]*)">', start)
    return tag[1].decode() if tag and end.rstrip().endswith(b"</html>") else None


def made_of(run: RunParameters, path: Path) -> str:
    """The digest of what the report of a finished store is made of; the page holds it.

    It covers the run's parameters, the groups that hold all layers, and the releases of the
    packages that draw. The groups of single layers, hypergraphs and resamples, follow from these.
    """
    shown = [
        "layers",
        "significance",
        "family",
        "exemplars",
        "pictures",
        "controls",
        *(["capacity"] if run.capacity else []),
        *(["ablated"] if is_ablated(path, run.significance.directions) else []),
        *(f"visualizations/{name}" for name in groups.names_below(path, "visualizations")),
    ]
    parts = [recorded(run).model_dump_json(exclude={"shards"}), groups.stamp(path)]
    parts += [version(package) for package in ("ddp-flows", "bokeh", "holoviews")]
    parts += [groups.fingerprint(path, group) for group in shown]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
