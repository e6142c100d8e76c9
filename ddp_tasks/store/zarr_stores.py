"""The files of a folder as Zarr reads and writes them, on disks and in object stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, ObjectStore

from schemas.object_paths import ObjectPath, as_system_errors, opened_bucket


def zarr_store(folder: Path, *, read_only: bool = False) -> Store:
    """A folder as a store whose root is the folder."""
    if isinstance(folder, ObjectPath):
        return ObjectsBelow(folder, read_only=read_only)
    return LocalStore(folder, read_only=read_only)


def openable(folder: Path) -> Path | Store:
    """A store as Zarr and xarray open it to read: its path, or objects of an address."""
    return zarr_store(folder, read_only=True) if isinstance(folder, ObjectPath) else folder


class ObjectsBelow(Store):
    """Objects whose names begin alike; all such stores of a process share one connection.

    Raises
    ------
    OSError
        From every method, naming the address, if the object store refuses a request.
    """

    supports_writes, supports_deletes, supports_listing = True, True, True

    def __init__(self, folder: ObjectPath, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.folder = folder
        self._objects = ObjectStore(opened_bucket(folder), read_only=read_only)
        self._below = f"{folder.key}/" if folder.key else ""

    def with_read_only(self, read_only: bool = False) -> ObjectsBelow:
        """The same objects, for reading alone or not."""
        return type(self)(self.folder, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectsBelow) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As in Zarr."""
        with as_system_errors(self.folder / key):
            return await self._objects.get(self._below + key, prototype, byte_range)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """As in Zarr."""
        ranges = [(self._below + key, part) for key, part in key_ranges]
        with as_system_errors(self.folder):
            return await self._objects.get_partial_values(prototype, ranges)

    async def exists(self, key: str) -> bool:
        """As in Zarr."""
        with as_system_errors(self.folder / key):
            return await self._objects.exists(self._below + key)

    async def set(self, key: str, value: Buffer) -> None:
        """As in Zarr."""
        self._check_writable()
        with as_system_errors(self.folder / key):
            await self._objects.set(self._below + key, value)

    async def delete(self, key: str) -> None:
        """As in Zarr."""
        self._check_writable()
        await asyncio.to_thread((self.folder / key).unlink, missing_ok=True)

    async def list(self) -> AsyncIterator[str]:
        """As in Zarr."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """As in Zarr."""
        with as_system_errors(self.folder / prefix):
            async for key in self._objects.list_prefix(self._below + prefix):
                yield key.removeprefix(self._below)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """As in Zarr."""
        with as_system_errors(self.folder / prefix):
            async for name in self._objects.list_dir((self._below + prefix).rstrip("/")):
                yield name
