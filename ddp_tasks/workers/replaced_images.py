"""Images that are others than when their signals were written, found by their bytes alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ddp_tasks.images.contents import UNKNOWN, Content
from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.store import groups
from ddp_tasks.store.groups import Shard
from schemas.parameters import RunParameters

_NAMED = 5


def replaced_images(path: str, run: str, asked: str, shard: Shard) -> dict[str, str]:
    """Images of a written shard whose bytes are not those recorded with it.

    Picture files are compared by size and, where that is the same, by digest; nothing is decoded.
    Images that could not be read then have nothing to be compared with.

    Parameters
    ----------
    path
        of the store.
    run
        run parameters as JSON.
    asked
        what tells one comparison of all shards from the next: each worker opens the images anew
        for it, since those in its memory may be others than those that lie there now.

    Returns
    -------
    by id what differs, in words
    """
    images = _opened(path, run, asked)
    recorded = recorded_contents(Path(path), slice(shard.start, shard.stop))
    compared = {
        image: images.changed(image, content)
        for image, content in enumerate(recorded, start=shard.start)
        if content != UNKNOWN
    }
    return {images.ids[image]: change for image, change in compared.items() if change}


def recorded_contents(path: Path, images: slice = slice(None)) -> list[Content]:
    """What images were made of when their shards were written; ``UNKNOWN`` of the others."""
    signals = groups.read(path, "signals").isel(image=images)
    pairs = zip(
        signals["content_size"].to_numpy().tolist(),
        signals["content_digest"].to_numpy().tolist(),
        strict=True,
    )
    return [Content(*pair) for pair in pairs]


def told(replaced: Mapping[str, str], named: int = _NAMED) -> str:
    """One sentence on images that were replaced, the first by name, and what to do.

    Parameters
    ----------
    replaced
        by id what differs.
    named
        how many are named.
    """
    first = "; ".join(f"image {image!r}: {replaced[image]}" for image in sorted(replaced)[:named])
    more = f"; and {len(replaced) - named:,} more" if len(replaced) > named else ""
    return f"{first}{more}. Put back the images that were there, or start in another folder"


@lru_cache(maxsize=1)
def _opened(path: str, run: str, asked: str) -> ImageSet:
    images = open_images(RunParameters.model_validate_json(run).images, labelled=False)
    return images.as_stored(groups.read(Path(path), "signals"))
