"""Parts of a file read by their place, from a disk or from an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from schemas.object_paths import ObjectPath


class RangeReader(Protocol):
    """A file that is open for reading parts of it."""

    def last(self, length: int) -> bytes:
        """Its last bytes, or all of it if it is shorter."""
        ...

    def read_into(self, room: memoryview, offset: int) -> None:
        """Fill a buffer from a place on; past the end of the file the buffer stays as it is."""
        ...


@contextmanager
def range_reader(path: Path) -> Iterator[RangeReader]:
    """A file, opened.

    Raises
    ------
    FileNotFoundError
        If there is none; for an object, when it is first read.
    """
    if isinstance(path, ObjectPath):
        yield _ObjectRanges(path)
        return
    with path.open("rb", buffering=0) as file:
        yield _FileRanges(file.fileno())


class _FileRanges:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def last(self, length: int) -> bytes:
        end = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, length, max(end - length, 0))

    def read_into(self, room: memoryview, offset: int) -> None:
        while room:
            read = os.preadv(self._descriptor, [room], offset)
            if not read:
                return
            room, offset = room[read:], offset + read


class _ObjectRanges:
    def __init__(self, path: ObjectPath) -> None:
        self._path = path

    def last(self, length: int) -> bytes:
        return self._path.read_last(length)

    def read_into(self, room: memoryview, offset: int) -> None:
        content = self._path.read_range(offset, len(room))
        room[: len(content)] = content
