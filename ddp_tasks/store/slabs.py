"""How the cube is cut: into chunks, and into pieces of a pass small enough for any worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Signals that one task reads, in bytes: about a second of work.
TASK_BYTES = 1 << 27

#: Singular vectors in one chunk of the cube: the most with which padding adds little. Wider
#: chunks are read faster; a layer whose rank is no multiple of them stores padding.
_CHUNK_WIDTHS = (256, 128, 64, 32, 16, 8)
_MOST_PADDING = 0.06


@dataclass(frozen=True)
class Slab:
    """One layer's signals along a range of singular vectors, over a range of whole shards."""

    layer: int
    """position of the layer."""
    first_vector: int
    last_vector: int
    """one more than the last, as for the shards."""
    first_shard: int
    last_shard: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer}, singular vectors {self.first_vector} to {self.last_vector - 1}, "
            f"shards {self.first_shard} to {self.last_shard - 1}"
        )

    @property
    def vectors(self) -> slice:
        """The singular vectors."""
        return slice(self.first_vector, self.last_vector)

    @property
    def width(self) -> int:
        """Number of singular vectors."""
        return self.last_vector - self.first_vector


@dataclass(frozen=True)
class CubeSize:
    """What has to be known of a cube to cut it."""

    ranks: Sequence[int]
    """one a layer."""
    shards: int
    block: int
    """images in a shard."""
    chunk: int
    """singular vectors in a chunk."""


def slabs(
    cube: CubeSize, widest: int | None = None, task_bytes: int | None = TASK_BYTES
) -> list[Slab]:
    """Cut a cube so that every signal is in one slab, layer by layer.

    Parameters
    ----------
    widest
        singular vectors in a slab at most, for what needs memory by the vector; rounded down to
        whole chunks where one fits. None takes a layer's vectors together.
    task_bytes
        a slab has as many shards as fit, and one at least. None takes all images together.
    """
    found = []
    for layer, rank in enumerate(cube.ranks):
        width = rank if widest is None else min(rank, _whole_chunks(widest, cube.chunk))
        shards = cube.shards
        if task_bytes is not None:
            shards = max(1, task_bytes // (cube.block * width * 4))
        found += [
            Slab(layer, vector, min(vector + width, rank), shard, min(shard + shards, cube.shards))
            for vector in range(0, rank, width)
            for shard in range(0, cube.shards, shards)
        ]
    return found


def _whole_chunks(widest: int, chunk: int) -> int:
    return widest // chunk * chunk or max(widest, 1)


def vectors_per_chunk(ranks: Sequence[int]) -> int:
    """Width of the cube's chunks for layers of these ranks."""
    for width in _CHUNK_WIDTHS:
        padded = sum(-(-rank // width) * width for rank in ranks)
        if padded <= (1 + _MOST_PADDING) * sum(ranks):
            return width
    return _CHUNK_WIDTHS[-1]
