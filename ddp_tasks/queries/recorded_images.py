"""The recorded contents of a store's images, and a sentence on those that were replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ddp_tasks.images.contents import Content
from ddp_tasks.store import groups

_NAMED = 5


def recorded_contents(path: Path, images: slice = slice(None)) -> list[Content]:
    """Contents of images when their shards were written; ``UNKNOWN`` for the others."""
    signals = groups.read(path, "signals").isel(image=images)
    pairs = zip(
        signals["content_size"].to_numpy().tolist(),
        signals["content_digest"].to_numpy().tolist(),
        strict=True,
    )
    return [Content(*pair) for pair in pairs]


def replaced_sentence(replaced: Mapping[str, str], named: int = _NAMED) -> str:
    """One sentence on images that were replaced, the first by name, and what to do.

    Parameters
    ----------
    replaced
        what differs, by image id.
    named
        how many are named.
    """
    first = "; ".join(f"image {image!r}: {replaced[image]}" for image in sorted(replaced)[:named])
    more = f"; and {len(replaced) - named:,} more" if len(replaced) > named else ""
    return f"{first}{more}. Put back the images that were there, or start in another folder"
