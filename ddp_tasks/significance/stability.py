"""How much the findings of a run depend on the images that it was given.

Two questions. Would an incidence, an equivalence class or an edge of the hierarchy be there for
other images of the same classes? A bootstrap over the images answers it. And would a smaller
sample of images have given the same threshold q? Samples drawn from the run's images answer that.

The bootstrap keeps q fixed. It judges the findings at one q, which is part of what they say. And
q is a quantile over all signals of a layer, images times singular vectors, so it depends far less
on single images than the fractions of one class do; the samples show by how much. With q fixed, a
singular vector is significant for an image or it is not, so the cube is read once and each
resample is a weighted count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.quantiles import NoValuesError
from ddp_tasks.significance.significance import least_images, thresholds
from ddp_tasks.weights.signed_vectors import DIRECTIONS, by_nodes, interleaved
from schemas.parameters import Levels, SignificanceParameters

#: Signals of one layer (n, singular vectors) and target classes (n,), block by block in the order
#: of the images; -1 is the class of an image that could not be read.
LayerParts = Callable[[], Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]]

#: Seed of all random draws here. The resamples of a class depend only on this and on its position,
#: so they are the same images in every layer and direction.
SEED = 20220815
#: A finding counts as sure if it holds in at least this share of the resamples.
SURE = 0.95

Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Indicators:
    """For which images each node is significant, as bits; images ordered by class."""

    significant: npt.NDArray[np.uint8]
    """shape (image, bytes): eight nodes per byte."""
    start: npt.NDArray[np.int64]
    """shape (class + 1,); where the images of each class begin, and where the last end."""
    nodes: int

    def of_class(self, target_class: int) -> npt.NDArray[np.float32]:
        """0 or 1; shape (images of the class, node)."""
        rows = slice(self.start[target_class], self.start[target_class + 1])
        bits = np.unpackbits(self.significant[rows], axis=1, count=self.nodes)
        return bits.astype(np.float32)


def indicators(
    parts: LayerParts, threshold: Mapping[str, float], target_classes: int
) -> Indicators:
    """Read a layer once: which signals, and which negatives of signals, exceed q.

    Parameters
    ----------
    threshold
        q of each direction of the nodes.
    """
    packed: list[npt.NDArray[np.uint8]] = []
    targets, nodes = [np.empty(0, dtype=np.int64)], 0
    for signals, target in parts():
        nodes = signals.shape[1] * len(threshold)
        read = target >= 0
        targets.append(target[read])
        exact = signals[read].astype(np.float64)
        signs = {DIRECTIONS[0]: 1, DIRECTIONS[1]: -1}
        above = [signs[direction] * exact > q for direction, q in threshold.items()]
        packed.append(np.packbits(interleaved(above), axis=1))
    target = np.concatenate(targets)
    order = np.argsort(target, kind="stable")
    start = np.searchsorted(target[order], np.arange(target_classes + 1))
    empty = np.empty((0, -(-nodes // 8)), dtype=np.uint8)
    return Indicators(np.concatenate([empty, *packed])[order], start, nodes)


def resample_weights(images: int, resamples: int, target_class: int) -> npt.NDArray[np.float32]:
    """How often each image of a class is drawn: as many draws as images, with replacement.

    Parameters
    ----------
    target_class
        position of the class; with ``SEED`` it determines the draws.

    Returns
    -------
    shape (resample, image); whole numbers whose rows add up to ``images``
    """
    if not images:
        return np.zeros((resamples, 0), dtype=np.float32)
    random = np.random.default_rng([SEED, target_class])
    drawn = random.integers(0, images, size=(resamples, images))
    # One count for all resamples, each with its own range of bins.
    drawn += np.arange(resamples)[:, None] * images
    counted = np.bincount(drawn.ravel(), minlength=resamples * images)
    return counted.reshape(resamples, images).astype(np.float32)


def bootstrap_bytes(resamples: int, images: int, vectors: int) -> int:
    """Memory that the bootstrap of a layer takes at its peak, in bytes.

    Parameters
    ----------
    images
        of the largest class.
    vectors
        nodes of the layer: singular vectors, in each of their directions.
    """
    # Draws, their counts, and the counts as float32 for the matrix product.
    drawing = (8 + 8 + 4) * images
    # Weights, and for each vector its count of images, whether that is enough, and that as bits.
    counting = 4 * images + (4 + 1 + 1) * vectors
    return resamples * max(drawing, counting)


@dataclass(frozen=True)
class Hierarchy:
    """The parts of a semantic hierarchy that the bootstrap judges."""

    members: tuple[npt.NDArray[np.int64], ...]
    """nodes of each equivalence class; the first represents it."""
    general: npt.NDArray[np.int64]
    """shape (edge,); equivalence class that each edge leads from."""
    specific: npt.NDArray[np.int64]
    """shape (edge,); equivalence class that each edge leads to."""


@dataclass(frozen=True)
class Stability:
    """Shares of resamples, from 0 to 1, in which findings hold."""

    incidence: npt.NDArray[np.float32]
    """shape (class, node): the node is significant for the class; NaN for a class without
    images."""
    together: npt.NDArray[np.float32]
    """shape (equivalence class,): all its vectors are significant for the same classes, and for
    one at least."""
    inclusion: npt.NDArray[np.float32]
    """shape (edge,): the classes of the general one's representative are a proper superset of
    those of the specific one's, which has at least one."""


