"""Small copies of a run's images, made in Dask workers and written to the store."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_tasks.images.small_pictures import small_pictures
from ddp_tasks.store import groups, regions
from ddp_tasks.workers.once import ONE_AT_A_TIME, prepared_once
from ddp_tasks.workers.stored_run import StoredRun


@dataclass(frozen=True)
class PictureBlock:
    """Pictures that one task makes and writes to one file."""

    first: int
    """of the pictures in the group."""
    images: tuple[int, ...]
    """their positions in the run."""
    size: tuple[int, int]
    """height and width of each."""

    def __str__(self) -> str:
        return f"pictures {self.first} to {self.first + len(self.images) - 1}"

    def __len__(self) -> int:
        return len(self.images)


def write_pictures(stored: StoredRun, block: PictureBlock) -> None:
    """Read a block's images, and write small copies of them to the store."""
    with ONE_AT_A_TIME:
        images = prepared_once(stored).images.as_stored(groups.read(stored.path, "signals"))
        pictures = small_pictures(images, block.images, block.size)
    place = slice(block.first, block.first + len(block))
    regions.write_region(stored.path, "pictures", "picture", (place,), pictures)
