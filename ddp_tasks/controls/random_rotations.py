"""Random rotations of a layer's singular vectors: any, and those that keep each signal's variance.

A rotation R of rank r turns signals S (n, r) into S R, the signals along the columns of U R: the
same outputs of the layer, in another orthonormal basis of the same space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float64

#: Below this rank there is no other basis, or none that keeps variances (two at most).
LEAST_RANK, LEAST_RANK_OF_VARIANCES = 2, 3

#: Turns of every column in another plane; after as many, draws are as far from the start as from
#: each other.
_TURNS = 60

#: Added to the covariance, which is divided by after the walk, relative to its mean variance.
_RIDGE = 1e-4

#: Differences of variances, and covariances, that count as none, relative to the mean variance.
_NONE = 1e-12

#: Columns of a rotation stay where they are if they turn by less than this.
_UNMOVED = 1e-6

#: Bytes of the matrices that walk at once, few enough for the processor's cache.
_BYTES = 1 << 20


def haar_rotations(
    rank: int, draws: int, random: np.random.Generator
) -> Float64[npt.NDArray[np.float64], "draw r r"]:
    """Orthogonal matrices that are drawn uniformly, by Haar's measure.

    Parameters
    ----------
    rank
        r.
    random
        the source of the draws; more draws begin with the same matrices.

    Returns
    -------
    shape (draw, r, r)

    References
    ----------
    Stewart 1980, The efficient generation of random orthogonal matrices with an application to
    condition estimators, SIAM Journal on Numerical Analysis 17; Mezzadri 2007, How to generate
    random matrices from the classical compact groups, Notices of the AMS 54.
    """
    rotations = np.empty((draws, rank, rank))
    for rotation in rotations:
        Q, R = np.linalg.qr(random.standard_normal((rank, rank)))
        # Only with R's diagonal positive is Q uniform; QR leaves its signs to the algorithm.
        rotation[:] = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return rotations


def variance_keeping_rotations(
    covariance: Float64[npt.NDArray[np.float64], "r r"],
    draws: int,
    random: np.random.Generator,
) -> Float64[npt.NDArray[np.float64], "draw r r"]:
    """Random orthogonal Q with diag(Qᵀ C Q) = diag(C): every signal keeps its variance.

    In the plane of two columns there is one turn, beside none, that leaves both variances as they
    are: by the angle t with tan t = 2 c / (a - b), where a and b are the variances and c is the
    covariance. A walk of such turns, in planes drawn at random, starts at the identity. Long
    enough, it forgets where it started: the tests hold draws to be as far from it as from each
    other. What it can reach depends on C: vectors of great variance have little choice.

    Parameters
    ----------
    covariance
        C, shape (r, r); of the signals.
    random
        the source of the draws.

    Returns
    -------
    shape (draw, r, r); NaN where every other rotation changes a variance: for a rank below
    ``LEAST_RANK_OF_VARIANCES``, and for C diagonal with different variances. NaN too for a draw
    that ends where it started, as the turns of some C do at a rank of 3, and rarely of 4

    References
    ----------
    Plane rotations that set variances: Bendel and Mickey 1978, Population correlation matrices
    for sampling experiments, Communications in Statistics 7; Davies and Higham 2000, Numerically
    stable generation of correlation matrices and their factors, BIT 40.
    """
    rank = len(covariance)
    rotations = np.full((draws, rank, rank), np.nan)
    mean = float(np.trace(covariance)) / max(rank, 1)
    if rank < LEAST_RANK_OF_VARIANCES or not mean > 0:
        return rotations
    # A multiple of the identity changes no angle, and makes the factor safe to divide by.
    values, vectors = np.linalg.eigh(covariance + _RIDGE * mean * np.eye(rank))
    root = np.sqrt(values)
    factor = vectors * root
    together = max(1, _BYTES // factor.nbytes)
    for first in range(0, draws, together):
        some = rotations[first : first + together]
        walked, order = _walk(factor, len(some), _NONE * mean, random)
        turned = np.swapaxes(walked / root, 1, 2)
        some[np.arange(len(some))[:, None], :, order] = np.swapaxes(vectors @ turned, 1, 2)
    unmoved = np.abs(np.abs(rotations).max(axis=1) - 1).max(axis=1) < _UNMOVED
    rotations[unmoved] = np.nan
    return rotations


def _walk(
    factor: Float64[npt.NDArray[np.float64], "r r"],
    draws: int,
    none: float,
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Turn pairs of rows of F, with F Fᵀ = C, so that their lengths stay.

    Returns
    -------
    the rows, shape (draw, r, r), and which row each of them was, shape (draw, r)
    """
    rank, half = len(factor), len(factor) // 2
    every = np.arange(draws)[:, None]
    rows = np.tile(factor, (draws, 1, 1))
    order = np.tile(np.arange(rank), (draws, 1))
    variance = np.tile((factor**2).sum(axis=1), (draws, 1))
    for _ in range(_TURNS):
        place = random.permuted(np.tile(np.arange(rank), (draws, 1)), axis=1)
        rows, order, variance = (of[every, place] for of in (rows, order, variance))
        one, other = rows[:, :half], rows[:, half : 2 * half]
        covariance = np.einsum("dir,dir->di", one, other)
        apart = variance[:, :half] - variance[:, half : 2 * half]
        angle = np.arctan2(2 * covariance, apart)
        free = (np.abs(covariance) < none) & (np.abs(apart) < none)
        if free.any():  # equal and uncorrelated: any turn will do
            angle[free] = random.uniform(0, 2 * np.pi, int(free.sum()))
        cosine, sine = np.cos(angle)[:, :, None], np.sin(angle)[:, :, None]
        turned = cosine * one + sine * other
        other *= cosine
        other -= sine * one
        one[:] = turned
    return rows, order
