"""Reductions over a stored cube that never load it.

A reduction cuts the cube into slabs, has something small counted of each, wherever that may be,
and adds the counts up in whichever order they come. So the result is the same, to the bit, for
any cut, any order and any number of workers, and memory is set by the slab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ddp_tasks.cube import slab_parts
from ddp_tasks.exemplars import (
    StrongestImages,
    class_exemplars_of,
    merge_class_exemplars,
    merge_strongest,
    no_images,
    strongest_of,
)
from ddp_tasks.quantiles import Counts, QuantileCounts, count_lower, count_upper
from ddp_tasks.significance import (
    count_between,
    count_significant,
    cut_points,
    images_read,
)
from ddp_tasks.slabs import CubeSize, Slab, slabs

#: The counts of a layer's fractions that one task holds, in bytes.
_COUNTS_BYTES = 1 << 26

Result = TypeVar("Result")


class Mapped(Protocol):
    """A function applied to every slab, wherever that may be."""

    def __call__(
        self, function: Callable[[Slab], Result], pieces: Iterable[Slab], /
    ) -> Iterator[tuple[Slab, Result]]:
        """Slabs and their results, in any order."""
        ...


def one_by_one(
    function: Callable[[Slab], Result], pieces: Iterable[Slab], /
) -> Iterator[tuple[Slab, Result]]:
    """Every slab in its turn, in this process."""
    for slab in pieces:
        yield slab, function(slab)


def thresholds(
    path: Path, pieces: Sequence[Slab], quantiles: Sequence[float], mapped: Mapped
) -> npt.NDArray[np.float64]:
    """Threshold q of each layer; ``significance.thresholds`` over a stored cube.

    Parameters
    ----------
    pieces
        of the whole cube; see ``slabs``.
    quantiles
        levels between 0 and 1, ascending.

    Returns
    -------
    shape (direction, quantile, layer)

    Raises
    ------
    ValueError
        If a layer has no signals.
    """
    layers = 1 + max(slab.layer for slab in pieces)
    counts = [QuantileCounts(quantiles) for _ in range(layers)]
    for slab, counted in mapped(partial(upper_counts, path), pieces):
        counts[slab.layer].add_upper(counted.whole())
    bins = [of_layer.bins for of_layer in counts]
    for slab, counted in mapped(partial(lower_counts, path, bins), pieces):
        counts[slab.layer].add_lower(counted.whole())
    return np.stack([of_layer.quantiles() for of_layer in counts], axis=-1)


@dataclass(frozen=True)
class FewCounts:
    """Counts that are zero for the most part, as they travel: the others and their places.

    A slab has far fewer than 2**32 signals.
    """

    shape: tuple[int, ...]
    place: npt.NDArray[np.uint32]
    count: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, counts: Counts) -> FewCounts:
        """The same counts."""
        place = np.flatnonzero(counts).astype(np.uint32)
        return cls(counts.shape, place, counts.reshape(-1)[place].astype(np.uint32))

    def whole(self) -> Counts:
        """The array of counts."""
        counts = np.zeros(self.shape, dtype=np.int64)
        counts.reshape(-1)[self.place] = self.count
        return counts


def upper_counts(path: Path, slab: Slab) -> FewCounts:
    """Upper halves of a slab's signals; images that could not be read are NaN, and count not."""
    counted = None
    for _, signals, _ in slab_parts(path, slab):
        counted = count_upper(signals, counted)
    assert counted is not None
    return FewCounts.of(counted)


def lower_counts(path: Path, bins: Sequence[npt.NDArray[np.int64]], slab: Slab) -> FewCounts:
    """Lower halves of a slab's signals in the wanted bins of each layer."""
    counted = None
    for _, signals, _ in slab_parts(path, slab):
        counted = count_lower(signals, bins[slab.layer], counted)
    assert counted is not None
    return FewCounts.of(counted)