def bootstrap(
    indicators: Indicators, percentage: float, resamples: int, hierarchy: Hierarchy
) -> Stability:
    """Resample the images of each class and count how often findings hold.

    Stratified: every resample has as many images of each class as the run. Counts of a class are
    a product of two matrices: how often each image is drawn, and which vectors are significant
    for it. Whether a finding holds in a resample is one bit, so edges are judged for a word of
    resamples at a time, and no table of resamples, classes and vectors is ever in memory.

    Parameters
    ----------
    percentage
        p of the hypergraph.
    resamples
        above 0.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 8.
    """
    classes, edges = len(indicators.start) - 1, len(hierarchy.general)
    images = np.diff(indicators.start)
    least = least_images(images, percentage)
    words = -(-resamples // 64)
    incidence = np.full((classes, indicators.nodes), np.nan, dtype=np.float32)
    representative = np.array([m[0] for m in hierarchy.members], dtype=np.int64)
    member = np.concatenate([np.empty(0, dtype=np.int64), *hierarchy.members])
    first = np.cumsum([0, *(len(m) for m in hierarchy.members)])[:-1].astype(np.int64)
    member_representative = np.repeat(representative, [len(m) for m in hierarchy.members])
    general, specific = representative[hierarchy.general], representative[hierarchy.specific]
    alive = np.zeros((len(representative), words), dtype=np.uint64)
    parted = np.zeros_like(alive)
    more = np.zeros((edges, words), dtype=np.uint64)
    lacking = np.zeros_like(more)
    for c in range(classes):
        if not images[c]:
            continue
        count = resample_weights(int(images[c]), resamples, c) @ indicators.of_class(c)
        holds = _resample_bits(count >= least[c])
        incidence[c] = _bits_set(holds) / resamples
        # A class without significant vectors in any resample changes nothing below.
        if not holds.any() or not len(member):
            continue
        alive |= holds[representative]
        parted |= np.bitwise_or.reduceat(holds[member] ^ holds[member_representative], first)
        more |= holds[general] & ~holds[specific]
        lacking |= holds[specific] & ~holds[general]
    included = more & ~lacking & alive[hierarchy.specific]
    return Stability(
        incidence=incidence,
        together=(_bits_set(alive & ~parted) / resamples).astype(np.float32),
        inclusion=(_bits_set(included) / resamples).astype(np.float32),
    )


def _resample_bits(holds: npt.NDArray[np.bool_]) -> Bits:
    """Bits of shape (resample, vector) as words of resamples, shape (vector, words)."""
    padded = np.zeros((holds.shape[1], -(-len(holds) // 64) * 8), dtype=np.uint8)
    bits = np.packbits(holds, axis=0).T
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)


def _bits_set(words: Bits) -> npt.NDArray[np.int64]:
    return np.bitwise_count(words).sum(axis=-1, dtype=np.int64)


def sample_thresholds(
    parts: LayerParts, quantiles: Sequence[float], images_a_class: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Threshold q of a layer from samples with equally many images of each class.

    The images of a class are put into one random order, the same in every layer; a sample takes
    the first of them, so a smaller sample is part of every larger one. Exact, like the
    thresholds of all images.

    Parameters
    ----------
    quantiles
        levels between 0 and 1, ascending.
    images_a_class
        size of each sample; a class with fewer images gives all it has.

    Returns
    -------
    shape (direction, quantile, sample); NaN for a sample of images that do not reach the layer
    """
    target = np.concatenate(
        [np.empty(0, dtype=np.int64), *(part_target for _, part_target in parts())]
    )
    place, rank = _random_places(target), 0
    for signals, _ in parts():
        rank = signals.shape[1]
        break

    def of_sample(size: int) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        start = 0
        for signals, part_target in parts():
            drawn = place[start : start + len(part_target)] < size
            yield signals[drawn][:, None], part_target[drawn]
            start += len(part_target)

    threshold = np.full((2, len(quantiles), len(images_a_class)), np.nan)
    for place_of_sample, size in enumerate(images_a_class):
        with suppress(NoValuesError):
            size_threshold = thresholds(partial(of_sample, size), [rank], quantiles)
            threshold[:, :, place_of_sample] = size_threshold[:, :, 0]
    return threshold


def _random_places(target: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of each image in its class's random order; past all sizes for an unreadable image."""
    place = np.full(len(target), np.iinfo(np.int64).max)
    for c in np.unique(target[target >= 0]):
        (rows,) = np.nonzero(target == c)
        place[rows] = np.random.default_rng([SEED, int(c), 1]).permutation(len(rows))
    return place


def made_with(parameters: SignificanceParameters, layer: str) -> Mapping[str, str]:
    """What a layer's stability depends on besides the cube, as the store records it."""
    levels = parameters.levels(layer)
    return {
        "quantile_level": f"{levels.quantile:g}",
        "percentage": f"{levels.percentage:g}",
        "resamples": str(parameters.resamples),
        "sample_sizes": ", ".join(map(str, parameters.sample_sizes)),
        "seed": str(SEED),
    }


def layer_stability(
    parts: LayerParts,
    significance: xr.Dataset,
    hierarchy: xr.Dataset,
    levels: Levels,
    *,
    resamples: int,
    sample_sizes: Sequence[int],
) -> xr.Dataset:
    """Stability of the findings of one layer at one quantile level and percentage.

    Parameters
    ----------
    parts
        of the images that choose; the others have the class of unreadable ones.
    significance
        the layer's part of the store's group ``significance``.
    hierarchy
        the store's group ``hierarchies/LAYER``, of the same level, percentage and directions.
    resamples
        of the bootstrap; with 0, its shares are NaN.
    sample_sizes
        images per class; sizes that no class exceeds are left out, since they give all images.
    """
    directions = hierarchy["direction"].to_numpy()
    level = int(np.abs(significance["quantile"].to_numpy() - levels.quantile).argmin())
    places = [DIRECTIONS.index(direction) for direction in directions]
    threshold = significance["threshold"].to_numpy()[places]
    own = dict(zip(map(str, directions), threshold[:, level].tolist(), strict=True))
    resampled = resampled_findings(parts, own, hierarchy, levels.percentage, resamples)
    most = int(significance["images"].to_numpy()[0].max(initial=0))
    sizes = sorted({size for size in sample_sizes if size < most})
    quantiles = significance["quantile"].to_numpy().tolist()
    sample_threshold = sample_thresholds(parts, quantiles, sizes)[places]
    grid = ("direction", "quantile", "sample")
    of_samples = resampled.assign(
        images_a_class=("sample", np.array(sizes, dtype=np.int64)),
        threshold_of_sample=(grid, sample_threshold),
        threshold_difference=(grid, sample_threshold - threshold[:, :, None]),
    )
    return of_samples.assign_coords(quantile=quantiles)


def resampled_findings(
    parts: LayerParts,
    threshold: Mapping[str, float],
    hierarchy: xr.Dataset,
    percentage: float,
    resamples: int,
) -> xr.Dataset:
    """In how many resamples the incidences, classes and edges of a hierarchy hold.

    Parameters
    ----------
    parts, resamples
        as in ``layer_stability``.
    threshold
        q of each direction of the hierarchy.
    hierarchy
        the store's group ``hierarchies/LAYER``, or one of other directions in its form.
    percentage
        p of the hypergraph.

    Returns
    -------
    incidence, together, general, specific and inclusion, as in the group ``stability/LAYER``
    """
    classes, directions = hierarchy.sizes["target_class"], hierarchy["direction"].to_numpy()
    order = _order(hierarchy)
    significant = indicators(parts, threshold, classes)
    if resamples:
        found = bootstrap(significant, percentage, resamples, order)
    else:
        found = Stability(
            np.full((classes, significant.nodes), np.nan, dtype=np.float32),
            np.full(len(order.members), np.nan, dtype=np.float32),
            np.full(len(order.general), np.nan, dtype=np.float32),
        )
    incidence = found.incidence.reshape(classes, -1, len(directions))
    return xr.Dataset(
        {
            "incidence": (("target_class", "singular_vector", "direction"), incidence),
            "together": ("equivalence_class", found.together),
            "general": ("cover", order.general),
            "specific": ("cover", order.specific),
            "inclusion": ("cover", found.inclusion),
        },
        coords={
            "target_class": hierarchy["target_class"],
            "singular_vector": np.arange(incidence.shape[1]),
            "direction": directions,
        },
    )


def _order(hierarchy: xr.Dataset) -> Hierarchy:
    general, specific = np.nonzero(hierarchy["covers"].to_numpy())
    nodes = by_nodes(hierarchy["singular_vectors"], "equivalence_class")
    members = tuple(np.flatnonzero(row) for row in nodes)
    return Hierarchy(members, general, specific)
