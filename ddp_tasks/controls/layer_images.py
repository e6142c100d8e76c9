"""The images of one layer in the order in which the controls count them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Int64, Shaped


@dataclass(frozen=True)
class LayerImages:
    """Images sorted by part and class, so that counts of a class are sums of neighbouring rows.

    Parts are the images that choose and those that judge; or one part that does both.
    """

    order: Int64[npt.NDArray[np.int64], " row"]
    """positions of the images that reach the layer, part by part, class by class."""
    start: Int64[npt.NDArray[np.int64], " segment"]
    """shape (part * class + 1,); where each class of each part begins, and where the last ends."""
    images: Int64[npt.NDArray[np.int64], "part class"]
    """images of each class, with those that do not reach the layer."""

    @classmethod
    def of(
        cls,
        target: Shaped[npt.NDArray[np.int64], " image"],
        part: Shaped[npt.NDArray[np.integer], " image"],
        reaches: Shaped[npt.NDArray[np.bool_], " image"],
        classes: int,
    ) -> LayerImages:
        """Sort the images of a layer.

        Parameters
        ----------
        target
            shape (image,); -1 for an image that could not be read.
        part
            shape (image,); see ``significance.splits.split_images``.
        reaches
            shape (image,); whether the layer has signals of it.
        classes
            number of target classes.
        """
        read = target >= 0
        parts = int(part[read].max(initial=0)) + 1
        segment = part.astype(np.int64) * classes + target
        images = np.bincount(segment[read], minlength=parts * classes).reshape(parts, classes)
        (counted,) = np.nonzero(read & reaches)
        order = counted[np.argsort(segment[counted], kind="stable")]
        start = np.searchsorted(segment[order], np.arange(parts * classes + 1))
        return cls(order, start, images)

    @property
    def parts(self) -> int:
        """1, or 2 where the images are split."""
        return len(self.images)

    @property
    def classes(self) -> int:
        """Number of target classes."""
        return self.images.shape[1]

    @property
    def choosing(self) -> slice:
        """Rows of the images that choose thresholds and vectors."""
        return self.rows(0)

    @property
    def rows_of_classes(self) -> Int64[npt.NDArray[np.int64], "part class"]:
        """Images of each part and class that reach the layer."""
        return np.diff(self.start).reshape(self.images.shape)

    def rows(self, part: int) -> slice:
        """Rows of a part."""
        first, last = part * self.classes, (part + 1) * self.classes
        return slice(int(self.start[first]), int(self.start[last]))

    def sums(
        self, rows: Shaped[npt.NDArray[np.generic], "draw row v"], dtype: npt.DTypeLike
    ) -> Shaped[npt.NDArray[np.generic], "part draw class v"]:
        """Sums over the rows of each class and part.

        Parameters
        ----------
        rows
            shape (draw, row, v).
        dtype
            of the sums.
        """
        draws, _, vectors = rows.shape
        summed = np.zeros((draws, self.parts * self.classes, vectors), dtype=dtype)
        (filled,) = np.nonzero(np.diff(self.start))
        if len(filled):
            # Rows past the last segment's start belong to it: none is left over.
            summed[:, filled] = np.add.reduceat(rows, self.start[filled], axis=1, dtype=dtype)
        parted = summed.reshape(draws, self.parts, self.classes, vectors)
        return np.moveaxis(parted, 1, 0)

    def permutations(
        self, number: int, random: np.random.Generator
    ) -> Int64[npt.NDArray[np.int64], "permutation row"]:
        """Rows in random orders that keep each part to itself: labels permuted within it."""
        drawn = np.empty((number, len(self.order)), dtype=np.int64)
        for part in range(self.parts):
            rows = self.rows(part)
            own = np.tile(np.arange(rows.start, rows.stop), (number, 1))
            drawn[:, rows] = random.permuted(own, axis=1)
        return drawn


def some_of_each(
    target: Shaped[npt.NDArray[np.int64], " image"],
    part: Shaped[npt.NDArray[np.integer], " image"],
    most: int,
) -> Shaped[npt.NDArray[np.int64], " image"]:
    """Leave out images where there are too many: the first of each class and part are kept.

    Parameters
    ----------
    target, part
        as ``LayerImages.of`` takes them.
    most
        images to keep, or a few more: one at least of each class and part.

    Returns
    -------
    target, -1 where an image is left out
    """
    read = np.flatnonzero(target >= 0)
    if len(read) <= most:
        return target
    kept = np.full_like(target, -1)
    segment = part[read].astype(np.int64) * (int(target.max()) + 1) + target[read]
    order = np.argsort(segment, kind="stable")
    first = np.searchsorted(segment[order], segment[order])
    place = np.arange(len(read)) - first  # of each image in its class and part
    (sizes,) = np.unique(segment, return_counts=True)[1:]
    each = int(sizes.max())
    while each > 1 and np.minimum(sizes, each).sum() > most:
        each = max(1, each * 9 // 10)
    chosen = read[order[place < each]]
    kept[chosen] = target[chosen]
    return kept
