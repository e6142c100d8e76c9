"""Which singular vectors are significant for which classes (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.quantiles import QuantileCounts, count_lower, count_upper
from ddp_tasks.significance.signal_moments import SignalMoments
from ddp_tasks.significance.splits import part_names
from ddp_tasks.weights.signed_vectors import DIRECTIONS

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Parts of the cube: signals (n, layers, singular vectors), NaN past each layer's rank and for
#: layers that an image does not reach, and the target class of each image, -1 for one that could
#: not be read. Called afresh for every pass.
Parts = Callable[[], Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]]


def thresholds(
    parts: Parts, ranks: Sequence[int], quantiles: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Threshold q of each layer: a quantile of all its signals over the images.

    Exact for any number of images and any division into parts, in two passes over them.

    Parameters
    ----------
    parts
        see ``Parts``; signals past a layer's rank are ignored.
    ranks
        one number per layer.
    quantiles
        levels between 0 and 1, ascending.

    Returns
    -------
    shape (direction, quantile, layer); in the units of the signals

    References
    ----------
    Praggastis et al. 2022, section 5, first paragraph.
    """
    counts = [QuantileCounts(quantiles) for _ in ranks]
    for signals, target in parts():
        read, _ = images_read(signals, target)
        for layer, rank in enumerate(ranks):
            count_upper(read[:, layer, :rank], counts[layer].upper)
    wanted = [counted.wanted() for counted in counts]
    for signals, target in parts():
        read, _ = images_read(signals, target)
        for layer, rank in enumerate(ranks):
            wanted[layer].add(count_lower(read[:, layer, :rank], wanted[layer].bins))
    return np.stack([counted.quantiles() for counted in wanted], axis=-1)


def images_read(
    signals: Shaped[npt.NDArray[np.float32], "n ..."], target: Shaped[npt.NDArray[np.int64], " n"]
) -> tuple[Shaped[npt.NDArray[np.float32], "read ..."], Shaped[npt.NDArray[np.int64], " read"]]:
    """Rows of the images that could be read; the others are left out.

    Parameters
    ----------
    signals
        shape (n, ...).
    target
        shape (n,); -1 for an image that could not be read.
    """
    read = target >= 0
    return (signals, target) if read.all() else (signals[read], target[read])


def cut_points(
    threshold: Shaped[npt.NDArray[np.float64], "2 quantile"],
) -> Shaped[npt.NDArray[np.float32], " c"]:
    """Signals at which significance changes, for all levels and both directions of one layer.

    A threshold lies between two float32 numbers or on one, and so does its negative. The
    number of cut points not above a signal says exactly which of them it passes.

    Parameters
    ----------
    threshold
        shape (direction, quantile); see ``thresholds``.

    Returns
    -------
    shape (c,), ascending, all different; c is at most twice the number of levels
    """
    return np.unique(np.concatenate(direction_cuts(threshold)))


def count_between(
    signals: Shaped[npt.NDArray[np.float32], "n v"],
    target: Shaped[npt.NDArray[np.int64], " n"],
    cuts: Shaped[npt.NDArray[np.float32], " c"],
    counted: Shaped[npt.NDArray[np.int64], "class c+1 v"],
) -> None:
    """Count the signals of each class and singular vector between the cut points of a layer.

    Counts of parts are added up in ``counted``, in any order of the parts. Images that do not
    reach the layer are not counted.

    Parameters
    ----------
    signals
        shape (n, v); of one layer, within its rank; NaN for images that do not reach it.
    target
        shape (n,); classes, none of them negative.
    cuts
        shape (c,); see ``cut_points``.
    counted
        shape (class, c + 1, v); added to. Entry (k, j, i) is the number of images of class k
        whose signal along vector i has j cut points not above it.
    """
    absent = np.isnan(signals[:, 0])
    if absent.any():
        signals, target = signals[~absent], target[~absent]
    below = np.zeros(signals.shape, dtype=np.uint8 if len(cuts) < 256 else np.uint16)
    for cut in cuts:
        below += signals >= cut
    vectors = signals.shape[1]
    cell = (target[:, None] * (len(cuts) + 1) + below) * vectors + np.arange(vectors)
    np.add.at(counted.reshape(-1), cell.reshape(-1), 1)


