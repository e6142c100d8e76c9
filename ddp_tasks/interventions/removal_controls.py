"""Directions whose removal is a control of that of singular vectors.

Any change of a layer may hurt the class that one looks at. So a set of singular vectors stands
beside sets of as many orthonormal directions of four other kinds: singular vectors of like singular
values, single channels, columns of a random rotation of all left singular vectors, and random
directions along which the images' signals have as much energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, linear_sum_assignment

#: The energy of random directions differs from that of the singular vectors by at most this share.
ENERGY_TOLERANCE = 0.01

#: Least eigenvalue of the signals' second moments, over the greatest, that tilting tells from 0.
_LEAST_EIGENVALUE = 1e-12
#: Greatest exponent of the tilt, and random subspaces tried before none is found.
_MOST_TILT, _MOST_TRIES = 64.0, 4

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerBasis:
    """A layer's left singular vectors, and the signals of the images that choose."""

    U: Matrix
    """shape (d, r)."""
    singular_values: Matrix
    """shape (r,)."""
    moments: Matrix
    """Σ S Sᵀ over the images, S an image's signal vector; shape (r, r)."""

    @classmethod
    def of(cls, U: Matrix, singular_values: Matrix, signals: npt.NDArray[np.float32]) -> LayerBasis:
        """The basis with the second moments of signals, shape (n, r); rows of NaN are left out."""
        read = signals[np.isfinite(signals).all(axis=1)].astype(np.float64)
        return cls(U, singular_values, read.T @ read)

    def energy(self, directions: Matrix) -> float:
        """The signals' energy along orthonormal directions, Σ (uᵀ (mean Y - b))² over the images.

        Parameters
        ----------
        directions
            shape (d, m).
        """
        within = self.U.T @ directions
        return float(np.einsum("im,ij,jm->", within, self.moments, within))


@dataclass(frozen=True)
class RemovedSet:
    """Directions that are taken out of a layer together."""

    kind: str
    """singular, single, or one of ``CONTROLS``."""
    draw: int
    """number of the draw among those of the same kind for the same set."""
    directions: Matrix
    """shape (d, m); columns are orthonormal."""
    energy: float
    """see ``LayerBasis.energy``."""
    members: tuple[int, ...] = ()
    """which singular vectors these are; of singular and matched alone."""


def singular_set(basis: LayerBasis, members: Sequence[int], kind: str = "singular") -> RemovedSet:
    """Some of a layer's singular vectors."""
    directions = basis.U[:, list(members)]
    return RemovedSet(kind, 0, directions, basis.energy(directions), tuple(members))


def controls(
    basis: LayerBasis, members: Sequence[int], draws: int, rng: np.random.Generator
) -> tuple[list[RemovedSet], Mapping[str, str]]:
    """Controls of a set of singular vectors.

    Parameters
    ----------
    members
        the set; m singular vectors.
    draws
        controls of each random kind; of matched singular values there is one.

    Returns
    -------
    the controls that exist, and why there is none of the other kinds
    """
    d, r = basis.U.shape
    m = len(members)
    absent: dict[str, str] = {}
    drawn: list[RemovedSet] = []
    if 2 * m <= r:
        matched = _matched(basis.singular_values, members)
        drawn.append(singular_set(basis, matched, "matched"))
    else:
        absent["matched"] = f"{r - m} of {r} vectors are left beside {m}"
    if m == d:
        absent["channels"] = f"all {d} channels are removed"
    if m == r:
        absent |= dict.fromkeys(("rotation", "random"), f"all {r} singular vectors are removed")
    energy = singular_set(basis, members).energy
    for draw in range(draws):
        if "channels" not in absent:
            channels = np.eye(d)[:, rng.choice(d, m, replace=False)]
            drawn.append(RemovedSet("channels", draw, channels, basis.energy(channels)))
        if "rotation" not in absent:
            rotated = basis.U @ random_subspace(r, m, rng)
            drawn.append(RemovedSet("rotation", draw, rotated, basis.energy(rotated)))
        if "random" not in absent:
            alike = equal_energy_subspace(basis.moments, m, energy, rng)
            if alike is None:
                absent["random"] = "no directions of the same energy were found"
                continue
            directions = basis.U @ alike
            drawn.append(RemovedSet("random", draw, directions, basis.energy(directions)))
    return drawn, absent


def _matched(singular_values: Matrix, members: Sequence[int]) -> list[int]:
    """For each member another vector that is none, with the nearest singular values in total."""
    others = np.setdiff1d(np.arange(len(singular_values)), members)
    apart = np.abs(singular_values[list(members)][:, None] - singular_values[others])
    _, chosen = linear_sum_assignment(apart)
    return others[chosen].tolist()


def random_subspace(r: int, m: int, rng: np.random.Generator) -> Matrix:
    """An orthonormal basis of a uniformly random subspace: m columns of a random rotation.

    Returns
    -------
    shape (r, m)
    """
    Q, _ = np.linalg.qr(rng.standard_normal((r, m)))
    return Q


def equal_energy_subspace(
    moments: Matrix, m: int, energy: float, rng: np.random.Generator
) -> Matrix | None:
    """A random subspace along which signals have a given energy.

    A uniformly random subspace is tilted, by a power of the second moments, towards directions of
    great or of little energy until its own is the one asked for.

    Parameters
    ----------
    moments
        shape (r, r); see ``LayerBasis``.
    m
        dimension of the subspace, below r.
    energy
        of any m orthonormal directions.

    Returns
    -------
    shape (r, m), orthonormal, its energy within ``ENERGY_TOLERANCE``; None if none is found
    """
    eigenvalues, vectors = np.linalg.eigh(moments)
    if eigenvalues[-1] <= 0 or energy <= 0:
        return None
    logarithms = np.log(np.maximum(eigenvalues, _LEAST_EIGENVALUE * eigenvalues[-1]))

    for _ in range(_MOST_TRIES):
        start = vectors.T @ random_subspace(len(moments), m, rng)

        def tilted(exponent: float, start: Matrix = start) -> Matrix:
            powers = exponent * logarithms
            Q, _ = np.linalg.qr(np.exp(powers - powers.max())[:, None] * start)
            return Q

        def excess(exponent: float) -> float:
            return float((eigenvalues[:, None] * tilted(exponent) ** 2).sum()) / energy - 1

        bound = 0.5
        while bound < _MOST_TILT and excess(-bound) * excess(bound) > 0:
            bound *= 2
        if excess(-bound) * excess(bound) <= 0:
            exponent = brentq(excess, -bound, bound, rtol=1e-6)
            if abs(excess(exponent)) <= ENERGY_TOLERANCE:
                return vectors @ tilted(exponent)
    return None
