"""One layer's controls: its measures in its singular basis, in others, and under chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.controls.bases import channels, principal_components
from ddp_tasks.controls.basis_measures import (
    Asked,
    SortedSignals,
    chance_of,
    measures_of_bases,
    measures_of_permutations,
    percentile,
)
from ddp_tasks.controls.random_rotations import (
    LEAST_RANK,
    LEAST_RANK_OF_VARIANCES,
    haar_rotations,
    variance_keeping_rotations,
)
from ddp_tasks.controls.rivals import CODE_DIRECTIONS, codes
from schemas.control_variables import LEAST_ROTATIONS, MEASURES

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped

#: Bytes of the rotations that are kept at once.
_BYTES = 1 << 25

#: Seconds that the rotations of one kind may take in one layer, as they are estimated here.
_SECONDS = 30.0

#: Dimension of the variables that hold a number for each draw.
_DRAWN = {
    "rotation": ("draw",),
    "variance_rotation": ("draw",),
    "permutation": ("permutation",),
}

Rotations = Callable[[int], "Float64[npt.NDArray[np.float64], 'draw r r']"]


@dataclass(frozen=True)
class Drawn:
    """Which controls there are beside channels and principal components, and from which seed."""

    rotations: int
    permutations: int
    rivals: tuple[str, ...]
    """names of those to fit."""
    seed: int

    def random(self, layer: str, kind: int) -> np.random.Generator:
        """The source of one kind of draws: of seed and layer's name alone, on any worker."""
        words = np.frombuffer(hashlib.sha256(layer.encode()).digest(), dtype=np.uint32)
        return np.random.default_rng([self.seed, kind, *words.tolist()])


def layer_controls(
    layer: str,
    signals: Shaped[npt.NDArray[np.float32], "image r"],
    U: Shaped[npt.NDArray[np.floating], "d r"],
    asked: Asked,
    drawn: Drawn,
) -> xr.Dataset:
    """The layer's part of the group ``controls``.

    Parameters
    ----------
    layer
        its name.
    signals
        shape (image, r); of all images of the run.
    U
        shape (d, r); left singular vectors.
    asked
        levels and images of the layer.
    """
    ordered = SortedSignals.of(signals, asked.images)
    columns = _of_bases(ordered, U, asked, drawn, layer)
    permuted = asked.images.permutations(drawn.permutations, drawn.random(layer, 2))
    value, permutation = columns["value"], measures_of_permutations(ordered, asked, permuted).T
    columns |= {
        "permutation": permutation,
        "percentile": _percentile(value, columns["rotation"]),
        "percentile_variance": _percentile(value, columns["variance_rotation"]),
        "permutation_p": chance_of(value, permutation),
    }
    variables: dict[str, tuple[Sequence[str], npt.NDArray[np.generic]]] = {
        name: (("layer", "measure", *_DRAWN.get(name, ())), values[None])
        for name, values in columns.items()
    }
    variables["images"] = (("layer",), np.array([len(asked.images.order)]))
    coordinates: dict[str, object] = {
        "layer": ("layer", np.array([layer], dtype=object)),
        "measure": ("measure", np.array(list(MEASURES), dtype=object)),
    }
    if drawn.rivals:
        outputs = ordered.signals @ U.T.astype(np.float32)
        rank = signals.shape[1]
        found = [_of_rival(name, outputs, rank, asked, drawn.seed) for name in drawn.rivals]
        variables["rivals"] = (("rival", "layer", "measure"), np.stack(found)[:, None])
        coordinates["rival"] = ("rival", np.array(drawn.rivals, dtype=object))
    return xr.Dataset(variables, coords=coordinates)


def _of_bases(
    ordered: SortedSignals,
    U: npt.NDArray[np.floating],
    asked: Asked,
    drawn: Drawn,
    layer: str,
) -> dict[str, npt.NDArray[np.float64]]:
    """Measures of every basis, by the variable that holds them."""
    rank = ordered.signals.shape[1]
    covariance = ordered.covariance[0]
    haar, varied = drawn.random(layer, 0), drawn.random(layer, 1)
    single = {
        "value": np.eye(rank),
        "channels": channels(U),
        "pca": principal_components(covariance, U),
    }
    columns = {name: measures_of_bases(ordered, of[None], asked)[0] for name, of in single.items()}
    if not covariance.any():  # fewer than two images
        columns["pca"][:] = np.nan
    return columns | {
        "rotation": _of_rotations(
            ordered,
            asked,
            _number(drawn.rotations, ordered, LEAST_RANK, _seconds_of_haar),
            drawn.rotations,
            lambda some: haar_rotations(rank, some, haar),
        ),
        "variance_rotation": _of_rotations(
            ordered,
            asked,
            _number(drawn.rotations, ordered, LEAST_RANK_OF_VARIANCES, _seconds_of_walk),
            drawn.rotations,
            lambda some: variance_keeping_rotations(covariance, some, varied),
        ),
    }


def _of_rotations(
    signals: SortedSignals, asked: Asked, number: int, draws: int, rotations: Rotations
) -> Float64[npt.NDArray[np.float64], "measure draw"]:
    """Measures of the signals in rotated bases; NaN for draws that there are not."""
    measured = np.full((len(MEASURES), draws), np.nan)
    together = max(1, _BYTES // (8 * signals.signals.shape[1] ** 2))
    for first in range(0, number, together):
        some = rotations(min(together, number - first))
        there = np.isfinite(some[:, 0, 0])
        places = first + np.flatnonzero(there)
        measured[:, places] = measures_of_bases(signals, some[there], asked).T
    return measured


def _number(
    draws: int, signals: SortedSignals, least_rank: int, seconds: Callable[[int], float]
) -> int:
    """How many of the draws asked for are made: fewer where the layer is wide."""
    rows, rank = signals.signals.shape
    if rank < least_rank:
        return 0
    # Fixed rates, so that every machine draws as many.
    measuring = 1e-4 + 5e-11 * rows * rank**2 + 3e-8 * rows * rank
    return min(draws, int(_SECONDS / (seconds(rank) + measuring)))


def _seconds_of_haar(rank: int) -> float:
    return 2.5e-10 * rank**3


def _seconds_of_walk(rank: int) -> float:
    return 6e-7 * rank**2


def _percentile(
    value: Float64[npt.NDArray[np.float64], " measure"],
    draws: Float64[npt.NDArray[np.float64], "measure draw"],
) -> Float64[npt.NDArray[np.float64], " measure"]:
    """Percentile of a value; NaN where there are too few draws to say how rare it is."""
    enough = np.isfinite(draws).sum(axis=1) >= LEAST_ROTATIONS
    return np.where(enough, percentile(value, draws), np.nan)


def _of_rival(
    name: str, outputs: npt.NDArray[np.float32], rank: int, asked: Asked, seed: int
) -> npt.NDArray[np.float64]:
    found = codes(name, outputs, asked.images.choosing, rank, seed % 2**32)
    if found is None:
        return np.full(len(MEASURES), np.nan)
    own = SortedSignals.of_sorted(found, asked.images)
    own_asked = asked.in_directions(CODE_DIRECTIONS)
    return measures_of_bases(own, np.eye(rank)[None], own_asked)[0]
