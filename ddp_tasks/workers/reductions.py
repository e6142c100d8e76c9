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
from ddp_tasks.significance.signal_moments import SignalMoments
from ddp_tasks.significance.significance import (
    count_between,
    count_significant,
    cut_points,
    images_read,
    share,
)
from ddp_tasks.significance.splits import Split
from ddp_tasks.store import groups, regions
from ddp_tasks.store.cube import slab_parts
from ddp_tasks.store.slabs import CubeSize, Slab, slabs
from ddp_tasks.visualization.exemplars import (
    Exemplars,
    RunningExemplars,
    VectorSet,
    image_ids,
    no_images,
    summed,
)
from ddp_tasks.workers.opened import run_image_ids, run_parts

#: Bytes that the counts of one task's fractions may take.
_COUNTS_BYTES = 1 << 26
#: Bytes of signals that one task of the exemplars reads at most, and that are worth a task.
_BAND_BYTES, _TOGETHER_BYTES = 1 << 28, 1 << 25
#: Bytes that an id of an image takes in memory, roughly.
_TEXT_BYTES = 32
#: Signals compared at once: enough for NumPy, few enough to stay in the processor's cache.
_PART_SIGNALS = 1 << 18

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
    path: Path, pieces: Sequence[Slab], quantiles: Sequence[float], split: Split, mapped: Mapped
) -> npt.NDArray[np.float64]:
    """Threshold q of each layer; ``significance.thresholds`` over a stored cube.

    Parameters
    ----------
    pieces
        slabs of the whole cube; see ``slabs``.
    quantiles
        levels between 0 and 1, ascending.
    split
        the images of its first part choose the thresholds.

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
    for slab, counted, last in _to_the_last(
        mapped(partial(upper_counts, path, split), pieces), pieces
    ):
        upper.setdefault(slab.layer, QuantileCounts(quantiles)).add(counted.whole())
        if last:
            wanted[slab.layer] = upper.pop(slab.layer).wanted()
    # Each task gets the bins of its own layer, whose size does not grow with the layers.
    slab_bins = [SlabBins(slab, wanted[slab.layer].bins) for slab in pieces]
    quantiles_of: dict[int, npt.NDArray[np.float64]] = {}
    results = mapped(partial(lower_counts, path, split), slab_bins)
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


def upper_counts(path: Path, split: Split, slab: Slab) -> FewCounts:
    """Counts of the upper halves of a slab's signals of the images that choose.

    NaN, of unreadable images, is not counted.
    """
    counted: Counts | None = None
    for signals in _choosing(path, split, slab):
        counted = count_upper(signals, counted)
    assert counted is not None
    return FewCounts.of(counted)


def lower_counts(path: Path, split: Split, slab_bins: SlabBins) -> FewCounts:
    """Counts of the lower halves of these signals, in the wanted bins of their layer."""
    counted: Counts | None = None
    for signals in _choosing(path, split, slab_bins.slab):
        counted = count_lower(signals, slab_bins.bins, counted)
    assert counted is not None
    return FewCounts.of(counted)


def _choosing(path: Path, split: Split, slab: Slab) -> Iterator[npt.NDArray[np.float32]]:
    part = run_parts(path, split)
    for start, signals, _ in slab_parts(path, slab):
        inside = part[start : start + len(signals)] == 0
        yield signals if inside.all() else signals[inside]


def fraction_slabs(cube: CubeSize, quantiles: int, target_classes: int, parts: int) -> list[Slab]:
    """Slabs of all images, so narrow that the counts of a task's fractions take about 64 MB.

    Parameters
    ----------
    parts
        of the split.
    """
    counts = 8 * parts * target_classes * (2 * quantiles + 3)
    return slabs(cube, widest=max(1, _COUNTS_BYTES // counts), task_bytes=None)


@dataclass(frozen=True, slots=True)
class SignificantCounts:
    """Images of each class for which a slab's singular vectors are significant, by parts."""

    significant: npt.NDArray[np.int64]
    """shape (split, direction, quantile, class, vector)."""
    images: npt.NDArray[np.int64]
    """shape (split, class); images that could be read."""
    reached: npt.NDArray[np.int64]
    """shape (split, class); images that reach the layer."""
    eta_squared: npt.NDArray[np.float64]
    """shape (split, vector); of the signals themselves."""