def count_significant(
    counted: Shaped[npt.NDArray[np.int64], "class between v"],
    threshold: Shaped[npt.NDArray[np.float64], "2 quantile"],
) -> Shaped[npt.NDArray[np.int64], "2 quantile class v"]:
    """Images for which each singular vector is significant, from the counts between cut points.

    Parameters
    ----------
    counted
        shape (class, c + 1, v); see ``count_between``.
    threshold
        shape (direction, quantile); those that gave the cut points.

    Returns
    -------
    shape (direction, quantile, class, v)
    """
    cuts = cut_points(threshold)
    above, below = (np.searchsorted(cuts, own) for own in direction_cuts(threshold))
    up_to = np.cumsum(counted, axis=1)
    # A signal counts if it is not below its cut point (positive), or if it is (negative).
    positive = up_to[:, -1:] - up_to[:, above]
    return np.moveaxis(np.stack([positive, up_to[:, below]]), 2, 1)


def direction_cuts(
    threshold: Shaped[npt.NDArray[np.float64], "2 quantile"],
) -> tuple[
    Shaped[npt.NDArray[np.float32], " quantile"], Shaped[npt.NDArray[np.float32], " quantile"]
]:
    """Where significance begins in each direction, as float32, at each quantile level.

    Returns
    -------
    the least number above each positive threshold: signals not below it are significant; and the
    least one not below minus each negative threshold: signals below it are
    """
    positive, negative = threshold
    above, at_least = positive.astype(np.float32), (-negative).astype(np.float32)
    return (
        np.where(above > positive, above, np.nextafter(above, np.float32(np.inf))),
        np.where(at_least >= -negative, at_least, np.nextafter(at_least, np.float32(np.inf))),
    )


@dataclass(frozen=True, slots=True)
class ClassFractions:
    """Shares of each class's images for which singular vectors are significant, by parts."""

    fraction: Shaped[npt.NDArray[np.float32], "split direction quantile class layer v"]
    """NaN past each layer's rank and for classes without images."""
    images: Shaped[npt.NDArray[np.int64], "split class"]
    """number of images of each class."""
    reached: Shaped[npt.NDArray[np.int64], "split class layer"]
    """number of images of each class that reach each layer."""
    eta_squared: Shaped[npt.NDArray[np.float32], "split layer v"]
    """η² of the signals themselves; NaN past each layer's rank."""


def of_part(parts: Parts, part: Shaped[npt.NDArray[np.int8], " image"], wanted: int) -> Parts:
    """The images of one part of a split; those of others get the class of unreadable ones.

    Parameters
    ----------
    part
        shape (image,); as ``splits.split_images`` returns it.
    """

    def masked() -> Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        start = 0
        for signals, target in parts():
            inside = part[start : start + len(target)] == wanted
            yield signals, np.where(inside, target, -1)
            start += len(target)

    return masked


def fractions(
    parts: Parts,
    ranks: Sequence[int],
    threshold: Shaped[npt.NDArray[np.float64], "2 quantile layer"],
    target_classes: int,
    part: Shaped[npt.NDArray[np.int8], " image"],
) -> ClassFractions:
    """Share of each class's images for which each singular vector is significant.

    A vector is significant for an image if its signal is strictly greater than q. An image has no
    significant vectors in a layer that it does not reach. All levels and both directions are
    counted in one pass over each part of the images.

    Parameters
    ----------
    threshold
        shape (direction, quantile, layer), ascending with the level.
    part
        shape (image,); as ``splits.split_images`` returns it.
    """
    of_parts = [
        _fractions(of_part(parts, part, one), ranks, threshold, target_classes)
        for one in range(int(part.max(initial=0)) + 1)
    ]
    return ClassFractions(*(np.stack(arrays) for arrays in zip(*of_parts, strict=True)))


