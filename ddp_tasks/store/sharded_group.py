"""Groups that are cut into the shards of the cube: one rule for how a shard is written and missed.

Every array of such a group has one file a shard. Arrays of signals (image, layer, singular vector)
lie in Zarr's sharded layout, which ``ShardFiles`` writes; of what there is one value an image for,
Zarr writes one chunk a shard. ``complete`` marks a shard with a number that holds for its files
alone, and is written last (``shard_marks``); where the group has the array ``checksum``, it says
what each chunk of the signals was.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec

from ddp_tasks.store import marks, shard_marks
from ddp_tasks.store.shard_files import ShardFiles
from schemas.variables import SchemaError, attributes, declared

#: Of the shards themselves, as ``create_arrays`` takes them.
_NUMBERS: dict[str, Any] = {"fill_value": 0, "compressors": Crc32cCodec()}


def signals_template(shape: Sequence[int], block: int, vectors: int) -> dict[str, Any]:
    """How an array of signals is cut.

    Parameters
    ----------
    shape
        (images, layers, singular vectors).
    block
        images in a shard.
    vectors
        singular vectors in a chunk.
    """
    images, layers, width = shape
    return {
        "shape": (images, layers, width),
        "chunks": (block, 1, vectors),
        # One file a block of images; chunks past a layer's rank are not in it.
        "shards": (block, layers, -(-width // vectors) * vectors),
        "dtype": "float32",
        "fill_value": float("nan"),
        # Signals hardly compress (zstd takes 7 % off noise) and are read several times over.
        "compressors": Crc32cCodec(),
        "config": {"write_empty_chunks": False},
    }


def checksum_template(signals: Mapping[str, Any]) -> dict[str, Any]:
    """How the checksums of an array of signals are cut: plain numbers, one file a shard."""
    images, layers, width = signals["shape"]
    block, _, vectors = signals["chunks"]
    chunks = (layers, -(-width // vectors))
    shape = (-(-images // block), *chunks)
    return {"shape": shape, "chunks": (1, *chunks), "dtype": "uint32", **_NUMBERS}


def create_arrays(
    path: Path,
    group: str,
    templates: Mapping[str, Mapping[str, Any]],
    shards: int,
    made_with: Mapping[str, str] | None = None,
) -> None:
    """Make the empty arrays of a group, and ``complete`` beside them; then mark the group.

    Parameters
    ----------
    path, group
        the group has its coordinates by now, and no mark.
    templates
        by array, as ``zarr.Group.create_array`` takes them.
    shards
        how many there are.
    made_with
        as ``store.record`` takes it.
    """
    opened = zarr.open_group(store=path, path=group, mode="a", use_consolidated=False)
    complete = {"shape": shards, "chunks": 1, "dtype": "int64", **_NUMBERS}
    every = {**templates, shard_marks.COMPLETE: complete}
    for name, template in every.items():
        variable = declared(group).variables[name]
        opened.create_array(
            name, dimension_names=variable.dims, attributes={**attributes(variable)}, **template
        )
    # Only now is the group whole; its shards carry marks of their own.
    marks.set_mark(path / group, made_with, by_shard=list(every))


def write_shard(
    folder: Path, index: int, images: slice, rows: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write one shard of all arrays of a group; safe to do twice.

    The shard counts as written only after its data are.

    Parameters
    ----------
    folder
        of the group.
    images
        first image of the shard, and the one after its last.
    rows
        by array, one row an image of the shard.

    Raises
    ------
    SchemaError
        If the arrays are not the group's, or do not fit the shard.
    """
    names, arrays = _opened(folder, shard_marks.stamp(folder / "zarr.json"))
    if set(rows) != set(arrays):
        raise SchemaError(f"{folder.name} has the arrays {sorted(arrays)}, not {sorted(rows)}")
    for name, array in arrays.items():
        expected = (images.stop - images.start, *array.shape[1:])
        if rows[name].shape != expected:
            raise SchemaError(
                f"{name} of shard {index} has shape {rows[name].shape}, not {expected}"
            )
    if shard_marks.damage(folder, index):
        # The mark goes first: what it was made of is going to be gone.
        clear_shard(folder, (shard_marks.COMPLETE, *names), index)
    for name, array in arrays.items():
        if array.shards is None:
            array[images] = rows[name]
            continue
        checksums = ShardFiles.of_group(folder, name).write(index, rows[name])
        if shard_marks.CHECKSUM in names:
            shard_marks.write_numbers(folder, shard_marks.CHECKSUM, index, checksums[None])
    number = shard_marks.digest(folder, names, index)
    shard_marks.write_numbers(folder, shard_marks.COMPLETE, index, np.array([number]))


def clear_shard(folder: Path, arrays: Sequence[str], shard: int) -> None:
    """Remove a shard's files: where there is half a file, Zarr reads it before it writes."""
    for name in arrays:
        chunk = folder / name / "c" / str(shard)
        if chunk.is_dir() and not chunk.is_symlink():
            shutil.rmtree(chunk, ignore_errors=True)
        else:
            chunk.unlink(missing_ok=True)


def empty_rows(folder: Path, images: int) -> dict[str, npt.NDArray[Any]]:
    """Rows as ``write_shard`` takes them, of images of which nothing is known."""
    _, arrays = _opened(folder, shard_marks.stamp(folder / "zarr.json"))
    return {
        name: np.full(
            (images, *array.shape[1:]),
            array.fill_value,
            dtype=object if isinstance(array.fill_value, str) else array.dtype,
        )
        for name, array in arrays.items()
    }


def clear_partial_files(folder: Path) -> int:
    """Remove what a process that was killed while it wrote left beside a group's files.

    Returns
    -------
    number of files removed
    """
    # Zarr writes a file under such a name first and renames it when it is whole, as we do.
    left = [*folder.rglob("*.partial"), *folder.rglob(".ddp-*.part")]
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


@lru_cache(maxsize=4)
def _opened(
    folder: Path, _: shard_marks.Stamp | None
) -> tuple[tuple[str, ...], dict[str, zarr.Array[Any]]]:
    """Names of the arrays that a group has by shard, and those that are given rows, opened once."""
    mark = marks.read_mark(folder)
    if mark is None:
        raise marks.DamagedStoreError(f"{folder} is not finished")
    group: Any = zarr.open_group(store=folder, mode="r+", use_consolidated=False)
    own = (shard_marks.COMPLETE, shard_marks.CHECKSUM)
    return tuple(mark.by_shard), {name: group[name] for name in mark.by_shard if name not in own}
