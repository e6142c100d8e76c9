"""The mark of one shard: a number that fits only its own files, as they were written.

Groups that are written shard by shard have an array ``complete`` with one number per shard, each in
its own file. The number is 0, or the file is missing, until the shard is written; then it is
computed from the digests of the shard's files. Undamaged files of another shard do not fit it.

The cube's signals are large and read one layer at a time. In their place the number covers the row
of ``checksum``, the CRC-32C of each chunk, and each chunk is checked against that when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from ddp_tasks.files.whole import write_whole
from ddp_tasks.store.marks import DamagedStoreError, Mark, digest_of_file, read_mark
from ddp_tasks.store.trees import METADATA, over_files
from schemas.object_paths import ObjectPath

COMPLETE, CHECKSUM, SIGNAL = "complete", "checksum", "signal"

_CRC = 4


def digest(folder: Path, arrays: Sequence[str], shard: int) -> int:
    """The mark of a shard, computed from its files as they are now.

    Parameters
    ----------
    folder
        of the group.
    arrays
        the group's arrays that are written shard by shard.
    """

    def line(name: str) -> str:
        file = shard_file(folder, name, shard)
        # Zarr writes no file where all values are fill values.
        return f"{name} {digest_of_file(file) if file else None}"

    names = [name for name in arrays if name not in (COMPLETE, SIGNAL)]
    lines = list(over_files(folder, line, names))
    return 1 + int(google_crc32c.value("\n".join(lines).encode()))


def recorded(folder: Path, shard: int) -> int:
    """The number that a shard is marked with; 0 if it is not marked."""
    try:
        content = (folder / COMPLETE / "c" / str(shard)).read_bytes()
    except FileNotFoundError:
        return 0
    number = checked_content(content, np.dtype("<i8"))
    return 0 if number is None or len(number) != 1 else int(number[0])


def damage(folder: Path, shard: int) -> str | None:
    """Why a shard does not count as written, or None; the signals themselves are not read."""
    return _damage(folder, shard, recorded(folder, shard))


def _damage(folder: Path, shard: int, number: int) -> str | None:
    if not number:
        return "is not written"
    return None if _matches(folder, shard, number) else "is not as it was written"


def check(folder: Path, shard: int) -> int:
    """Refuse a shard that is not written or whose files are not as they were written.

    Returns
    -------
    the number that it is marked with

    Raises
    ------
    DamagedStoreError
        Naming the shard.
    """
    number = recorded(folder, shard)
    if reason := _damage(folder, shard, number):
        raise DamagedStoreError(
            f"shard {shard} of {folder} {reason}; the run, started again, writes it again"
        )
    return number


def place(folder: Path, array: str, shard: int, axes: int) -> Path:
    """Path of the one file of a shard, for an array that is cut along its first axis only."""
    return folder.joinpath(array, "c", str(shard), *["0"] * (axes - 1))


def write_numbers(
    folder: Path, array: str, shard: int, numbers: npt.NDArray[np.integer[Any]]
) -> None:
    """Write a shard of ``complete`` or ``checksum``, as Zarr reads it.

    Parameters
    ----------
    numbers
        of one shard, shape (1, ...), in the array's type.
    """
    file = place(folder, array, shard, numbers.ndim)
    if not numbers.any():
        # Zarr has no file where all values are fill values.
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, with_checksum(numbers))


def with_checksum(numbers: npt.NDArray[np.integer[Any]]) -> bytes:
    """The bytes of numbers as Zarr stores them uncompressed, with their CRC-32C."""
    content = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
    return content + int(google_crc32c.value(content)).to_bytes(_CRC, "little")


def shard_file(folder: Path, array: str, shard: int) -> Path | None:
    """The one file that holds a shard of an array; None where there is none."""
    chunk = folder / array / "c" / str(shard)
    # Arrays are cut along the images only, not along their other dimensions.
    for file in (chunk, chunk / "0" / "0"):
        if file.is_file():
            return file
    return None


def checked_content(content: bytes, dtype: np.dtype[np.generic]) -> np.ndarray | None:
    """Numbers of a chunk that Zarr wrote uncompressed with a CRC-32C; None if it is damaged."""
    numbers, stored = content[:-_CRC], content[-_CRC:]
    if int(google_crc32c.value(numbers)).to_bytes(_CRC, "little") != stored:
        return None
    return np.frombuffer(numbers, dtype=dtype)


#: Marks of shards in object stores that this process has compared with their objects. An object
#: changes only when a run writes it, which removes the mark first; so a mark that is the same need
#: not be compared again, for which every object of the shard would be asked.
_COMPARED: set[tuple[Path, int, int]] = set()


def _matches(folder: Path, shard: int, number: int) -> bool:
    if isinstance(folder, ObjectPath):
        if (folder, shard, number) in _COMPARED:
            return True
        by_shard = _mark(folder, stamp(folder / METADATA)).by_shard
        if whole := digest(folder, by_shard, shard) == number:
            _COMPARED.add((folder, shard, number))
        return whole
    mark = _mark(folder, stamp(folder / "zarr.json"))
    files = tuple(
        stamp(shard_file(folder, name, shard))
        for name in mark.by_shard
        if name not in (COMPLETE, SIGNAL)
    )
    return _digest_of(folder, tuple(mark.by_shard), shard, files) == number


Stamp = tuple[int, int, int, int]


def stamp(file: Path | None) -> Stamp | None:
    """Numbers that change whenever a file is written to or replaced."""
    if file is None:
        return None
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=64)
def _mark(folder: Path, _: Stamp | None) -> Mark:
    mark = read_mark(folder)
    if mark is None:
        raise DamagedStoreError(f"{folder} is not finished")
    return mark


@lru_cache(maxsize=1 << 15)
def _digest_of(
    folder: Path, arrays: tuple[str, ...], shard: int, _: tuple[Stamp | None, ...]
) -> int:
    """``digest``, recomputed only for files that have changed."""
    return digest(folder, arrays, shard)
