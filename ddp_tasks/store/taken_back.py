"""Letting shards count as not written again, and removing the findings made from them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ddp_tasks.store import shard_marks, sharded_group, trees
from ddp_tasks.store.groups import read
from ddp_tasks.store.shards import Shard, missing_shards, shards

#: Groups that are kept when shards are taken back: of the weights, the cube, and the pass.
_NOT_OF_THE_CUBE = ("layers", "decomposition", "signals", "extraction", "capacity")


def unreadable_images(path: Path) -> dict[str, str]:
    """Why images could not be read, by id, for the shards that count as written."""
    signals, missing = read(path, "signals"), {shard.index for shard in missing_shards(path)}
    ids, reasons = signals["image"].to_numpy(), dict[str, str]()
    for shard in shards(path):
        if shard.index not in missing:
            error = signals["error"][shard.start : shard.stop].to_numpy()
            unread = np.flatnonzero(error != "")
            reasons |= {str(ids[shard.start + row]): str(error[row]) for row in unread}
    return reasons


def take_back(path: Path, images: Collection[str]) -> None:
    """Let shards with these images count as not written, and remove the findings from the cube."""
    taken = np.isin(read(path, "signals")["image"].to_numpy(), list(images))
    forget(path, [s for s in shards(path) if taken[s.start : s.stop].any()])


def was_written(path: Path, shard: Shard) -> bool:
    """Whether a shard was ever written, even if it is damaged now."""
    return (path / "signals" / shard_marks.COMPLETE / "c" / str(shard.index)).exists()


def forget(path: Path, taken: Collection[Shard]) -> None:
    """Let shards count as not written, and remove the findings from the cube."""
    # Groups first, so that a cube written anew never stands beside findings of the old one.
    for group in path.iterdir():
        if group.is_dir() and group.name not in _NOT_OF_THE_CUBE:
            trees.remove(group)
    for shard in taken:
        sharded_group.clear_shard(path / "signals", [shard_marks.COMPLETE], shard.index)
