"""Reading a group with Zarr, checking every file against the group's mark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from ddp_tasks.store import shard_marks
from ddp_tasks.store.marks import DamagedStoreError, Mark, digest_of, digest_of_file
from ddp_tasks.store.zarr_stores import zarr_store


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
        if byte_range is not None:
            # A part does not show that the whole is sound, so the whole is read once.
            await asyncio.to_thread(self._check_file, key)
        content = await self._store.get(key, prototype, byte_range)
        if byte_range is None and key != "zarr.json":
            self._compare(key, None if content is None else digest_of(content.to_bytes()))
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


def verified(folder: Path, mark: Mark, check_shard: Callable[[str, int], None]) -> Any:
    """The group in a folder, as a store that ``zarr`` and ``xarray`` open at its root."""
    return VerifiedStore(folder, zarr_store(folder, read_only=True), mark, check_shard)
