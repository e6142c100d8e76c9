"""What a finished run left."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ddp_tasks.queries.summary import Summary


@dataclass(frozen=True)
class Outcome:
    """Where a finished run left its results, what it found, and where its time went."""

    store: Path
    report: Path
    hypergraphs: Path
    summary: Summary
    seconds: dict[str, float] = field(default_factory=dict)
    """of each part of the run; empty for one that was finished before."""