def significant_counts(
    path: Path, threshold: npt.NDArray[np.float64], target_classes: int, split: Split, slab: Slab
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
    cuts, part = cut_points(threshold), run_parts(path, split)
    # The classes of each part are counted as classes of their own.
    parts, cells = len(split.names), len(split.names) * target_classes
    counted = np.zeros((cells, len(cuts) + 1, slab.width), dtype=np.int64)
    images = np.zeros(cells, dtype=np.int64)
    moments = SignalMoments(cells, slab.width)
    for start, signals, target in slab_parts(path, slab):
        offset = part[start : start + len(target)] * np.int64(target_classes)
        read, cell = images_read(signals, np.where(target < 0, target, target + offset))
        images += np.bincount(cell, minlength=cells)
        count_between(read, cell, cuts, counted)
        moments.add(read, cell)
    significant = count_significant(counted, threshold)
    significant = significant.reshape(*significant.shape[:2], parts, target_classes, slab.width)
    # Every image that reaches the layer has one signal along the first vector.
    reached = counted[:, :, 0].sum(axis=1)
    of_parts = [slice(i * target_classes, (i + 1) * target_classes) for i in range(parts)]
    return SignificantCounts(
        np.moveaxis(significant, 2, 0),
        images.reshape(parts, target_classes),
        reached.reshape(parts, target_classes),
        np.stack([moments.eta_squared(classes) for classes in of_parts]),
    )


@dataclass(frozen=True, slots=True)
class WrittenFractions:
    """What of a slab's fractions is not written by the worker that counts them."""

    images: npt.NDArray[np.int64]
    """shape (split, class); images that could be read."""
    reached: npt.NDArray[np.int64]
    """shape (split, class); images that reach the layer."""
    eta_squared: npt.NDArray[np.float64]
    """shape (split, vector); of the signals themselves."""


def write_fractions(path: Path, target_classes: int, split: Split, slab: Slab) -> WrittenFractions:
    """Write the fractions of a slab's singular vectors to the store, which has the thresholds."""
    at = {"layer": slab.layer}
    threshold = regions.read_unfinished(path, "significance")["threshold"].isel(at).to_numpy()
    counts = significant_counts(path, threshold, target_classes, split, slab)
    of_parts = zip(counts.significant, counts.images, strict=True)
    shares = np.stack([share(count, images) for count, images in of_parts])
    place = (*4 * (slice(None),), slab.layer, slab.vectors)
    regions.write_region(path, "significance", "fraction", place, shares)
    return WrittenFractions(counts.images, counts.reached, counts.eta_squared)


def exemplar_bands(cube: CubeSize, places: int, target_classes: int) -> list[Band]:
    """Bands of the whole cube: narrow layers together, wide ones in parts of their vectors."""
    images = cube.shards * cube.block
    of_vector = 2 * (places * _TEXT_BYTES + target_classes * 8)
    widest = max(1, min(_BAND_BYTES // (4 * images), _COUNTS_BYTES // of_vector))
    pieces = slabs(cube, widest, task_bytes=None)
    width = max(piece.width for piece in pieces)
    layers = 1
    if len(pieces) == len(cube.ranks):
        layers = max(1, min(_TOGETHER_BYTES // (4 * images * width), len(pieces)))
    return [
        Band(tuple(pieces[first : first + layers]), layers, width)
        for first in range(0, len(pieces), layers)
    ]


@dataclass(frozen=True)
class Band:
    """Slabs of all images whose exemplars one task finds and writes to files of their own."""

    slabs: tuple[Slab, ...]
    """of as many layers in a row, or a single one."""
    layers: int
    """layers of the greatest band."""
    width: int
    """singular vectors of the widest slab of all bands."""

    def __str__(self) -> str:
        return f"{self.slabs[0]} and {len(self.slabs) - 1} more layers"

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """Where its exemplars lie, by direction, layer and singular vector."""
        first = self.slabs[0]
        vectors = slice(first.first_vector, first.first_vector + self.width)
        return slice(None), slice(first.layer, first.layer + len(self.slabs)), vectors


def write_exemplars(path: Path, places: int, target_classes: int, band: Band) -> None:
    """Find the exemplars of a band's vectors, and write them to the store."""
    vectors = groups.read(path, "layers").sizes["singular_vector"]
    width = min(band.width, vectors - band.slabs[0].first_vector)
    shape = (2, len(band.slabs), width)
    found = Exemplars(no_images(*shape, places), no_images(*shape, target_classes))
    for layer, slab in enumerate(band.slabs):
        of_slab = exemplars_of_slab(path, places, target_classes, slab)
        for whole, part in zip(found, of_slab, strict=True):
            whole.image[:, layer, : slab.width] = part.image
            whole.signal[:, layer, : slab.width] = part.signal
    overall, of_class = found
    values = {
        "image": image_ids(overall.image, run_image_ids(path)),
        "signal": overall.signal,
        "class_image": of_class.image.astype(np.int32),
        "class_signal": of_class.signal,
    }
    for name, array in values.items():
        regions.write_region(path, "exemplars", name, band.region, array)


def exemplars_of_slab(path: Path, places: int, target_classes: int, slab: Slab) -> Exemplars:
    """The exemplars of a slab's vectors; ``exemplars.layer_exemplars`` over a stored cube.

    Parameters
    ----------
    slab
        a slab of all images.
    """
    running = RunningExemplars(slab.width, places, target_classes)
    for start, signals, target in _large_parts(path, slab):
        running.add(signals, target, start)
    return running.found()


def exemplars_of_sets(
    path: Path,
    sets: Sequence[VectorSet],
    places: int,
    target_classes: int,
    slab: Slab,
) -> Exemplars:
    """The exemplars of vector sets; ``exemplars.exemplars_of_sets`` over a stored cube.

    Parameters
    ----------
    sets
        singular vectors with their signs, all of the slab's layer.
    slab
        a slab of all images, as wide as the layer.
    """
    running = RunningExemplars(len(sets), places, target_classes)
    if not sets:
        return running.found()
    for start, signals, target in _large_parts(path, slab):
        running.add(summed(signals, sets), target, start)
    return running.found()


def _large_parts(
    path: Path, slab: Slab
) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """A slab as ``slab_parts`` gives it, with small blocks of images joined to large ones."""
    joined: list[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]] = []
    size = 0
    for part in slab_parts(path, slab):
        joined.append(part)
        size += part[1].size
        if size >= _PART_SIGNALS:
            yield _joined(joined)
            joined, size = [], 0
    if joined:
        yield _joined(joined)


def _joined(
    parts: Sequence[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]],
) -> tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if len(parts) == 1:
        return parts[0]
    signals, target = ([part[i] for part in parts] for i in (1, 2))
    return parts[0][0], np.concatenate(signals), np.concatenate(target)
