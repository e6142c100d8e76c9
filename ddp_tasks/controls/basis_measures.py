"""What a report prints of a layer, measured in any basis of its outputs (sections 5.1, 5.2).

The same numbers as of the singular vectors, computed the same way: thresholds and significant
vectors chosen on some images, η² and differences of classes told on others. For many bases at once,
since a basis says little before it stands among dozens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.controls.layer_images import LayerImages
from ddp_tasks.hypergraphs.sizes import sizes
from ddp_tasks.significance.confidence_intervals import difference_intervals
from ddp_tasks.significance.significance import discrimination, least_images, share
from schemas.control_variables import MEASURES

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64, Shaped

#: Bytes that the signals of the bases measured at once may take.
_BYTES = 1 << 22

#: Pairs of counts for which it is worth looking up whether their interval excludes zero.
_LOOKED_UP = 1 << 20

Measured = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """What is asked of every basis of a layer."""

    images: LayerImages
    quantile: float
    """quantile level that chooses the threshold q."""
    percentage: float
    """p, above 0 and at most 100."""
    directions: tuple[str, ...]
    """positive, negative or both: which signed vectors count."""
    groups: Bool[npt.NDArray[np.bool_], "superclass class"]
    """the classes of each group of classes."""
    pairs: Int64[npt.NDArray[np.int64], "pair 2"]
    """classes that are told apart."""
    confidence: float
    """level of the intervals of a pair, of all signed vectors together."""

    def in_directions(self, directions: tuple[str, ...]) -> Asked:
        """The same, asked of other signed vectors."""
        return replace(self, directions=directions)


def class_pairs(
    images: Int64[npt.NDArray[np.int64], " class"], most: int, random: np.random.Generator
) -> Int64[npt.NDArray[np.int64], "pair 2"]:
    """All pairs of classes that have images, or some drawn at random where there are many.

    Parameters
    ----------
    images
        shape (class,).
    most
        pairs at most.
    """
    present = np.flatnonzero(images)
    one, other = np.triu_indices(len(present), k=1)
    if len(one) > most:
        drawn = np.sort(random.choice(len(one), most, replace=False))
        one, other = one[drawn], other[drawn]
    return np.stack([present[one], present[other]], axis=1)


@dataclass(frozen=True)
class SortedSignals:
    """A layer's signals, or codes, in the order of its images, with what η² needs of them."""

    signals: Shaped[npt.NDArray[np.float32], "row k"]
    means: Float64[npt.NDArray[np.float64], "part class k"]
    """of the images of each part and class; 0 where there are none."""
    covariance: Float64[npt.NDArray[np.float64], "part k k"]
    """of the images of each part."""

    @classmethod
    def of(
        cls, signals: Shaped[npt.NDArray[np.float32], "image k"], images: LayerImages
    ) -> SortedSignals:
        """Sort signals as the images are.

        Parameters
        ----------
        signals
            shape (image, k); of all images, those that do not count among them.
        """
        return cls.of_sorted(signals[images.order], images)

    @classmethod
    def of_sorted(
        cls, ordered: Shaped[npt.NDArray[np.float32], "row k"], images: LayerImages
    ) -> SortedSignals:
        """Signals that are in the order of the images already."""
        sums = images.sums(ordered[None], np.float64)[:, 0]
        return cls(
            ordered,
            sums / np.maximum(images.rows_of_classes, 1)[..., None],
            np.stack([_covariance(ordered[images.rows(part)]) for part in range(images.parts)]),
        )


