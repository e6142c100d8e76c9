"""Singular vectors of two layers matched by their signals on the same images.

A singular vector of one training has no number in another. It is matched with the vector whose
signals vary as its own do, its sign free; singular values that lie close together do not determine
their vectors, only the space that these span, so such vectors are matched as one subspace. A match
counts where it is better than any that the same images in another order give.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.signal_similarity import standardized

if TYPE_CHECKING:
    from jaxtyping import Shaped

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Singular values closer than this times s_0 leave their vectors to the seed: two trainings, or
#: two samples of the training images, move singular values by as much.
CLOSE = 0.02

#: Share of the greatest agreements that permuted images give, above which a match counts.
_LEVEL = 0.95


def close_groups(
    singular_values: Shaped[npt.NDArray[np.float64], " r"], close: float = CLOSE
) -> Shaped[npt.NDArray[np.int64], " r"]:
    """The subspace that each singular vector belongs to, numbered from 0 in order.

    A subspace begins with the greatest singular value that is in none, and takes those below it
    that differ by less than ``close`` times the greatest of all. Chains of neighbours, each close
    to the next, would make one subspace of most layers.

    Parameters
    ----------
    singular_values
        shape (r,); descending.
    close
        with 0 every vector is its own subspace.
    """
    number = np.zeros(len(singular_values), dtype=np.int64)
    first = 0
    for i in range(1, len(singular_values)):
        if singular_values[first] - singular_values[i] >= close * singular_values[0]:
            first = i
            number[i:] += 1
    return number


def every_vector(singular_values: Shaped[npt.NDArray[np.float64], " r"]) -> Integers:
    """Subspaces of one vector each, as ``close_groups`` numbers them."""
    return np.arange(len(singular_values), dtype=np.int64)


@dataclass(frozen=True)
class Matching:
    """Vectors, or subspaces, of layer a matched one to one with those of layer b."""

    a: Integers
    """shape (pair,); numbers of the subspaces of a, ascending."""
    b: Integers
    """shape (pair,); those of b."""
    agreement: Floats
    """shape (pair,); see ``agreements``: for single vectors the absolute correlation."""
    sign: Integers
    """shape (pair,); 1 or -1 for single vectors, 0 for subspaces."""
    permuted: Floats
    """shape (permutation, pair); agreements of the best matching after the images of b were
    permuted, descending."""
    within_classes: Floats
    """the same where images were permuted within their classes: what common classes give alone."""
    turned: Floats
    """the same where the basis of b was turned at random: what any other basis gives."""

    @property
    def threshold(self) -> float:
        """The 95th percentile of the greatest agreement that permuted images give."""
        if not self.permuted.size:
            return float("inf")
        return float(np.quantile(self.permuted.max(axis=1), _LEVEL))

    @property
    def matched(self) -> npt.NDArray[np.bool_]:
        """Shape (pair,); whether the agreement is greater than chance gives."""
        return np.asarray(self.agreement > self.threshold)

    @property
    def beyond_classes(self) -> npt.NDArray[np.bool_]:
        """Whether it is greater than what common classes alone give as well."""
        if not self.within_classes.size:
            return self.matched
        greatest = float(np.quantile(self.within_classes.max(axis=1), _LEVEL))
        return self.matched & (self.agreement > greatest)


def agreements(
    a: Shaped[npt.NDArray[np.float64], "n r"],
    groups_a: Shaped[npt.NDArray[np.int64], " r"],
    b: Shaped[npt.NDArray[np.float64], "n s"],
    groups_b: Shaped[npt.NDArray[np.int64], " s"],
) -> tuple[Floats, Floats]:
    """How well the signals of every subspace of a go with those of every subspace of b.

    Parameters
    ----------
    a, b
        shapes (n, r) and (n, s); signals of the same images.
    groups_a, groups_b
        as ``close_groups`` returns them.

    Returns
    -------
    agreement
        shape (groups of a, groups of b); the root mean square of the canonical correlations, from
        0 to 1. Of two single vectors it is the absolute value of their correlation.
    correlation
        the same shape; the correlation of two single vectors, with its sign, and 0 otherwise.
    """
    bases = [_bases(a, groups_a), _bases(b, groups_b)]
    product = bases[0].T @ bases[1]
    summed = _summed(_summed(product**2, groups_a, 0), groups_b, 1)
    sizes = [np.bincount(groups) for groups in (groups_a, groups_b)]
    agreement = np.sqrt(summed / np.minimum.outer(*sizes))
    alone = np.logical_and.outer(sizes[0] == 1, sizes[1] == 1)
    correlation = np.where(alone, _summed(_summed(product, groups_a, 0), groups_b, 1), 0.0)
    # Sums of squares of orthonormal bases exceed 1 by rounding alone.
    return np.minimum(agreement, 1), correlation


def match(
    a: Shaped[npt.NDArray[np.float64], "n r"],
    groups_a: Shaped[npt.NDArray[np.int64], " r"],
    b: Shaped[npt.NDArray[np.float64], "n s"],
    groups_b: Shaped[npt.NDArray[np.int64], " s"],
    target: Shaped[npt.NDArray[np.int64], " n"],
    *,
    bases: Shaped[npt.NDArray[np.float64], "draw s s"],
    seed: int = 0,
) -> Matching:
    """Match subspaces one to one so that the sum of their squared agreements is greatest.

    Parameters
    ----------
    a, b, groups_a, groups_b
        as in ``agreements``.
    target
        shape (n,); class of each image, for permutations within classes.
    bases
        shape (draw, s, s); random rotations of b's vectors. As many orders of its images are drawn,
        of either kind.

    References
    ----------
    Kuhn 1955, The Hungarian method for the assignment problem.
    Li et al. 2016, Convergent Learning: Do different neural networks learn the same
    representations?, section 3.
    """
    agreement, correlation = agreements(a, groups_a, b, groups_b)
    rows, columns = _assigned(agreement)
    rng = np.random.default_rng([seed, 7])
    by_class = [np.flatnonzero(target == c) for c in np.unique(target)]
    chance = np.zeros((3, len(bases), len(rows)))
    for draw, basis in enumerate(bases):
        within = np.empty(len(target), dtype=np.int64)
        for images in by_class:
            within[images] = rng.permutation(images)
        others = (b[rng.permutation(len(target))], b[within], b @ basis)
        for kind, other in enumerate(others):
            found, _ = agreements(a, groups_a, other, groups_b)
            chance[kind, draw] = -np.sort(-found[_assigned(found)])
    return Matching(
        a=rows,
        b=columns,
        agreement=agreement[rows, columns],
        sign=np.sign(correlation[rows, columns]).astype(np.int64),
        permuted=chance[0],
        within_classes=chance[1],
        turned=chance[2],
    )


def _assigned(agreement: Floats) -> tuple[Integers, Integers]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(agreement**2, maximize=True)
    return rows.astype(np.int64), columns.astype(np.int64)


def _bases(signals: Floats, groups: Integers) -> Floats:
    """Standardised signals, those of a subspace of several vectors made orthonormal."""
    basis = standardized(signals)
    starts = np.searchsorted(groups, np.arange(groups.max(initial=-1) + 2))
    for start, stop in pairwise(starts.tolist()):
        if stop - start > 1:
            # Directions along which nothing varies have no place in a basis.
            left, values, _ = np.linalg.svd(basis[:, start:stop], full_matrices=False)
            kept = left * (values > 1e-7)
            basis[:, start:stop] = 0
            basis[:, start : start + kept.shape[1]] = kept
    return basis


def _summed(values: Floats, groups: Integers, axis: int) -> Floats:
    """Sums over the vectors of each subspace, along one axis."""
    starts = np.searchsorted(groups, np.arange(groups.max(initial=-1) + 1))
    return np.add.reduceat(values, starts, axis=axis) if len(starts) else values
