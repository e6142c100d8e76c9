"""One shard of the cube as the file that Zarr's sharded layout makes of it.

The chunks of a shard lie in one file as plain little-endian float32, and an index of their places
closes it: two unsigned 64-bit numbers a chunk, offset and length, both all ones for a chunk that
is not there, and the CRC-32C of the index. Zarr writes them. Read by way of Zarr, a chunk is
copied several times between threads; here it goes from the file to its place in the array, which
is several times as fast, and reading is most of what the reductions wait for.

Zarr core specification, version 3: codec ``sharding_indexed``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

_ABSENT = np.uint64(2**64 - 1)
_ENTRY, _CHECKSUM = 16, 4


class DamagedShardError(ValueError):
    """A shard whose file is not as it was written."""


@dataclass(frozen=True)
class ShardFiles:
    """The files of a cube whose shards hold all layers of one block of images.

    Chunks hold one layer each, so that a layer is read without the others.
    """

    folder: Path
    """of the cube's chunks."""
    block: int
    """images in a shard, and in a chunk."""
    layers: int
    vectors: int
    """singular vectors of the cube."""
    chunk: int
    """singular vectors in a chunk."""

    @property
    def _chunks(self) -> tuple[int, int]:
        return self.layers, -(-self.vectors // self.chunk)

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / str(shard) / "0" / "0"

    def read(
        self,
        shard: int,
        rows: slice,
        layer: int,
        vectors: slice,
        signals: npt.NDArray[np.float32],
    ) -> None:
        """Read signals of one layer from a shard.

        Parameters
        ----------
        rows
            start and stop, counted within the shard.
        vectors
            start and stop, within the cube.
        signals
            shape (rows, vectors), to be filled; NaN where nothing is written.

        Raises
        ------
        DamagedShardError
            If the file is cut off or its index is not as it was written.
        """
        try:
            file = self.path(shard).open("rb", buffering=0)
        except FileNotFoundError:
            signals[...] = np.nan
            return
        with file:
            index = self._index(file.fileno(), shard)[layer]
            scratch = np.empty((rows.stop - rows.start, self.chunk), dtype="<f4")
            for chunk in range(vectors.start // self.chunk, -(-vectors.stop // self.chunk)):
                first = chunk * self.chunk
                within = slice(
                    max(vectors.start, first) - first,
                    min(vectors.stop, first + self.chunk) - first,
                )
                place = slice(
                    first + within.start - vectors.start, first + within.stop - vectors.start
                )
                offset, length = index[chunk].tolist()
                if length == _ABSENT:
                    signals[:, place] = np.nan
                    continue
                offset += rows.start * self.chunk * scratch.itemsize
                os.preadv(file.fileno(), [scratch.data], offset)
                signals[:, place] = scratch[:, within]

    def _index(self, file: int, shard: int) -> npt.NDArray[np.uint64]:
        length = int(np.prod(self._chunks)) * _ENTRY
        end = os.fstat(file).st_size
        stored = os.pread(file, length + _CHECKSUM, max(end - length - _CHECKSUM, 0))
        if len(stored) < length + _CHECKSUM or _checksum(stored[:length]) != stored[length:]:
            raise DamagedShardError(
                f"shard {shard}: the index of {self.path(shard)} is not as it was written"
            )
        index = np.frombuffer(stored[:length], dtype="<u8").reshape(*self._chunks, 2)
        there = index[index[..., 1] != _ABSENT]
        if len(there) and there.sum(axis=-1).max() > end - length - _CHECKSUM:
            raise DamagedShardError(f"shard {shard}: {self.path(shard)} is cut off")
        return index


def _checksum(index: bytes) -> bytes:
    return int(google_crc32c.value(index)).to_bytes(_CHECKSUM, "little")