def _covariance(signals: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Covariance of some images' signals, 0 without images."""
    exact = signals.astype(np.float64)
    if len(exact):
        exact -= exact.mean(axis=0)
    return np.asarray(exact.T @ exact / max(len(exact), 1))


def measures_of_bases(
    signals: SortedSignals,
    bases: Float64[npt.NDArray[np.float64], "draw k v"],
    asked: Asked,
) -> Float64[npt.NDArray[np.float64], "draw measure"]:
    """The measures of the signals along the vectors of each basis.

    Parameters
    ----------
    bases
        shape (draw, k, v); the signals along basis j are ``signals @ bases[j]``.

    Returns
    -------
    shape (draw, measure), in the order of ``MEASURES``
    """
    measured = np.full((len(bases), len(MEASURES)), np.nan)
    rows, vectors = len(signals.signals), bases.shape[2]
    together = max(1, _BYTES // max(1, 4 * rows * vectors))
    for first in range(0, len(bases), together):
        some = bases[first : first + together]
        exact = some.astype(np.float32)
        along = signals.signals @ exact
        marked = significant_for_images(along, asked)
        counts = asked.images.sums(marked.view(np.uint8), np.int32)
        variance = np.einsum("dkv,pdkv->pdv", some, signals.covariance[:, None] @ some)
        eta_squared = _eta_squared(signals.means[:, None] @ some, variance, asked.images)
        measured[first : first + together] = measures_of_counts(counts, eta_squared, asked)
    return measured


def measures_of_permutations(
    signals: SortedSignals, asked: Asked, permuted: Int64[npt.NDArray[np.int64], "draw row"]
) -> Float64[npt.NDArray[np.float64], "draw measure"]:
    """The measures of the signals themselves, with labels given to other images.

    Parameters
    ----------
    permuted
        shape (draw, row); see ``LayerImages.permutations``.

    Returns
    -------
    shape (draw, measure), in the order of ``MEASURES``
    """
    measured = np.full((len(permuted), len(MEASURES)), np.nan)
    marked = significant_for_images(signals.signals[None], asked)[0].view(np.uint8)
    images, variance = asked.images, np.diagonal(signals.covariance, axis1=1, axis2=2)[:, None]
    together = max(1, _BYTES // max(1, 8 * signals.signals.size))
    for first in range(0, len(permuted), together):
        some = permuted[first : first + together]
        counts = images.sums(marked[some], np.int32)
        sums = images.sums(signals.signals[some], np.float64)
        means = sums / np.maximum(images.rows_of_classes, 1)[:, None, :, None]
        eta_squared = _eta_squared(means, variance, images)
        measured[first : first + together] = measures_of_counts(counts, eta_squared, asked)
    return measured


def significant_for_images(
    along: Shaped[npt.NDArray[np.float32], "draw row v"], asked: Asked
) -> Bool[npt.NDArray[np.bool_], "draw row node"]:
    """Which signed vectors are significant for which images.

    The threshold of a direction is the quantile of all its signals over the images that choose,
    equal to ``numpy.quantile`` of float64 copies to the bit; a signal must be greater.

    Parameters
    ----------
    along
        shape (draw, row, v).

    Returns
    -------
    shape (draw, row, node): the first vector in each direction, then the second
    """
    marked = np.zeros((*along.shape, len(asked.directions)), dtype=np.bool_)
    chosen = along[:, asked.images.choosing]
    if chosen.size:
        positive, negative = quantiles_of_both(chosen.reshape(len(along), -1), asked.quantile)
        for place, direction in enumerate(asked.directions):
            if direction == "positive":
                marked[..., place] = along >= _first_above(positive)[:, None, None]
            else:
                marked[..., place] = along < _first_not_below(-negative)[:, None, None]
    return marked.reshape(*along.shape[:2], along.shape[2] * len(asked.directions))


def quantiles_of_both(
    values: Shaped[npt.NDArray[np.float32], "draw m"], level: float
) -> tuple[Float64[npt.NDArray[np.float64], " draw"], Float64[npt.NDArray[np.float64], " draw"]]:
    """Quantiles of the values of each draw, and of their negatives.

    Linear interpolation between order statistics as in ``numpy.quantile``.

    Parameters
    ----------
    values
        shape (draw, m); at least one.
    level
        between 0 and 1.
    """
    last = values.shape[1] - 1
    rank = int(np.floor(last * level))
    weight = last * level - rank
    # Two passes, each for one rank, are eight times as fast as one for four ranks.
    high = np.partition(values, min(rank + 1, last), axis=1)
    low = np.partition(values, max(last - rank - 1, 0), axis=1)
    above, below = high[:, min(rank + 1, last)], low[:, max(last - rank - 1, 0)]
    at = high[:, : rank + 1].max(axis=1) if rank < last else above
    mirrored = low[:, last - rank :].min(axis=1) if rank < last else below
    wide = [of.astype(np.float64) for of in (at, above, mirrored, below)]
    return _interpolated(wide[0], wide[1], weight), _interpolated(-wide[2], -wide[3], weight)


def _interpolated(low: Measured, high: Measured, weight: float) -> Measured:
    # numpy interpolates from the nearer end, which keeps the result between the two.
    if weight >= 0.5:
        return high - (high - low) * (1 - weight)
    return low + (high - low) * weight


def _first_above(threshold: Measured) -> npt.NDArray[np.float32]:
    """The least float32 above each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))


def _first_not_below(threshold: Measured) -> npt.NDArray[np.float32]:
    """The least float32 that is not below each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near >= threshold, near, np.nextafter(near, np.float32(np.inf)))


def measures_of_counts(
    counts: Shaped[npt.NDArray[np.generic], "part draw class node"],
    eta_squared_signals: Float64[npt.NDArray[np.float64], "part draw v"],
    asked: Asked,
) -> Float64[npt.NDArray[np.float64], "draw measure"]:
    """The measures, from the numbers of images that nodes are significant for.

    The best η² is that of the vector with the greatest η² on the images that choose, told on those
    that judge.

    Parameters
    ----------
    counts
        shape (part, draw, class, node).
    eta_squared_signals
        shape (part, draw, v); of the signals themselves.

    Returns
    -------
    shape (draw, measure), in the order of ``MEASURES``
    """
    images = asked.images.images
    significant = counts[0] >= least_images(images[0], asked.percentage)[:, None]
    node = significant.any(axis=1)
    told, told_images = counts[-1].astype(np.int64), images[-1]
    of_parts = [discrimination(share(counts[i], images[i]), images[i]) for i in (0, -1)]
    # What is no node is never the best, even where no node tells the classes apart.
    eta_squared = [
        np.where(node, np.nan_to_num(of_part), missing)
        for of_part, missing in zip(of_parts, (-1, 0), strict=True)
    ]
    of_sizes = [sizes(table) for table in significant]
    columns = {
        **{
            name: [getattr(one, name) for one in of_sizes]
            for name in ("nodes", "incidences", "hyperedges", "equivalence_classes", "depth")
        },
        "exclusive": (significant.sum(axis=1) == 1).sum(axis=1),
        "parted_groups": _parted(significant, asked.groups),
        "eta_squared_best": _best(eta_squared[0], eta_squared[1]),
        "eta_squared_mean": eta_squared[1].sum(axis=1) / np.maximum(node.sum(axis=1), 1),
        "eta_squared_signals_best": _best(eta_squared_signals[0], eta_squared_signals[-1]),
        "eta_squared_signals_mean": eta_squared_signals[-1].mean(axis=1),
        "distinguishing": _distinguishing(told, told_images, asked),
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in MEASURES], axis=1)


def _best(
    choosing: Float64[npt.NDArray[np.float64], "draw v"],
    judging: Float64[npt.NDArray[np.float64], "draw v"],
) -> Float64[npt.NDArray[np.float64], " draw"]:
    """What the vectors with the greatest value on the images that choose have on the others."""
    greatest = choosing.argmax(axis=1, keepdims=True)
    return np.take_along_axis(judging, greatest, axis=1)[:, 0]


def _parted(
    significant: Bool[npt.NDArray[np.bool_], "draw class node"],
    groups: Bool[npt.NDArray[np.bool_], "superclass class"],
) -> Shaped[npt.NDArray[np.generic], " draw"]:
    """Groups of classes for which some node is significant for exactly the group's classes."""
    if not len(groups):
        return np.full(len(significant), np.nan)
    exactly = [(significant == group[:, None]).all(axis=1).any(axis=1) for group in groups]
    return np.sum(exactly, axis=0)


def _distinguishing(
    told: Int64[npt.NDArray[np.int64], "draw class node"],
    images: Int64[npt.NDArray[np.int64], " class"],
    asked: Asked,
) -> Float64[npt.NDArray[np.float64], " draw"]:
    """Mean over pairs of classes of the nodes whose difference of fractions is certain."""
    if not len(asked.pairs):
        return np.full(len(told), np.nan)
    nodes = told.shape[2]
    certain = np.zeros(len(told))
    for one, other in asked.pairs.tolist():
        pair = int(images[one]), int(images[other])
        if 0 in pair:
            continue
        if (pair[0] + 1) * (pair[1] + 1) <= _LOOKED_UP:
            apart = _apart(*pair, asked.confidence, nodes)[told[:, one], told[:, other]]
        else:
            apart = _excludes_zero((told[:, one], told[:, other]), pair, asked.confidence, nodes)
        certain += apart.sum(axis=1)
    return certain / len(asked.pairs)


@lru_cache(maxsize=64)
def _apart(
    one: int, other: int, confidence: float, nodes: int
) -> Bool[npt.NDArray[np.bool_], "a b"]:
    """Whether the interval excludes zero, for every pair of counts."""
    a, b = np.indices((one + 1, other + 1))
    return _excludes_zero((a, b), (one, other), confidence, nodes)


def _excludes_zero(
    counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    images: tuple[int, int],
    confidence: float,
    nodes: int,
) -> npt.NDArray[np.bool_]:
    # The intervals of all nodes hold together.
    low, high = difference_intervals(counts, images, confidence, nodes)
    return (low > 0) | (high < 0)


def _eta_squared(
    means: Float64[npt.NDArray[np.float64], "part draw class v"],
    variance: npt.NDArray[np.float64],
    images: LayerImages,
) -> Float64[npt.NDArray[np.float64], "part draw v"]:
    """Share of the variance of signals between the means of the classes; 0 where there is none."""
    rows = images.rows_of_classes
    weight = (rows / np.maximum(rows.sum(axis=1, keepdims=True), 1))[:, None, :, None]
    mean = (means * weight).sum(axis=2, keepdims=True)
    between = (weight * (means - mean) ** 2).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, np.minimum(between / variance, 1), 0.0)


