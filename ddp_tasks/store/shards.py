"""The shards of the cube: listing them, finding the missing ones, and writing one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ddp_tasks.store import marks, shard_marks, sharded_group, trees
from ddp_tasks.store.shard_files import ShardFiles
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.variables import (
    SchemaError,
)

#: Variables written for each image beside its signals: type, and the value that means unknown.
OF_IMAGES: Mapping[str, tuple[str, Any]] = {
    "predicted": ("int64", -1),
    "predicted_name": ("str", ""),
    "confidence": ("float32", float("nan")),
    "error": ("str", ""),
    "content_size": ("int64", -1),
    "content_digest": ("uint64", 0),
}


@dataclass(frozen=True)
class Shard:
    """A block of images, aligned to the chunks of the cube and written by one task."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"shard {self.index} (images {self.start} to {self.stop - 1})"


def shards(path: Path) -> list[Shard]:
    """All shards of the cube, in order."""
    images, block = _images(path)
    return [_shard(index, images, block) for index in range(-(-images // block))]


def _images(path: Path) -> tuple[int, int]:
    """Number of images of the cube, and of a shard."""
    name = f"{shard_marks.SIGNAL}/zarr.json"
    array = json.loads(marks.checked_bytes(path / "signals", name))
    return array["shape"][0], array["chunk_grid"]["configuration"]["chunk_shape"][0]


def _shard(index: int, images: int, block: int) -> Shard:
    return Shard(index, index * block, min((index + 1) * block, images))


def missing_shards(path: Path, group: str = "signals") -> list[Shard]:
    """The shards of a group that are not marked as written, or whose files have changed since.

    The cube's signals themselves are not read: see ``damaged_signals``.
    """
    every = shards(path)
    whys = trees.over_files(path, lambda s: shard_marks.damage(path / group, s.index), every)
    return [shard for shard, why in zip(every, whys, strict=True) if why]


def damaged_signals(path: Path, shard: Shard) -> str | None:
    """Why a shard is not as it was written, or None; all of it is read."""
    try:
        ShardFiles.of_group(path / "signals").check(shard.index)
    except (marks.DamagedStoreError, OSError) as error:
        return str(error)
    return None


def clear_partial_files(path: Path) -> int:
    """Remove the partial files that a killed process left beside the cube's files.

    Returns
    -------
    number of files removed
    """
    return sharded_group.clear_partial_files(path / "signals")


def write_shard(path: Path, shard: Shard, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write one shard's rows of the cube; they may safely be written twice.

    The shard counts as written only after its data are.

    Parameters
    ----------
    arrays
        ``signal`` and those of ``OF_IMAGES``, each with one row per image of the shard;
        ``predicted_name`` follows from ``predicted``.

    Raises
    ------
    SchemaError
        If the arrays do not fit the shard, or the shard does not fit the chunks of the cube.
    """
    if shard != _shard(shard.index, *_images(path)):
        raise SchemaError(f"{shard} crosses the edges of the cube's chunks")
    images = slice(shard.start, shard.stop)
    folder = path / "signals"
    names = _names(folder, shard_marks.stamp(folder / "zarr.json"))
    rows = dict(arrays)
    if "predicted" in rows:  # without it the shard is refused
        rows["predicted_name"] = _named(rows["predicted"], names)
    sharded_group.write_shard(folder, shard.index, images, rows)


def _named(
    predicted: npt.NDArray[np.integer[Any]], names: npt.NDArray[np.object_]
) -> npt.NDArray[np.object_]:
    """Names of the classes that a network chose; it may have outputs that no image belongs to."""
    known = names[np.minimum(predicted, len(names) - 1)]
    return np.array(
        [
            f"output {number}" if number >= len(names) - 1 else name
            for number, name in zip(predicted.tolist(), known, strict=True)
        ],
        dtype=object,
    )


@lru_cache(maxsize=4)
def _names(folder: Path, _: shard_marks.Stamp | None) -> npt.NDArray[np.object_]:
    """Names of the target classes, and an empty one for the number -1."""
    names = zarr.open_array(store=zarr_store(folder / "target_class"), mode="r")[:]
    return np.array([*np.asarray(names).tolist(), ""], dtype=object)


def empty_rows(path: Path, shard: Shard) -> dict[str, npt.NDArray[Any]]:
    """Rows for ``write_shard``, filled with the values for images of which nothing is known."""
    return sharded_group.empty_rows(path / "signals", len(shard))
