"""Images whose bytes have changed since their signals were written."""

from __future__ import annotations

from functools import lru_cache

from ddp_tasks.images.contents import UNKNOWN
from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.queries.recorded_images import recorded_contents
from ddp_tasks.store import groups
from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.stored_run import StoredRun


def replaced_images(stored: StoredRun, comparison: str, shard: Shard) -> dict[str, str]:
    """Images of a written shard whose bytes are not those recorded with it.

    Picture files are compared by size and, where that is the same, by digest; nothing is decoded.
    Images that could not be read then have no record and are left out.

    Parameters
    ----------
    comparison
        identifier of one comparison of all shards. Each worker opens the images once for it,
        since images that it opened earlier may have been replaced.

    Returns
    -------
    the difference in words, by image id
    """
    images = _opened(stored, comparison)
    recorded = recorded_contents(stored.path, slice(shard.start, shard.stop))
    compared = {
        image: images.changed(image, content)
        for image, content in enumerate(recorded, start=shard.start)
        if content != UNKNOWN
    }
    return {images.ids[image]: change for image, change in compared.items() if change}


@lru_cache(maxsize=1)
def _opened(stored: StoredRun, comparison: str) -> ImageSet:
    images = open_images(stored.parameters.images, labelled=False)
    return images.as_stored(groups.read(stored.path, "signals"))
