"""The recorded contents of a store's images, and a sentence on those that were replaced."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.images.contents import Content
from ddp_tasks.store import groups
from schemas.run_error import RunError

_NAMED = 5


@dataclass(frozen=True)
class RecordedImages:
    """The images of a run as its store has them, without their pixels."""

    ids: tuple[str, ...]
    target: npt.NDArray[np.int64]
    """shape (image,); the class number of each."""
    target_classes: tuple[str, ...]

    @classmethod
    def of(cls, signals: xr.Dataset) -> RecordedImages:
        """The images in the store's group ``signals``."""
        return cls(
            tuple(signals["image"].to_numpy().tolist()),
            signals["target"].to_numpy().astype(np.int64),
            tuple(signals["target_class"].to_numpy().tolist()),
        )

    def __len__(self) -> int:
        return len(self.ids)


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


def image_position(ids: list[str], image: str, path: Path) -> int:
    """Position in a run of the image with this id.

    Parameters
    ----------
    ids
        of the run's images, in their order.
    path
        of the run's store.

    Raises
    ------
    RunError
        If there is none, naming the number of images, the first, the last and the nearest.
    """
    if image in ids:
        return ids.index(image)
    raise RunError(
        f"image {image!r} is not in {path}: it holds {len(ids):,} images, {ids[0]!r} to "
        f"{ids[-1]!r}; nearest: {', '.join(repr(i) for i in _nearest(image, ids))}"
    )


def _nearest(image: str, ids: list[str]) -> list[str]:
    """Ids of the same number, or the two that an id sorts between, padded to as many digits."""
    if image.isdecimal():
        same = [one for one in ids if one.isdecimal() and int(one) == int(image)]
        if same:
            return same[:2]
    written = image.zfill(len(ids[0])) if image.isdecimal() else image
    ordered = sorted(ids)
    place = bisect_left(ordered, written)
    if written in ordered[place : place + 1]:
        return [written]
    return ordered[max(0, place - 1) : place + 1]
