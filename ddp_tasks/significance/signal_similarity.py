"""How alike two layers are, from their signals on the same images, whatever their bases.

Two trainings give other channels and other singular vectors, so layers are compared by what does
not depend on a basis: linear CKA of their signals, and the angles between the spaces that their
signals span over the images. Where the output channels of both do correspond, as in checkpoints of
one training, the left singular vectors themselves are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped

Floats = npt.NDArray[np.float64]

#: Fewest images that the unbiased estimate is defined for.
FEWEST_IMAGES = 4

#: Share of the variance of signals that the directions kept for the angles explain.
VARIANCE_KEPT = 0.99
#: Images for each direction that is kept: with fewer, any two spaces of signals seem to agree.
_IMAGES_A_DIRECTION = 10


def linear_cka(
    a: Shaped[npt.NDArray[np.float64], "n p"], b: Shaped[npt.NDArray[np.float64], "n q"]
) -> float:
    """Linear centred kernel alignment of two layers' signals, with unbiased estimates of HSIC.

    Biased estimates come near 1 for layers with many more vectors than there are images; these
    are 0 on average for signals that are independent. No table of images by images is made.

    Parameters
    ----------
    a, b
        shapes (n, p) and (n, q); signals of the same n images.

    Returns
    -------
    at most 1, where one is the other turned or scaled; a little below 0 where they are independent;
    NaN where the signals of one do not vary

    Raises
    ------
    ValueError
        If there are fewer than four images.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, section 3.
    Nguyen et al. 2021, Do Wide and Deep Networks Learn the Same Things?, Eqs. 1 to 3.
    """
    if len(a) < FEWEST_IMAGES:
        raise ValueError(f"{len(a)} images; CKA needs {FEWEST_IMAGES}")
    centred = [x - x.mean(axis=0) for x in (a, b)]
    both, of_a, of_b = (
        unbiased_hsic(x, y)
        for x, y in ((centred[0], centred[1]), (centred[0],) * 2, (centred[1],) * 2)
    )
    return both / np.sqrt(of_a * of_b) if min(of_a, of_b) > 0 else float("nan")


def unbiased_hsic(
    a: Shaped[npt.NDArray[np.float64], "n p"], b: Shaped[npt.NDArray[np.float64], "n q"]
) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion, with linear kernels.

    Parameters
    ----------
    a, b
        shapes (n, p) and (n, q); the same n images. The value does not depend on their means.

    References
    ----------
    Song et al. 2012, Feature Selection via Dependence Maximization, Eq. 5: the kernels' diagonals
    are left out. Here K = A Aᵀ, so every sum over images by images is a sum over vectors.
    """
    n = len(a)
    own_a, own_b = (a**2).sum(axis=1), (b**2).sum(axis=1)
    trace = float(((a.T @ b) ** 2).sum() - own_a @ own_b)
    sum_a, sum_b = a @ a.sum(axis=0) - own_a, b @ b.sum(axis=0) - own_b
    product = float(sum_a.sum() * sum_b.sum()) / ((n - 1) * (n - 2))
    crossed = 2 * float(sum_a @ sum_b) / (n - 2)
    return (trace + product - crossed) / (n * (n - 3))


def principal_directions(
    signals: Shaped[npt.NDArray[np.float64], "n r"], kept: float = VARIANCE_KEPT
) -> Shaped[npt.NDArray[np.float64], "n k"]:
    """An orthonormal basis, over images, of the directions that carry a share of the variance.

    Parameters
    ----------
    kept
        share of the variance, above 0 and at most 1.

    Returns
    -------
    shape (n, k); at most one direction for ten images, none where nothing varies
    """
    centred = signals - signals.mean(axis=0)
    basis, values, _ = np.linalg.svd(centred, full_matrices=False)
    energy = values**2
    if not energy.sum() > 0:
        return basis[:, :0]
    needed = int(np.searchsorted(np.cumsum(energy), kept * energy.sum() * (1 - 1e-12))) + 1
    return basis[:, : min(needed, max(1, len(signals) // _IMAGES_A_DIRECTION))]


def subspace_cosines(
    a: Shaped[npt.NDArray[np.float64], "n k"], b: Shaped[npt.NDArray[np.float64], "n m"]
) -> Floats:
    """Cosines of the principal angles between two spaces, greatest first.

    Parameters
    ----------
    a, b
        shapes (n, k) and (n, m); orthonormal bases over the images (then these are the canonical
        correlations of SVCCA), or left singular vectors where the channels correspond.

    Returns
    -------
    shape (min(k, m),)

    References
    ----------
    Björck and Golub 1973, Numerical Methods for Computing Angles Between Linear Subspaces.
    Raghu et al. 2017, SVCCA, section 2.
    """
    if not min(a.shape[1], b.shape[1]):
        return np.empty(0)
    from scipy.linalg import subspace_angles

    return np.sort(np.cos(subspace_angles(a, b)))[::-1]


@dataclass(frozen=True)
class Correspondence:
    """Whether the output channels of two layers are the same ones, in the same order."""

    mean: float
    """mean correlation of channels with the same number; NaN where their numbers differ."""
    shuffled: float
    """the greatest of the same over random orders of the channels of one layer."""

    @property
    def corresponds(self) -> bool:
        """Whether channels of the same number agree better than in any random order."""
        return bool(self.mean > self.shuffled)


def channel_correspondence(
    a: Shaped[npt.NDArray[np.float64], "n d"],
    b: Shaped[npt.NDArray[np.float64], "n e"],
    seed: int = 0,
    orders: int = 99,
) -> Correspondence:
    """Whether channels of the same number agree, from the outputs of two layers.

    Parameters
    ----------
    a, b
        shapes (n, d) and (n, e); outputs of the same images, means over positions. Channels that
        never vary are left out.
    orders
        random orders that are tried, all but the own: of many channels, a test at level
        1 / (orders + 1).

    Notes
    -----
    Channels of two trainings from other seeds stand in no relation, but for the last layer's, which
    are the classes. Those of two checkpoints of one training are the same ones.
    """
    if a.shape[1] != b.shape[1]:
        return Correspondence(float("nan"), float("nan"))
    varying = (a.std(axis=0) > 0) & (b.std(axis=0) > 0)
    if varying.sum() < 2:
        return Correspondence(float("nan"), float("nan"))
    correlation = correlations(a[:, varying], b[:, varying])
    rng, own = np.random.default_rng(seed), np.arange(len(correlation))
    others = (order for _ in range(orders) if (order := rng.permutation(own)).tolist() != [*own])
    shuffled = max((float(correlation[own, order].mean()) for order in others), default=np.inf)
    return Correspondence(float(np.diag(correlation).mean()), shuffled)


def correlations(
    a: Shaped[npt.NDArray[np.float64], "n p"], b: Shaped[npt.NDArray[np.float64], "n q"]
) -> Shaped[npt.NDArray[np.float64], "p q"]:
    """Correlations of every signal of a with every signal of b; 0 where one is constant.

    Parameters
    ----------
    a, b
        shapes (n, p) and (n, q); the same n images.
    """
    return standardized(a).T @ standardized(b)


def standardized(
    signals: Shaped[npt.NDArray[np.float64], "n r"],
) -> Shaped[npt.NDArray[np.float64], "n r"]:
    """Signals less their means, each of length 1 over the images; 0 where constant."""
    centred = signals - signals.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    # Rounding leaves a constant signal a length of its own.
    constant = length <= 1e-7 * np.linalg.norm(signals, axis=0)
    return np.where(constant, 0, centred / np.where(constant, 1, length))
