"""Images that are others than when their signals were written, found by their bytes alone."""

from __future__ import annotations

from functools import lru_cache

from ddp_tasks.images.contents import UNKNOWN
from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.queries.recorded_images import recorded_contents
from ddp_tasks.store import groups
from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.stored_run import StoredRun


def replaced_images(stored: StoredRun, asked: str, shard: Shard) -> dict[str, str]:
    """Images of a written shard whose bytes are not those recorded with it.

    Picture files are compared by size and, where that is the same, by digest; nothing is decoded.
    Images that could not be read then have nothing to be compared with.

    Parameters
    ----------
    asked
        what tells one comparison of all shards from the next: each worker opens the images anew
        for it, since those in its memory may be others than those that lie there now.

    Returns
    -------
    by id what differs, in words
    """
    images = _opened(stored, asked)
    recorded = recorded_contents(stored.path, slice(shard.start, shard.stop))
    compared = {
        image: images.changed(image, content)
        for image, content in enumerate(recorded, start=shard.start)
        if content != UNKNOWN
    }
    return {images.ids[image]: change for image, change in compared.items() if change}


@lru_cache(maxsize=1)
def _opened(stored: StoredRun, asked: str) -> ImageSet:
    images = open_images(stored.parameters.images, labelled=False)
    return images.as_stored(groups.read(stored.path, "signals"))
