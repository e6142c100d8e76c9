"""Reductions over a stored cube that never load it.

A reduction cuts the cube into slabs, counts something small in each, on any worker, and adds the
counts up in any order. So the result is the same, to the bit, for any cut, any order and any number
of workers. A worker needs memory for one slab. The process that adds up counts needs memory for the
few layers in work: a layer's counts are used up when its last slab has arrived.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.quantiles import (
    Counts,
    QuantileCounts,
    WantedCounts,
    count_lower,
    count_upper,
)
from ddp_tasks.significance.significance import (
    count_between,
    count_significant,
    cut_points,
    images_read,
    share,
)
from ddp_tasks.store import regions
from ddp_tasks.store.cube import slab_parts
from ddp_tasks.store.slabs import CubeSize, Slab, slabs
from ddp_tasks.visualization.exemplars import (
    StrongestImages,
    class_exemplars_of,
    merge_class_exemplars,
    merge_strongest,
    no_images,
    strongest_of,
)

#: Bytes that the counts of one task's fractions may take.
_COUNTS_BYTES = 1 << 26

Result = TypeVar("Result")
Piece = TypeVar("Piece")


class Mapped(Protocol):
    """Applies a function to slabs, in this process or on workers."""

    def __call__(
        self, function: Callable[[Piece], Result], pieces: Iterable[Piece], /
    ) -> Iterator[tuple[Piece, Result]]:
        """Pieces and their results, in any order."""
        ...


def one_by_one(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], /
) -> Iterator[tuple[Piece, Result]]:
    """Apply a function to one piece after another, in this process."""
    for piece in pieces:
        yield piece, function(piece)


@dataclass(frozen=True, eq=False)
class SlabBins:
    """A slab, and the bins that hold the wanted quantiles of its layer."""

    slab: Slab
    bins: npt.NDArray[np.int64]

    def __str__(self) -> str:
        return str(self.slab)


def thresholds(
    path: Path, pieces: Sequence[Slab], quantiles: Sequence[float], mapped: Mapped
) -> npt.NDArray[np.float64]:
    """Threshold q of each layer; ``significance.thresholds`` over a stored cube.

    Parameters
    ----------
    pieces
        slabs of the whole cube; see ``slabs``.
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
    upper: dict[int, QuantileCounts] = {}
    wanted: dict[int, WantedCounts] = {}
    for slab, counted, last in _to_the_last(mapped(partial(upper_counts, path), pieces), pieces):
        upper.setdefault(slab.layer, QuantileCounts(quantiles)).add(counted.whole())
        if last:
            wanted[slab.layer] = upper.pop(slab.layer).wanted()
    # Each task gets the bins of its own layer, whose size does not grow with the layers.
    slab_bins = [SlabBins(slab, wanted[slab.layer].bins) for slab in pieces]
    quantiles_of: dict[int, npt.NDArray[np.float64]] = {}
    results = mapped(partial(lower_counts, path), slab_bins)
    lower = ((bins.slab, counted) for bins, counted in results)
    for slab, counted, last in _to_the_last(lower, pieces):
        wanted[slab.layer].add(counted.whole())
        if last:
            quantiles_of[slab.layer] = np.stack(wanted.pop(slab.layer).quantiles())
    return np.stack([quantiles_of[layer] for layer in range(len(quantiles_of))], axis=-1)


def _to_the_last(
    results: Iterable[tuple[Slab, Result]], pieces: Iterable[Slab]
) -> Iterator[tuple[Slab, Result, bool]]:
    """Slabs and their results, and whether a slab is the last of its layer to arrive."""
    left = Counter(slab.layer for slab in pieces)
    for slab, result in results:
        left[slab.layer] -= 1
        yield slab, result, left[slab.layer] == 0


@dataclass(frozen=True)
class FewCounts:
    """Mostly zero counts in the form in which workers return them: nonzero counts and places.

    A slab has far fewer than 2**32 signals.
    """

    shape: tuple[int, ...]
    place: npt.NDArray[np.uint32]
    count: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, counts: Counts) -> FewCounts:
        """The nonzero counts of an array."""
        place = np.flatnonzero(counts).astype(np.uint32)
        return cls(counts.shape, place, counts.reshape(-1)[place].astype(np.uint32))

    def whole(self) -> Counts:
        """The array of counts."""
        counts = np.zeros(self.shape, dtype=np.int64)
        counts.reshape(-1)[self.place] = self.count
        return counts


def upper_counts(path: Path, slab: Slab) -> FewCounts:
    """Counts of the upper halves of a slab's signals; NaN, of unreadable images, is not counted."""
    counted = None
    for _, signals, _ in slab_parts(path, slab):
        counted = count_upper(signals, counted)
    assert counted is not None
    return FewCounts.of(counted)