def _fractions(
    parts: Parts,
    ranks: Sequence[int],
    threshold: npt.NDArray[np.float64],
    target_classes: int,
) -> tuple[npt.NDArray[np.generic], ...]:
    """The arrays of ``ClassFractions`` of one part of the images."""
    directions, levels, layers = threshold.shape
    images = np.zeros(target_classes, dtype=np.int64)
    cuts = [cut_points(threshold[:, :, layer]) for layer in range(layers)]
    counted = [
        np.zeros((target_classes, len(own) + 1, rank), dtype=np.int64)
        for own, rank in zip(cuts, ranks, strict=True)
    ]
    moments = [SignalMoments(target_classes, rank) for rank in ranks]
    for signals, target in parts():
        read, target_read = images_read(signals, target)
        images += np.bincount(target_read, minlength=target_classes)
        for layer, rank in enumerate(ranks):
            count_between(read[:, layer, :rank], target_read, cuts[layer], counted[layer])
            moments[layer].add(read[:, layer, :rank], target_read)
    shape = (directions, levels, target_classes, layers, max(ranks))
    fraction = np.full(shape, np.nan, dtype=np.float32)
    eta_squared = np.full(shape[3:], np.nan, dtype=np.float32)
    for layer, rank in enumerate(ranks):
        count = count_significant(counted[layer], threshold[:, :, layer])
        fraction[:, :, :, layer, :rank] = share(count, images)
        eta_squared[layer, :rank] = moments[layer].eta_squared()
    # Every image that reaches a layer has one signal along the first vector.
    reached = np.stack([counts[:, :, 0].sum(axis=1) for counts in counted], axis=1)
    return fraction, images, reached, eta_squared


def share(
    count: Shaped[npt.NDArray[np.int64], "*grid class v"],
    images: Shaped[npt.NDArray[np.int64], " class"],
) -> Shaped[npt.NDArray[np.float32], "*grid class v"]:
    """Counts of each class's images divided by all its images; NaN for a class without any.

    Parameters
    ----------
    count
        shape (..., class, singular vector).
    images
        shape (class,).
    """
    with np.errstate(invalid="ignore"):
        return (count / images[:, None]).astype(np.float32)


def significant(
    fraction: Shaped[npt.NDArray[np.float32], "*grid class v"],
    images: Shaped[npt.NDArray[np.int64], " class"],
    percentage: float,
) -> Shaped[npt.NDArray[np.bool_], "*grid class v"]:
    """Whether a singular vector is significant for a class: for at least p % of its images.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector).
    images
        shape (class,).
    percentage
        p, above 0 and at most 100.

    Returns
    -------
    shape of ``fraction``; False where it is NaN
    """
    # Compared as counts of images: 0.57 * 100 is less than 57 in floating point.
    # The slack is for percentages such as 1.1, whose product with 3000 comes out above 3300.
    least = np.ceil(percentage * images * (1 - 1e-12) / 100)
    # Half an image below, which no share is near. So no count is written out: the tables of
    # thousands of classes are large.
    with np.errstate(divide="ignore", invalid="ignore"):
        enough = (least - 0.5) / images
    return np.asarray(fraction >= enough[:, None])


def significant_images(
    fraction: Shaped[npt.NDArray[np.float32], "*grid class v"],
    images: Shaped[npt.NDArray[np.int64], " class"],
) -> Shaped[npt.NDArray[np.int64], "*grid class v"]:
    """How many images of each class a singular vector is significant for.

    Exact, though fractions are stored as float32, up to eight million images per class.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector).
    images
        shape (class,).

    Returns
    -------
    shape of ``fraction``; 0 where it is NaN
    """
    return np.rint(np.nan_to_num(fraction).astype(np.float64) * images[:, None]).astype(np.int64)


def least_images(
    images: Shaped[npt.NDArray[np.int64], " class"], percentage: float
) -> Shaped[npt.NDArray[np.int64], " class"]:
    """The least number of images of each class that make a vector significant for it.

    Parameters
    ----------
    images
        shape (class,).
    percentage
        p, above 0 and at most 100.

    Returns
    -------
    shape (class,); 1 for a class without images, which no count reaches
    """
    sizes, class_size = np.unique(images, return_inverse=True)
    least = np.ones(len(sizes), dtype=np.int64)
    for place, size in enumerate(sizes):
        if size:
            shares = (np.arange(size + 1) / size).astype(np.float32)
            least[place] = significant(shares[None], np.array([size]), percentage)[0].argmax()
    return least[class_size]


