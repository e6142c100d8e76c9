"""How much of a run, or of a list of models, its store holds so far."""

from __future__ import annotations

from pathlib import Path

from ddp_tasks.store import groups, marks, shards, trees
from schemas.names import group_path
from schemas.zoo import ZooParameters


def shards_written(path: Path) -> tuple[int, int] | None:
    """How many shards of the cube are written, and how many there are; None without a store.

    Parameters
    ----------
    path
        of the run's store.
    """
    if not trees.exists(path):
        return None
    every = len(shards.shards(path))
    return every - len(shards.missing_shards(path)), every


def models_written(path: Path, zoo: ZooParameters) -> int:
    """How many models of a list are written.

    Parameters
    ----------
    path
        of the list's store.
    """
    return sum(_is_written(path, group_path("capacity", model.name)) for model in zoo.models)


def _is_written(path: Path, group: str) -> bool:
    try:
        return groups.is_marked(path, group)
    except marks.DamagedStoreError:
        return False