def lower_counts(path: Path, slab_bins: SlabBins) -> FewCounts:
    """Counts of the lower halves of a slab's signals, in the wanted bins of its layer."""
    counted = None
    for _, signals, _ in slab_parts(path, slab_bins.slab):
        counted = count_lower(signals, slab_bins.bins, counted)
    assert counted is not None
    return FewCounts.of(counted)


def fraction_slabs(cube: CubeSize, quantiles: int, target_classes: int) -> list[Slab]:
    """Slabs of all images, so narrow that the counts of a task's fractions take about 64 MB."""
    counts = 8 * target_classes * (2 * quantiles + 1)
    return slabs(cube, widest=max(1, _COUNTS_BYTES // counts), task_bytes=None)


@dataclass(frozen=True, slots=True)
class SignificantCounts:
    """Images of each class for which a slab's singular vectors are significant."""

    significant: npt.NDArray[np.int64]
    """shape (direction, quantile, class, vector)."""
    images: npt.NDArray[np.int64]
    """shape (class,); images that could be read."""
    reached: npt.NDArray[np.int64]
    """shape (class,); images that reach the layer."""


def significant_counts(
    path: Path, threshold: npt.NDArray[np.float64], target_classes: int, slab: Slab
) -> SignificantCounts:
    """Images of each class for which a slab's singular vectors are significant.

    ``significance.fractions`` over a stored cube, before dividing by the images of each class.

    Parameters
    ----------
    threshold
        shape (direction, quantile); thresholds of the slab's layer.
    slab
        a slab of all images; see ``fraction_slabs``.
    """
    cuts = cut_points(threshold)
    counted = np.zeros((target_classes, len(cuts) + 1, slab.width), dtype=np.int64)
    images = np.zeros(target_classes, dtype=np.int64)
    for _, signals, target in slab_parts(path, slab):
        read, target_read = images_read(signals, target)
        images += np.bincount(target_read, minlength=target_classes)
        count_between(read, target_read, cuts, counted)
    # Every image that reaches the layer has one signal along the first vector.
    reached = counted[:, :, 0].sum(axis=1)
    return SignificantCounts(count_significant(counted, threshold), images, reached)


def write_fractions(
    path: Path, target_classes: int, slab: Slab
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Write the fractions of a slab's singular vectors to the store, which has the thresholds.

    Returns
    -------
    images of each class that could be read, and that reach the layer; shape (class,) each
    """
    at = {"layer": slab.layer}
    threshold = regions.read_unfinished(path, "significance")["threshold"].isel(at).to_numpy()
    counts = significant_counts(path, threshold, target_classes, slab)
    place = (slice(None), slice(None), slice(None), slab.layer, slab.vectors)
    shares = share(counts.significant, counts.images)
    regions.write_region(path, "significance", "fraction", place, shares)
    return counts.images, counts.reached


def strongest_images(
    path: Path, pieces: Sequence[Slab], places: int, mapped: Mapped
) -> Iterator[tuple[int, StrongestImages]]:
    """The strongest images of every vector; ``exemplars.strongest_images`` over a stored cube.

    Parameters
    ----------
    pieces
        slabs of the whole cube, as wide as the layers; see ``slabs``.

    Yields
    ------
    position of each layer, in any order, and arrays of shape (singular vector, place)
    """
    strongest: dict[int, StrongestImages] = {}
    results = mapped(partial(strongest_of_slab, path, places), pieces)
    for slab, of_slab, last in _to_the_last(results, pieces):
        kept = strongest.get(slab.layer)
        strongest[slab.layer] = of_slab if kept is None else merge_strongest(kept, of_slab)
        if last:
            yield slab.layer, strongest.pop(slab.layer)


def strongest_of_slab(path: Path, places: int, slab: Slab) -> StrongestImages:
    """The strongest images of a slab, shape (vector, place)."""
    kept = None
    for start, signals, _ in slab_parts(path, slab):
        kept = strongest_of(signals, start, places, kept)
    assert kept is not None
    return kept


def class_exemplars(
    path: Path, members: Sequence[npt.NDArray[np.int64]], target_classes: int, slab: Slab
) -> StrongestImages:
    """Class exemplars of vector sets; ``exemplars.class_exemplars`` over a stored cube.

    Parameters
    ----------
    members
        singular vectors of each set, all of the slab's layer.
    slab
        a slab as wide as the layer.

    Returns
    -------
    arrays of shape (set, class)
    """
    kept = no_images(len(members), target_classes)
    for start, signals, target in slab_parts(path, slab):
        of_part = class_exemplars_of(signals, target, start, members, target_classes)
        kept = merge_class_exemplars(kept, of_part)
    return kept
