"""Groups cut into the cube's shards: one rule for writing a shard and for noticing a missing one.

Every array of such a group has one file per shard. Arrays of signals, which have the dimensions
(image, layer, singular vector), lie in Zarr's sharded layout, which ``ShardFiles`` writes. For
arrays with one value per image, Zarr writes one chunk per shard. ``complete`` is written last and
marks a shard with a number that fits only its own files (``shard_marks``). The array ``checksum``,
in groups that have it, holds the CRC-32C of each chunk of the signals.
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
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.object_paths import ObjectPath
from schemas.variables import SchemaError, attributes, declared

#: Template of arrays with numbers about shards, as ``create_arrays`` takes it.
_NUMBERS: dict[str, Any] = {"fill_value": 0, "compressors": Crc32cCodec()}


def signals_template(shape: Sequence[int], block: int, vectors: int) -> dict[str, Any]:
    """The template of an array of signals: its shards and chunks.

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
        # One file per block of images; it has no chunks past a layer's rank.
        "shards": (block, layers, -(-width // vectors) * vectors),
        "dtype": "float32",
        "fill_value": float("nan"),
        # Signals hardly compress (zstd saves 7 % on noise) and are read several times.
        "compressors": Crc32cCodec(),
        "config": {"write_empty_chunks": False},
    }


def checksum_template(signals: Mapping[str, Any]) -> dict[str, Any]:
    """The template of the checksums of an array of signals: plain numbers, one file per shard."""
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
    """Create the empty arrays of a group and its array ``complete``; then mark the group.

    Parameters
    ----------
    path, group
        a group that has its coordinates already, and no mark.
    templates
        by array, as ``zarr.Group.create_array`` takes them.
    shards
        number of shards.
    made_with
        as ``store.record`` takes it.
    """
    opened = zarr.open_group(
        store=zarr_store(path), path=group, mode="a", zarr_format=3, use_consolidated=False
    )
    complete = {"shape": shards, "chunks": 1, "dtype": "int64", **_NUMBERS}
    every = {**templates, shard_marks.COMPLETE: complete}
    for name, template in every.items():
        variable = declared(group).variables[name]
        opened.create_array(
            name, dimension_names=variable.dims, attributes={**attributes(variable)}, **template
        )
    # The group is whole only now; its shards have marks of their own.
    marks.set_mark(path / group, made_with, by_shard=list(every))


def write_shard(
    folder: Path, index: int, images: slice, rows: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write one shard of all arrays of a group; it may safely be written twice.

    The shard counts as written only after its data are.

    Parameters
    ----------
    folder
        of the group.
    images
        first image of the shard, and the one after its last.
    rows
        by array, one row for each image of the shard.

    Raises
    ------
    SchemaError
        If the arrays are not those of the group, or do not fit the shard.
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
        # The mark is removed first, since the files that it was computed from are removed too.
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
    """Remove a shard's files: Zarr would read a half-written file before it writes."""
    if isinstance(folder, ObjectPath):
        # Objects are never half-written; the first is the mark, which goes before the others.
        chunks = [folder / name / "c" / str(shard) for name in arrays]
        folder.remove_all(chunks[:1])
        folder.remove_all([one for chunk in chunks for one in (chunk, chunk / "0" / "0")])
        return
    for name in arrays:
        chunk = folder / name / "c" / str(shard)
        if chunk.is_dir() and not chunk.is_symlink():
            shutil.rmtree(chunk, ignore_errors=True)
        else:
            chunk.unlink(missing_ok=True)


def empty_rows(folder: Path, images: int) -> dict[str, npt.NDArray[Any]]:
    """Rows for ``write_shard``, filled with the values for images of which nothing is known."""
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
    """Remove the partial files that a killed process left beside a group's files.

    Returns
    -------
    number of files removed
    """
    if isinstance(folder, ObjectPath):
        return 0
    # Zarr, as we do, first writes a file under such a name and renames it when it is whole.
    left = [*folder.rglob("*.partial"), *folder.rglob(".ddp-*.part")]
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


@lru_cache(maxsize=4)
def _opened(
    folder: Path, _: shard_marks.Stamp | None
) -> tuple[tuple[str, ...], dict[str, zarr.Array[Any]]]:
    """Names of all arrays written by shard, and the opened arrays that take rows; opened once."""
    mark = marks.read_mark(folder)
    if mark is None:
        raise marks.DamagedStoreError(f"{folder} is not finished")
    group: Any = zarr.open_group(
        store=zarr_store(folder), mode="r+", zarr_format=3, use_consolidated=False
    )
    own = (shard_marks.COMPLETE, shard_marks.CHECKSUM)
    return tuple(mark.by_shard), {name: group[name] for name in mark.by_shard if name not in own}
