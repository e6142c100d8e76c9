"""Reading a group with Zarr, checking every file against the group's mark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from ddp_tasks.store import shard_marks
from ddp_tasks.store.kept_objects import LARGEST, keep, kept
from ddp_tasks.store.marks import DamagedStoreError, Mark, digest_of, digest_of_file, size_of
from ddp_tasks.store.trees import METADATA
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.object_paths import ObjectPath


class VerifiedStore(WrapperStore[Store]):
    """The files of one group, read-only; a file that is not as it was written raises an error.

    A file that the mark lists but that is missing is an error too; it is never read as fill
    values.
    """

    def __init__(
        self, folder: Path, store: Store, mark: Mark, check_shard: Callable[[str, int], None]
    ) -> None:
        super().__init__(store)
        self._folder, self._mark, self._check_shard = folder, mark, check_shard
        self._checked: dict[str, tuple[int, int, int]] = {}

    def _with_store(self, store: Store) -> VerifiedStore:
        return type(self)(self._folder, store, self._mark, self._check_shard)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The content of a file, or part of it.

        Raises
        ------
        DamagedStoreError
            Naming the file.
        """
        array, slash, chunk = key.partition("/c/")
        if slash and array in self._mark.by_shard:
            if array != shard_marks.COMPLETE:
                await asyncio.to_thread(self._check_shard, array, int(chunk.partition("/")[0]))
            return await self._store.get(key, prototype, byte_range)
        digest = self._mark.files.get(key)
        if digest and isinstance(self._folder, ObjectPath) and size_of(digest) <= LARGEST:
            content = await self._object(key, digest, prototype)
            return prototype.buffer.from_bytes(content[_part(byte_range, len(content))])
        if byte_range is not None:
            # A part does not show that the whole is sound, so the whole is read once.
            await asyncio.to_thread(self._check_file, key)
        buffer = await self._store.get(key, prototype, byte_range)
        if byte_range is None and key != METADATA:
            self._compare(key, None if buffer is None else digest_of(buffer.to_bytes()))
        return buffer

    async def _object(self, key: str, digest: str, prototype: BufferPrototype) -> bytes:
        """A whole small object, asked for once in this process."""
        if (content := kept(digest)) is not None:
            return content
        buffer = await self._store.get(key, prototype)
        if buffer is None:
            self._compare(key, None)
        content = b"" if buffer is None else buffer.to_bytes()
        self._compare(key, digest_of(content))
        keep(digest, content)
        return content

    def _check_file(self, key: str) -> None:
        file = self._folder / key
        try:
            status = file.stat()
            stamp = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
            if self._checked.get(key) == stamp:
                return
            self._compare(key, digest_of_file(file))
            self._checked[key] = stamp
        except FileNotFoundError:
            self._compare(key, None)

    def _compare(self, key: str, digest: str | None) -> None:
        if digest != self._mark.files.get(key):
            why = "is missing" if digest is None else "is not as it was written"
            raise DamagedStoreError(f"{self._folder / key} is damaged: it {why}")


def _part(of: ByteRequest | None, size: int) -> slice:
    match of:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(max(size - suffix, 0), None)
        case _:
            return slice(None)


def verified(folder: Path, mark: Mark, check_shard: Callable[[str, int], None]) -> Any:
    """The group in a folder, as a store that ``zarr`` and ``xarray`` open at its root."""
    return VerifiedStore(folder, zarr_store(folder, read_only=True), mark, check_shard)