def percentile(
    value: Float64[npt.NDArray[np.float64], "*grid"],
    draws: Float64[npt.NDArray[np.float64], "*grid draw"],
) -> Float64[npt.NDArray[np.float64], "*grid"]:
    """Share of the draws at or below a value, equal ones counted half, in percent.

    Parameters
    ----------
    draws
        shape (..., draw); NaN for a draw that there is not.

    Returns
    -------
    NaN where there are no draws, or no value
    """
    there = np.isfinite(draws).sum(axis=-1)
    below = (draws < value[..., None]).sum(axis=-1) + (draws == value[..., None]).sum(axis=-1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isfinite(value) & (there > 0), 100 * below / there, np.nan)


def chance_of(
    value: Float64[npt.NDArray[np.float64], "*grid"],
    permutations: Float64[npt.NDArray[np.float64], "*grid permutation"],
) -> Float64[npt.NDArray[np.float64], "*grid"]:
    """p of a permutation test: share of the labellings, the true one among them, with as much.

    Returns
    -------
    NaN without permutations, or without a value

    References
    ----------
    Phipson and Smyth 2010, Permutation p-values should never be zero, Statistical Applications in
    Genetics and Molecular Biology 9.
    """
    number = permutations.shape[-1]
    if not number:
        return np.full(value.shape, np.nan)
    above = (permutations >= value[..., None]).sum(axis=-1)
    return np.where(np.isfinite(value), (1 + above) / (1 + number), np.nan)
