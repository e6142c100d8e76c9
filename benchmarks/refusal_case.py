"""Run files and arguments that people hand over, of many kinds: those of ``refusals``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from runs import HERE

from benchmarks.refusals import Case

REFUSED, RAN, LATE = "refused", "ran", "refused late"

BREAKING = HERE.with_name("breaking.py")

#: A run small enough to be carried out some hundred times.
TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"factory": f"{HERE}:TinyNetwork"},
    "images": {"factory": f"{HERE}:Noise"},
    "significance": {"quantile": 0.8, "percentage": 60, "resamples": 4, "sample_sizes": [5]},
    "shards": {"images": 8, "batch_size": 3},
    "exemplars": 4,
    "cluster": "local",
}


def run_case(
    kind: str,
    *options: str,
    expected: str | None = None,
    command: str = "run",
    before: Callable[[Path], object] = lambda _: None,
    **changes: Any,
) -> Case:
    """The tiny run with dotted keys changed, ``__`` for each dot; None leaves a key out."""
    content = changed(TINY, {key.replace("__", "."): value for key, value in changes.items()})
    files = {"mine.yaml": yaml.safe_dump(content, allow_unicode=True).encode("utf-8")}
    out = ("--out", "out") if command == "run" and "--out" not in options else ()
    return Case(kind, (command, "mine.yaml", *out, *options), files, before, expected)


def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings with other values under dotted keys."""
    content = copy.deepcopy(content)
    for key, value in changes.items():
        at = content
        *parents, last = key.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return content
