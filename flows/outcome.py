"""The results of a finished run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ddp_tasks.queries.summary import Summary


@dataclass(frozen=True)
class Outcome:
    """Paths of a finished run's results, its summary, and the seconds of each part."""

    store: Path
    report: Path
    hypergraphs: Path
    summary: Summary
    seconds: dict[str, float] = field(default_factory=dict)
    """seconds of each part; empty if the run was finished before."""
