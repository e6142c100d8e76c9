"""Descriptions of singular vectors beside those that the same search finds of random directions.

A layer whose outputs tell classes apart does so along almost any direction. So the best of many
sets says something of a singular vector only where it predicts unseen images better than the best
sets of random directions of the same outputs do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.controls.layer_controls import Drawn
from ddp_tasks.controls.random_rotations import (
    LEAST_RANK,
    LEAST_RANK_OF_VARIANCES,
    haar_rotations,
    variance_keeping_rotations,
)
from ddp_tasks.significance.concepts import Concepts
from ddp_tasks.significance.descriptions import BestDescriptions, best_descriptions

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Shaped

#: Random bases of a layer at least, and random directions, where the layer is not too wide.
BASES, DIRECTIONS = 40, 2000

#: Random directions at most, which are drawn while fewer than ``_FEW`` signed ones do as well as
#: the layer's best vector: a rate of false discoveries over many layers needs a small p.
MOST_DIRECTIONS, _FEW = 20_000, 10

#: Seconds that the bases of one kind may take in one layer, as they are estimated here.
_SECONDS = 60.0

Rotations = Callable[[int], "Float64[npt.NDArray[np.float64], 'draw r r']"]


@dataclass(frozen=True)
class DescribedLayer:
    """The best descriptions of a layer's vectors, and of random directions of its outputs."""

    found: BestDescriptions
    random: Float64[npt.NDArray[np.float64], "draw r direction"]
    """area on the images that judge, of the vectors of random bases."""
    varied: Float64[npt.NDArray[np.float64], "varied r direction"]
    """the same of random bases that keep each signal's variance."""


def described_layer(
    layer: str,
    signals: Shaped[npt.NDArray[np.float32], "image r"],
    concepts: Concepts,
    choosing: Bool[npt.NDArray[np.bool_], " image"],
    seed: int,
) -> DescribedLayer:
    """Describe the singular vectors of a layer, and random directions in the same way.

    Parameters
    ----------
    layer
        its name, which with the seed determines the draws.
    signals
        shape (image, r); finite.
    concepts, choosing
        as ``best_descriptions`` takes them.

    References
    ----------
    Drawing until enough do as well: Besag and Clifford 1991, Sequential Monte Carlo p-values,
    Biometrika 78.
    """
    rank = signals.shape[1]
    drawn = Drawn(0, 0, (), seed)
    haar, varied = drawn.random(layer, 0), drawn.random(layer, 1)
    exact = signals[choosing].astype(np.float64)
    covariance = np.atleast_2d(np.cov(exact, rowvar=False))

    def search(rotations: Rotations, draws: int) -> npt.NDArray[np.float64]:
        return _of_rotations(signals, concepts, choosing, rotations, draws)

    found = best_descriptions(signals, concepts, choosing)
    draws, most = _draws(signals.shape, len(concepts), LEAST_RANK, 2.5e-10 * rank**3)
    random = search(lambda n: haar_rotations(rank, n, haar), draws)
    while len(random) < most and (random >= found.estimation.max()).sum() < _FEW:
        more = search(lambda n: haar_rotations(rank, n, haar), min(draws, most - len(random)))
        random = np.concatenate([random, more])
    draws, _ = _draws(signals.shape, len(concepts), LEAST_RANK_OF_VARIANCES, 6e-7 * rank**2)
    keeping = search(lambda n: variance_keeping_rotations(covariance, n, varied), draws)
    return DescribedLayer(found, random, keeping)


def _of_rotations(
    signals: npt.NDArray[np.float32],
    concepts: Concepts,
    choosing: npt.NDArray[np.bool_],
    rotations: Rotations,
    draws: int,
) -> npt.NDArray[np.float64]:
    """Areas on the images that judge, along each rotated basis that there is."""
    rank = signals.shape[1]
    together = max(1, DIRECTIONS // rank)
    scores = [np.empty((0, rank, 2))]
    for first in range(0, draws, together):
        some = rotations(min(together, draws - first))
        some = some[np.isfinite(some[:, 0, 0])]
        if len(some):
            along = signals @ np.concatenate(list(some), axis=1).astype(np.float32)
            best = best_descriptions(along, concepts, choosing)
            scores.append(best.estimation.reshape(len(some), rank, 2))
    return np.concatenate(scores)


def _draws(shape: tuple[int, ...], concepts: int, least_rank: int, each: float) -> tuple[int, int]:
    """How many bases are drawn, and how many at most: fewer where a layer is wide.

    Parameters
    ----------
    each
        seconds that a basis takes. Rates are fixed, so that every machine draws as many.
    """
    images, rank = shape
    if rank < least_rank:
        return 0, 0
    searching = images * rank * (2e-7 + 5e-11 * rank + 2e-10 * concepts)
    affordable = max(1, int(_SECONDS / (each + searching)))
    wanted = max(BASES, -(-DIRECTIONS // rank))
    return min(wanted, affordable), min(max(wanted, MOST_DIRECTIONS // rank), affordable)


def share_at_or_above(
    value: Float64[npt.NDArray[np.float64], "*grid"],
    drawn: Float64[npt.NDArray[np.float64], " draw"],
) -> Float64[npt.NDArray[np.float64], "*grid"]:
    """p of a value among draws: share of them, with the value itself, that are as great.

    Returns
    -------
    NaN without draws

    References
    ----------
    Phipson and Smyth 2010, Permutation p-values should never be zero, Statistical Applications in
    Genetics and Molecular Biology 9.
    """
    if not len(drawn):
        return np.full(value.shape, np.nan)
    below = np.searchsorted(np.sort(drawn), value, side="left")
    return np.asarray((1 + len(drawn) - below) / (1 + len(drawn)))


def percentile_among(
    value: Float64[npt.NDArray[np.float64], "*grid"],
    drawn: Float64[npt.NDArray[np.float64], " draw"],
) -> Float64[npt.NDArray[np.float64], "*grid"]:
    """Share of the draws at or below a value, equal ones counted half, in percent; NaN of none."""
    if not len(drawn):
        return np.full(value.shape, np.nan)
    ascending = np.sort(drawn)
    sides = [np.searchsorted(ascending, value, side=side) for side in ("left", "right")]
    return np.asarray(100 * (sides[0] + sides[1]) / 2 / len(drawn))
