"""Writing and reading a shard of signals as one file in Zarr's sharded layout.

The chunks of a shard lie in one file as plain little-endian float32, layer after layer, each chunk
followed by its CRC-32C. The file ends with an index and the CRC-32C of the index. The index has two
unsigned 64-bit numbers per chunk, offset and length; all their bits are one for a chunk that is not
stored because all of it is NaN. Zarr and xarray read such files.

When Zarr writes or reads a shard, it passes each chunk between threads and copies it several
times. ``benchmarks.sharding``, milliseconds of processor time on one thread, this module beside
Zarr 3.1.6 and Zarr with the pipeline of zarrs 0.2.3: a shard of ResNet-20 is written in 1.1, 14
and 1.1, of VGG-16 in 15, 65 and 21; a layer of 16 shards of ResNet-20 is read in 2.1, 20 and 5.5,
of 4 shards of VGG-16 in 2.9, 19 to 30 and 6 to 8. The reductions wait mostly for reading.

Every chunk that is read is checked against the group's array ``checksum``, which holds the CRC-32C
that each chunk of each shard had when it was written. So a damaged chunk or a chunk of another
shard is detected, and a lost chunk is not mistaken for one that was never stored. Zarr checks a
chunk only against the CRC-32C in its own file.

Zarr core specification, version 3: codecs ``sharding_indexed`` and ``crc32c``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from ddp_tasks.files.ranges import RangeReader, range_reader
from ddp_tasks.files.whole import replacing
from ddp_tasks.store import shard_marks
from ddp_tasks.store.marks import DamagedStoreError, checked_bytes
from schemas.object_paths import ObjectPath

_ABSENT = np.uint64(2**64 - 1)
_ENTRY, _CRC = 16, 4


@dataclass(frozen=True)
class ShardFiles:
    """The files of an array whose shards hold all layers of one block of images.

    Chunks hold one layer each, so that a layer is read without the others.
    """

    folder: Path
    """of the group."""
    block: int
    """images in a shard, and in a chunk."""
    layers: int
    vectors: int
    """singular vectors of the cube."""
    chunk: int
    """singular vectors in a chunk."""
    name: str = shard_marks.SIGNAL
    """of the array."""

    @classmethod
    def of_group(cls, folder: Path, name: str = shard_marks.SIGNAL) -> ShardFiles:
        """The files of a group's array, as its metadata describe them.

        Raises
        ------
        DamagedStoreError
            If the metadata are not as they were written.
        ValueError
            If the chunks are not plain numbers with checksums, as in another format.
        """
        array = json.loads(checked_bytes(folder, f"{name}/zarr.json"))
        _, layers, vectors = array["shape"]
        sharding = array["codecs"][0]["configuration"]
        names = [codec["name"] for codec in sharding.get("codecs", [])]
        if names != ["bytes", "crc32c"]:
            raise ValueError(f"{name} of {folder} is not in chunks of plain numbers")
        block, _, chunk = sharding["chunk_shape"]
        return cls(folder, block, layers, vectors, chunk, name)

    @property
    def _chunks(self) -> tuple[int, int]:
        return self.layers, -(-self.vectors // self.chunk)

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return shard_marks.place(self.folder, self.name, shard, axes=3)

    def write(self, shard: int, signals: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
        """Write a shard in place of the old one; if all of it is NaN, no file is left.

        Parameters
        ----------
        signals
            shape (images of the shard, layers, vectors).

        Returns
        -------
        the CRC-32C of each chunk, 0 where none is stored, shape (layers, chunks)

        Raises
        ------
        RunError
            Naming the file, if the system refuses it.
        """
        index = np.full((*self._chunks, 2), _ABSENT, dtype="<u8")
        checksums = np.zeros(self._chunks, dtype=np.uint32)
        path = self.path(shard)
        parts = list(self._parts(signals))
        if not parts:
            path.unlink(missing_ok=True)
            return checksums
        path.parent.mkdir(parents=True, exist_ok=True)
        # Past the last image and the last singular vector, a chunk holds fill values.
        scratch = np.full((self.block, self.chunk), np.nan, dtype="<f4")
        with replacing(path) as file:
            for place, part in parts:
                if part.shape != scratch.shape:
                    scratch[...] = np.nan
                scratch[: len(part), : part.shape[1]] = part
                content = scratch.reshape(-1).view(np.uint8)
                checksums[place] = checksum = int(google_crc32c.value(content))
                index[place] = file.tell(), content.nbytes + _CRC
                file.write(content.data)
                file.write(checksum.to_bytes(_CRC, "little"))
            file.write(shard_marks.with_checksum(index))
        return checksums

    def _parts(
        self, signals: npt.NDArray[np.float32]
    ) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.float32]]]:
        """The chunks of a shard that are not all NaN: their places and their unpadded values."""
        for place in np.ndindex(self._chunks):
            layer, first = place[0], place[1] * self.chunk
            part = signals[:, layer, first : first + self.chunk]
            # Nearly always the first number decides.
            if not np.isnan(part[0, 0]) or not np.isnan(part).all():
                yield place, part

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
            shape (rows, vectors), to be filled; NaN past a layer's rank and where no image of the
            shard could be read.

        Raises
        ------
        DamagedStoreError
            If the shard is not written, or what is read is not as it was written.
        """
        number = shard_marks.check(self.folder, shard)
        checksums = self._checksums_of(shard, number)[layer]
        chunks = range(vectors.start // self.chunk, -(-vectors.stop // self.chunk))
        if not checksums[chunks.start : chunks.stop].any():
            signals[...] = np.nan
            return
        scratch = np.empty((self.block, self.chunk), dtype="<f4")
        with self._open(shard) as file:
            index = self._index_of(file, shard, number)[layer]
            for chunk in chunks:
                first = chunk * self.chunk
                within = slice(
                    max(vectors.start, first) - first,
                    min(vectors.stop, first + self.chunk) - first,
                )
                place = slice(
                    first + within.start - vectors.start, first + within.stop - vectors.start
                )
                if not checksums[chunk]:
                    signals[:, place] = np.nan
                    continue
                self._read_chunk(file, index[chunk], scratch)
                if int(google_crc32c.value(scratch.reshape(-1).view(np.uint8))) != checksums[chunk]:
                    raise self._damage(shard, f"chunk {chunk} of layer {layer}")
                signals[:, place] = scratch[rows, within]

    def check(self, shard: int) -> None:
        """Read a whole shard to check it.

        Raises
        ------
        DamagedStoreError
            As ``read`` does.
        """
        signals = np.empty((self.block, self.vectors), dtype=np.float32)
        for layer in range(self.layers):
            self.read(shard, slice(0, self.block), layer, slice(0, self.vectors), signals)

    @contextmanager
    def _open(self, shard: int) -> Iterator[RangeReader]:
        try:
            with range_reader(self.path(shard)) as reader:
                yield reader
        except FileNotFoundError:
            raise self._damage(shard, "its file") from None

    def _read_chunk(
        self, file: RangeReader, entry: npt.NDArray[np.uint64], scratch: npt.NDArray[np.float32]
    ) -> None:
        """Fill an array from a file; past the end of the file it stays as it is."""
        offset, _ = entry.tolist()
        if offset < 2**63:
            file.read_into(scratch.reshape(-1).view(np.uint8).data, offset)

    # Objects are slow to ask for; what belongs to a mark that is the same need not be read again.

    def _checksums_of(self, shard: int, number: int) -> npt.NDArray[np.uint32]:
        kept = isinstance(self.folder, ObjectPath)
        return _kept_checksums(self, shard, number) if kept else self.checksums(shard)

    def _index_of(self, file: RangeReader, shard: int, number: int) -> npt.NDArray[np.uint64]:
        kept = isinstance(self.folder, ObjectPath)
        return _kept_index(self, shard, number) if kept else self.index(file, shard)

    def checksums(self, shard: int) -> npt.NDArray[np.uint32]:
        """The CRC-32C of each chunk of a shard, shape (layers, chunks); 0 where none is stored."""
        file = shard_marks.shard_file(self.folder, shard_marks.CHECKSUM, shard)
        if file is None:  # all zeros, which Zarr does not write; the shard's mark confirms it
            return np.zeros(self._chunks, dtype=np.uint32)
        numbers = shard_marks.checked_content(file.read_bytes(), np.dtype("<u4"))
        if numbers is None or numbers.size != self._chunks[0] * self._chunks[1]:
            raise self._damage(shard, "its row of checksums")
        return numbers.reshape(self._chunks)

    def index(self, file: RangeReader, shard: int) -> npt.NDArray[np.uint64]:
        """Offset and length of each chunk of a shard, shape (layers, chunks, 2)."""
        length = int(np.prod(self._chunks)) * _ENTRY
        stored = file.last(length + _CRC)
        index = shard_marks.checked_content(stored, np.dtype("<u8"))
        if len(stored) < length + _CRC or index is None:
            raise self._damage(shard, "the index of its chunks")
        return index.reshape(*self._chunks, 2)

    def _damage(self, shard: int, what: str) -> DamagedStoreError:
        return DamagedStoreError(
            f"shard {shard}: {what} in {self.path(shard)} is gone or not as it was written; the "
            "run, started again, writes the shard again"
        )


@lru_cache(maxsize=1024)
def _kept_checksums(files: ShardFiles, shard: int, _: int) -> npt.NDArray[np.uint32]:
    return files.checksums(shard)


@lru_cache(maxsize=1024)
def _kept_index(files: ShardFiles, shard: int, _: int) -> npt.NDArray[np.uint64]:
    with range_reader(files.path(shard)) as file:
        return files.index(file, shard)