def fraction_slabs(cube: CubeSize, quantiles: int, target_classes: int) -> list[Slab]:
    """Slabs narrow enough for the counts of their fractions, about 64 MB a task."""
    counts = 8 * target_classes * (2 * quantiles + 1)
    return slabs(cube, widest=max(1, _COUNTS_BYTES // counts))


@dataclass(frozen=True)
class SlabCounts:
    """Images of each class for which vectors are significant, over all images of the run."""

    layer: int
    vectors: slice
    significant: npt.NDArray[np.int64]
    """shape (direction, quantile, class, vector)"""
    images: npt.NDArray[np.int64]
    """of each class that could be read, shape (class,)"""


def significant_counts(
    path: Path,
    pieces: Sequence[Slab],
    threshold: npt.NDArray[np.float64],
    target_classes: int,
    mapped: Mapped,
) -> Iterator[SlabCounts]:
    """Count, for ranges of singular vectors, the images for which they are significant.

    ``significance.fractions`` over a stored cube, before dividing by the images of each class.

    Parameters
    ----------
    pieces
        of the whole cube; see ``fraction_slabs``.
    threshold
        shape (direction, quantile, layer).

    Yields
    ------
    each range of each layer once, in any order, as soon as its counts are complete
    """
    cuts = [cut_points(threshold[:, :, layer]) for layer in range(threshold.shape[-1])]
    left: dict[tuple[int, int], int] = {}
    for slab in pieces:
        key = slab.layer, slab.first_vector
        left[key] = left.get(key, 0) + 1
    counts: dict[tuple[int, int], Counts] = {}
    for slab, counted in mapped(partial(counts_between, path, cuts, target_classes), pieces):
        key = slab.layer, slab.first_vector
        whole = counted.whole()
        counts[key] = counts[key] + whole if key in counts else whole
        left[key] -= 1
        if not left[key]:
            between = counts.pop(key)
            yield SlabCounts(
                slab.layer,
                slab.vectors,
                count_significant(between, threshold[:, :, slab.layer]),
                # Every image has one signal along the first vector.
                between[:, :, 0].sum(axis=1),
            )


def counts_between(
    path: Path, cuts: Sequence[npt.NDArray[np.float32]], target_classes: int, slab: Slab
) -> FewCounts:
    """Signals of a slab between the cut points of its layer, by class and singular vector."""
    own = cuts[slab.layer]
    counted = np.zeros((target_classes, len(own) + 1, slab.width), dtype=np.int64)
    for _, signals, target in slab_parts(path, slab):
        count_between(*images_read(signals, target), own, counted)
    # Where classes stand in the order of the images, a slab has few of them.
    return FewCounts.of(counted)


def strongest_images(
    path: Path, pieces: Sequence[Slab], places: int, mapped: Mapped
) -> StrongestImages:
    """The strongest images of every vector; ``exemplars.strongest_images`` over a stored cube.

    Parameters
    ----------
    pieces
        of the whole cube; see ``slabs``.

    Returns
    -------
    arrays of shape (layer, singular vector, place)
    """
    layers = 1 + max(slab.layer for slab in pieces)
    vectors = max(slab.last_vector for slab in pieces)
    found = no_images(layers, vectors, places)
    for slab, of_slab in mapped(partial(strongest_of_slab, path, places), pieces):
        place = slab.layer, slab.vectors
        kept = StrongestImages(found.image[place], found.signal[place])
        best = merge_strongest(kept, of_slab)
        found.image[place], found.signal[place] = best.image, best.signal
    return found


def strongest_of_slab(path: Path, places: int, slab: Slab) -> StrongestImages:
    """The strongest images of a slab, shape (vector, place)."""
    kept = None
    for start, signals, _ in slab_parts(path, slab):
        kept = strongest_of(signals, start, places, kept)
    assert kept is not None
    return kept


def class_exemplars(
    path: Path,
    pieces: Sequence[Slab],
    sets: Sequence[Sequence[npt.NDArray[np.int64]]],
    target_classes: int,
    mapped: Mapped,
) -> list[StrongestImages]:
    """Class exemplars of vector sets; ``exemplars.class_exemplars`` over a stored cube.

    Parameters
    ----------
    pieces
        of the whole cube, as wide as the layers; see ``slabs``.
    sets
        of each layer, the singular vectors of each set.

    Returns
    -------
    for each layer, arrays of shape (set, class)
    """
    found = [no_images(len(of_layer), target_classes) for of_layer in sets]
    for slab, of_slab in mapped(
        partial(class_exemplars_of_slab, path, sets, target_classes), pieces
    ):
        found[slab.layer] = merge_class_exemplars(found[slab.layer], of_slab)
    return found


def class_exemplars_of_slab(
    path: Path,
    sets: Sequence[Sequence[npt.NDArray[np.int64]]],
    target_classes: int,
    slab: Slab,
) -> StrongestImages:
    """Class exemplars of a slab, shape (set, class)."""
    members = sets[slab.layer]
    kept = no_images(len(members), target_classes)
    for start, signals, target in slab_parts(path, slab):
        of_part = class_exemplars_of(signals, target, start, members, target_classes)
        kept = merge_class_exemplars(kept, of_part)
    return kept
