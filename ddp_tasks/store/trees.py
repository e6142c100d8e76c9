"""Folders of a store moved, removed and listed as a whole, on disks and in object stores.

On disks a folder gets its name in one step. In an object store every object is copied by itself, so
there a group or store counts as existing only with its own ``zarr.json``: that object is the last
one copied and the first one removed. A process killed in between leaves a folder that is whole, or
one that does not exist yet.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

from schemas.object_paths import ObjectPath

#: The file that a store, a group and an array have.
METADATA = "zarr.json"

#: Requests to an object store at once; each waits mostly for its answer.
_AT_ONCE, _THREADS = 16, "ddp-objects"

Item = TypeVar("Item")
Result = TypeVar("Result")


def exists(folder: Path) -> bool:
    """Whether a store or group exists, finished or not."""
    if isinstance(folder, ObjectPath):
        return (folder / METADATA).is_file()
    return folder.exists()


def move(folder: Path, target: Path) -> None:
    """Give a group or store the name of one that does not exist."""
    if not isinstance(folder, ObjectPath) or not isinstance(target, ObjectPath):
        folder.rename(target)
        return
    remove(target)  # what is left of a move that was cut off
    first, *others = sorted(files_below(folder), key=lambda name: name != METADATA)
    for names in (others, [first]):
        for _ in over_files(folder, lambda name: (folder / name).copy_to(target / name), names):
            pass
    remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder, its metadata first."""
    if not isinstance(folder, ObjectPath):
        if not folder.is_symlink():  # which is refused next
            (folder / METADATA).unlink(missing_ok=True)
        shutil.rmtree(folder)
        return
    (folder / METADATA).unlink(missing_ok=True)
    folder.remove_all([folder / name for name in files_below(folder)])


def files_below(folder: Path, without: Collection[str] = ()) -> Iterator[str]:
    """Paths below a folder of all files at any depth.

    Parameters
    ----------
    without
        folders below it whose files are left out.
    """
    if isinstance(folder, ObjectPath):
        start = len(folder.parts)
        for one, _ in folder.walked():
            name = "/".join(one.parts[start:])
            if not any(name.startswith(f"{left_out}/") for left_out in without):
                yield name
        return
    for place, folders, names in os.walk(folder):
        below = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if (below / name).as_posix() not in without]
        yield from ((below / name).as_posix() for name in names)


def over_files(
    folder: Path, function: Callable[[Item], Result], names: Sequence[Item]
) -> Iterator[Result]:
    """A function's results for files of a folder, in order; in object stores, many at once."""
    within = threading.current_thread().name.startswith(_THREADS)
    if not isinstance(folder, ObjectPath) or len(names) < 2 or within:
        yield from map(function, names)
        return
    yield from _threads().map(function, names)


@cache
def _threads() -> ThreadPoolExecutor:
    """Kept for the process: workers that start threads all the time may deadlock with the profiler
    of Dask, as CPython 3.11 takes a lock for both and may collect garbage under it.
    """
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=_THREADS)