def discrimination(
    fraction: Shaped[npt.NDArray[np.float32], "*grid class v"],
    images: Shaped[npt.NDArray[np.int64], " class"],
) -> Shaped[npt.NDArray[np.float64], "*grid v"]:
    """How well "significant or not" tells the classes apart: the correlation ratio η².

    The indicator "this vector is significant" varies over images; η² is the share of its variance
    that the target class explains. It is 0 where every class has the same fraction, and 1 where
    the vector is significant for all images of some classes and for none of the others.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector), at one quantile level.
    images
        shape (class,).

    Returns
    -------
    shape (..., singular vector), from 0 to 1; 0 where the indicator never varies, NaN past the
    rank
    """
    present = images > 0
    weight = images[present] / images.sum()
    mean = np.zeros(fraction.shape[:-2] + fraction.shape[-1:])
    between = np.zeros_like(mean)
    # Class by class, since a copy of the table in float64 would be large.
    shares = np.moveaxis(fraction, -2, 0)[present]
    for of_class, own in zip(shares, weight, strict=True):
        mean += of_class * own
    for of_class, own in zip(shares, weight, strict=True):
        between += own * (of_class - mean) ** 2
    total = mean * (1 - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, between / total, total * 0)


def by_discrimination(
    eta_squared: Shaped[npt.NDArray[np.float64], " v"],
) -> Shaped[npt.NDArray[np.int64], " v"]:
    """Positions of singular vectors, greatest η² first, equal ones in their order; NaN last."""
    return np.argsort(-eta_squared, kind="stable")


def significance_dataset(
    parts: Parts,
    layers: xr.Dataset,
    target_classes: Sequence[str],
    quantiles: Sequence[float],
    part: Shaped[npt.NDArray[np.int8], " image"] | None = None,
) -> xr.Dataset:
    """The group ``significance``: thresholds and fractions over a grid of quantile levels.

    Parameters
    ----------
    layers
        the store's group ``layers``.
    target_classes
        names, one per class.
    part
        shape (image,); as ``splits.split_images`` returns it. None does not split the images.
    """
    ranks = layers["rank"].to_numpy().tolist()
    if part is None:
        part = np.zeros(sum(len(target) for _, target in parts()), dtype=np.int8)
    threshold = thresholds(of_part(parts, part, 0), ranks, quantiles)
    shares = fractions(parts, ranks, threshold, len(target_classes), part)
    return tables_dataset(
        threshold, shares, part, layers=layers, target_classes=target_classes, quantiles=quantiles
    )


def tables_dataset(
    threshold: npt.NDArray[np.float64],
    shares: ClassFractions,
    part: npt.NDArray[np.int8],
    *,
    layers: xr.Dataset,
    target_classes: Sequence[str],
    quantiles: Sequence[float],
) -> xr.Dataset:
    """The group ``significance``, from the arrays that ``thresholds`` and ``fractions`` give.

    Parameters
    ----------
    threshold
        shape (direction, quantile, layer).
    part
        shape (image,); which part of the split each image belongs to.
    layers
        the store's group ``layers``.
    """
    grid = ("direction", "quantile")
    names = part_names(len(shares.images))
    return xr.Dataset(
        {
            "threshold": ((*grid, "layer"), threshold),
            "fraction": (
                ("split", *grid, "target_class", "layer", "singular_vector"),
                shares.fraction,
            ),
            "images": (("split", "target_class"), shares.images),
            "reached": (("split", "target_class", "layer"), shares.reached),
            "eta_squared_of_signals": (("split", "layer", "singular_vector"), shares.eta_squared),
            "part": ("image", part),
        },
        coords={
            "layer": layers["layer"],
            "singular_vector": layers["singular_vector"],
            "target_class": np.array(target_classes, dtype=object),
            "quantile": np.array(quantiles),
            "direction": np.array(DIRECTIONS, dtype=object),
            "split": np.array(names, dtype=object),
        },
    )
