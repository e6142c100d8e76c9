"""Which singular vectors pruned layers keep, by a criterion, within a number of parameters.

The paper proposes to prune by the singular values (section 7, after Dittmer, King and Maass). Left
open are what a vector is worth and how the parameters are shared out among layers. Here a vector is
worth its energy, the square of its singular value or the variance of its signals, as a share of its
layer's; and the product over all layers of the shares of energy that they keep is made as large as
the number of parameters allows. A small layer thus stays whole, since it costs little, and no layer
is left with nothing, as it could be if shares were added up.

Signals have their mean over the images taken off, since a constant is what a BatchNorm whose
statistics are estimated again takes off too: on CIFAR-10's ResNets the raw second moment, most of
which is that constant, kept less accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.networks.factorised_layers import Factorisable

if TYPE_CHECKING:
    from jaxtyping import Shaped

SINGULAR_VALUE, SIGNAL_ENERGY = "singular_value", "signal_energy"
#: The control: as many vectors of each layer as by singular value, drawn at random.
RANDOM = "random"
#: By what vectors are chosen, in the order in which they are shown.
CRITERIA = (SINGULAR_VALUE, SIGNAL_ENERGY)

Kept = Mapping[str, npt.NDArray[np.int64]]
"""Singular vectors that are kept, by module; modules that stay whole are left out."""


@dataclass(frozen=True)
class RankedLayer:
    """A layer's singular vectors, those of each block of its weight in descending order."""

    layer: Factorisable
    order: Shaped[npt.NDArray[np.int64], "ranks groups"]
    """numbers of singular vectors; a row has the next vector of each block."""
    share: Shaped[npt.NDArray[np.float64], " ranks"]
    """of the layer's energy in the first rows up to each, ascending to 1."""

    @classmethod
    def of(
        cls,
        layer: Factorisable,
        block: Shaped[npt.NDArray[np.int64], " r"],
        energy: Shaped[npt.NDArray[np.float64], " r"],
    ) -> RankedLayer:
        """Rank a layer's vectors by their energy; equals keep their order.

        Blocks keep equally many vectors, so those of a block past the least rank of all blocks are
        not ranked. If there is no energy at all, every vector counts alike.

        Parameters
        ----------
        block
            shape (r,); the group of the convolution that each vector belongs to.
        energy
            shape (r,); not negative.
        """
        if not energy.sum() > 0:
            energy = np.ones_like(energy)
        ranked = [
            members[np.argsort(-energy[members], kind="stable")]
            for members in (np.flatnonzero(block == group) for group in range(layer.groups))
        ]
        ranks = min(map(len, ranked))
        order = np.stack([members[:ranks] for members in ranked], axis=1)
        share = np.cumsum(energy[order].sum(axis=1)) / energy.sum()
        return cls(layer, order.astype(np.int64), share)

    @property
    def most(self) -> int:
        """Most rows with which a pair of layers has fewer parameters than the layer."""
        return min(self.layer.most, len(self.order))


def least_parameters(layers: Sequence[Factorisable]) -> int:
    """Parameters of the weights of layers when each keeps one singular vector a block."""
    return sum(layer.step for layer in layers)


def chosen_vectors(layers: Sequence[RankedLayer], parameters: int) -> Kept:
    """The vectors that layers keep, so that the product of their shares of energy is large.

    A layer has a point for each number of vectors, (parameters, logarithm of the share), and one
    for staying whole. From one vector in every layer, the steps along the upper hulls of these
    points are taken in the order of what a parameter gains, as long as parameters are left: the
    greatest product for the parameters then used (Lagrange). A step that is too long is taken in
    part, vector by vector.

    Parameters
    ----------
    parameters
        that the weights of all these layers may have together.

    Raises
    ------
    ValueError
        If one vector in each layer has more.
    """
    left = parameters - least_parameters([ranked.layer for ranked in layers])
    if left < 0:
        raise ValueError(f"{parameters} parameters; one vector a layer needs {parameters - left}")
    rows = [1] * len(layers)
    steps = sorted(
        (step for place, ranked in enumerate(layers) for step in _steps(ranked, place)),
        key=lambda step: -step.gain,
    )
    ended: set[int] = set()
    for step in steps:
        if step.place in ended:
            continue
        if step.cost <= left:
            rows[step.place], left = step.rows, left - step.cost
            continue
        ended.add(step.place)
        ranked = layers[step.place]
        more = min(left // ranked.layer.step, ranked.most - rows[step.place])
        rows[step.place], left = rows[step.place] + more, left - more * ranked.layer.step
    return {
        ranked.layer.module: ranked.order[:count].ravel()
        for ranked, count in zip(layers, rows, strict=True)
        if count <= ranked.most
    }


@dataclass(frozen=True)
class _Step:
    """From one number of vectors of a layer to a greater one, or to the whole layer."""

    place: int
    rows: int
    """afterwards; one more than the most for the whole layer."""
    cost: int
    gain: float
    """of the logarithm of the share of energy, for each parameter."""


def _steps(ranked: RankedLayer, place: int) -> list[_Step]:
    """The steps along the upper hull of a layer's points, of descending gain."""
    layer = ranked.layer
    points = [
        (rows, rows * layer.step, math.log(max(ranked.share[rows - 1], 1e-300)))
        for rows in range(1, ranked.most + 1)
    ]
    points.append((ranked.most + 1, layer.parameters, 0.0))
    hull: list[tuple[int, int, float]] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], point):
            hull.pop()
        hull.append(point)
    return [
        _Step(place, there[0], there[1] - here[1], _slope(here, there))
        for here, there in pairwise(hull)
    ]


def _slope(here: tuple[int, int, float], there: tuple[int, int, float]) -> float:
    return (there[2] - here[2]) / (there[1] - here[1])


def random_vectors(layers: Sequence[RankedLayer], kept: Kept, seed: int) -> Kept:
    """As many vectors of each layer and block, drawn at random from all of them.

    Parameters
    ----------
    kept
        what a criterion chose.
    seed
        determines the draw of each layer together with its position.
    """
    drawn = {}
    for place, ranked in enumerate(layers):
        if (chosen := kept.get(ranked.layer.module)) is not None:
            rng = np.random.default_rng([seed, place])
            shuffled = rng.permuted(ranked.order, axis=0)
            drawn[ranked.layer.module] = shuffled[: len(chosen) // ranked.layer.groups].ravel()
    return drawn
