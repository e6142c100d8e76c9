"""How the cube is cut: into chunks, and into slabs that are small enough for any worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Signals that one task reads, in bytes: about a second of work.
TASK_BYTES = 1 << 27

#: Possible numbers of singular vectors in one chunk of the cube; the largest that adds little
#: padding is taken. Wider chunks are read faster, but ranks that are no multiple need padding.
_CHUNK_WIDTHS = (256, 128, 64, 32, 16, 8)
_MOST_PADDING = 0.06


@dataclass(frozen=True)
class Slab:
    """One layer's signals along a range of singular vectors, over a range of whole shards."""

    layer: int
    """position of the layer."""
    first_vector: int
    last_vector: int
    """one after the last, as in ``last_shard``."""
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
    """The sizes of a cube that are needed to cut it."""

    ranks: Sequence[int]
    """one per layer."""
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
        most singular vectors in a slab, for work that needs memory for each vector; rounded down
        to whole chunks if at least one fits. None takes all vectors of a layer together.
    task_bytes
        a slab has as many shards as fit, at least one. None takes all images together.
    """
    pieces = []
    for layer, rank in enumerate(cube.ranks):
        width = rank if widest is None else min(rank, _whole_chunks(widest, cube.chunk))
        shards = cube.shards
        if task_bytes is not None:
            shards = max(1, task_bytes // (cube.block * width * 4))
        pieces += [
            Slab(layer, vector, min(vector + width, rank), shard, min(shard + shards, cube.shards))
            for vector in range(0, rank, width)
            for shard in range(0, cube.shards, shards)
        ]
    return pieces


def _whole_chunks(widest: int, chunk: int) -> int:
    return widest // chunk * chunk or max(widest, 1)


def vectors_per_chunk(ranks: Sequence[int]) -> int:
    """Width of the cube's chunks for layers of these ranks."""
    for width in _CHUNK_WIDTHS:
        padded = sum(-(-rank // width) * width for rank in ranks)
        if padded <= (1 + _MOST_PADDING) * sum(ranks):
            return width
    return _CHUNK_WIDTHS[-1]
