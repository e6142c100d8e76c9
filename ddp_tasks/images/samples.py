"""A few images of a run, by which two hosts find out whether they see the same data set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ddp_tasks.images.image_sets import ImageSet, Stored
from schemas.run_error import RunError
from schemas.shown import shown

#: Spread over the set, the first and the last among them.
_IMAGES = 8


@dataclass(frozen=True)
class Sample:
    """Some images of a set: their places in the data set, and what is there."""

    index: tuple[int, ...]
    target: tuple[int, ...]
    ids: tuple[str, ...]
    contents: tuple[str, ...]
    """digest of bytes and label of each image, a dash where it is unreadable."""

    @classmethod
    def of(cls, images: ImageSet) -> Sample:
        """A sample of a set."""
        spread = np.linspace(0, len(images) - 1, min(_IMAGES, len(images))).astype(np.int64)
        index, target = images.dataset_index[spread], images.target[spread]
        return cls._seen(images, tuple(index.tolist()), tuple(target.tolist()))

    @classmethod
    def _seen(cls, images: ImageSet, index: tuple[int, ...], target: tuple[int, ...]) -> Sample:
        some = replace(images, stored=Stored(np.array(index), np.array(target), ()))
        contents = some.digest().partition(":")[2].split(",")
        return cls(index, target, some.ids, tuple(contents))

    def differences(self, images: ImageSet) -> list[str]:
        """How a set opened on another host differs, in words; its labels need not be read.

        An image that one of the hosts cannot read is left out, as it may be repaired.
        """
        if len(images.parts) <= max(self.index):
            return [
                f"the data set has {len(images.parts):,} images there and more than "
                f"{max(self.index):,} here"
            ]
        try:
            there = self._seen(images, self.index, self.target)
        except RunError as error:
            return [str(error)]
        pairs = zip(self.ids, there.ids, self.contents, there.contents, strict=True)
        for here, other, content, found in pairs:
            if here != other:
                return [f"an image is {shown(repr(other))} there and {shown(repr(here))} here"]
            if "-" not in (content, found) and content != found:
                same = content.partition(".")[0] == found.partition(".")[0]
                what = "another label" if same else "other bytes"
                return [f"image {shown(repr(here))} has {what} there"]
        return []
