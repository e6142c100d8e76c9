"""Power laws fitted to the eigenvalues of a Gram matrix (section 4.1).

The exponent is fitted by maximum likelihood for continuous values (Clauset, Shalizi, Newman 2009,
Eq. 3.1) at every xmin, and the xmin with the least Kolmogorov–Smirnov distance D is taken. The
rules are those of the ``powerlaw`` package 2.0, so that the numbers are comparable. Candidates for
xmin are the distinct values except the two greatest. D compares the distributions at the distinct
values of the tail, with P(X < x) for the data. Of equal D the least xmin wins. Unlike there, α has
no upper limit: by default the package refuses every α above 3.

Computing D at all xmin takes as many steps as there are pairs of values. Instead D is bounded
from below at some points of each tail, on ever finer grids, and computed in full only where the
bound does not exceed the least D so far. The result is the same as with every D in full, since a
bound never exceeds its D.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import hypot, inf, isnan, nan, sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: Distinct positive values that a fit needs: without the two greatest, two candidates for xmin
#: remain, and with one D has no choice. Few values fit badly; sigma says how badly.
MINIMUM_DISTINCT = 4

#: Most candidates for xmin that ``fit_power_law`` tries by default.
CANDIDATES = 1 << 16

#: A tail of fewer independent values than this says little about an exponent. The standard error,
#: which holds for long tails, says even less. Such a fit is flagged wherever it is shown.
FEW = 20

#: Another tail fits about as well if its D is at most ``RIVAL_DISTANCE`` times the least. It counts
#: as another if it is at least ``RIVAL_LENGTH`` times longer or shorter.
RIVAL_DISTANCE = 1.5
RIVAL_LENGTH = 4

_SHORT = 256  # values; computing D of a shorter tail is faster than bounding it
_FIRST_GRID = 32
_GRID_GROWTH = 8
_ELEMENTS_AT_ONCE = 1 << 18  # of float64: the temporary arrays stay in the processor's cache


class Refusal(StrEnum):
    """Why values have no power law fitted to them."""

    NONE = ""
    NOT_FINITE = "NaN or infinity among the values"
    NO_POSITIVE = "no positive values"
    ALL_EQUAL = "all positive values are equal"
    TOO_FEW = f"fewer than {MINIMUM_DISTINCT} distinct positive values"


@dataclass(frozen=True)
class PowerLaw:
    """The density p(λ) ∝ λ^(-α) for λ ≥ xmin, or why there is none; then all figures are NaN."""

    alpha: float
    """Exponent, above 1, with no upper limit."""
    xmin: float
    """Least value of the tail, in the units of the values; always one of them."""
    D: float
    """Kolmogorov–Smirnov distance between the tail and the fit, from 0 to 1."""
    sigma: float
    """Standard error of alpha, (alpha - 1) / sqrt(independent)."""
    tail: int
    """Number of values not below xmin; 0 if refused."""
    independent: int
    """How many of them count for sigma: all, or only the distinct where copies are known."""
    rival_alpha: float
    """Exponent of the best other tail, if one of another length fits about as well; else
    NaN (``RIVAL_DISTANCE``, ``RIVAL_LENGTH``)."""
    rival_tail: int
    """Number of values of that tail; 0 where there is none."""
    values: int
    """Number of positive values."""
    dropped: int
    """Number of values left out because they are zero or negative."""
    refusal: Refusal = Refusal.NONE

    @property
    def fitted(self) -> bool:
        """Whether there is a fit."""
        return self.refusal is Refusal.NONE

    @property
    def unstable(self) -> bool:
        """Whether another tail fits about as well and its exponent differs much.

        That is by over twice the standard error of both, as if the tails had no value in common.
        """
        if isnan(self.rival_alpha):
            return False
        rival_independent = self.rival_tail * self.independent / self.tail
        both = hypot(self.sigma, (self.rival_alpha - 1) / sqrt(rival_independent))
        return abs(self.rival_alpha - self.alpha) > 2 * both


def fit_power_law(
    values: npt.ArrayLike, candidates: int | None = CANDIDATES, *, copies: bool = False
) -> PowerLaw:
    """Exponent α and xmin of the power law that the greatest values follow.

    Parameters
    ----------
    values
        shape (n,), in any order; eigenvalues λ = s² of a Gram matrix.
    candidates
        most xmin to try, at even ratios of the tail's length, so that all short tails are tried;
        None tries every one, as ``powerlaw`` does.
    copies
        whether equal values are copies of one another, as those of W̄₂ at ω and -ω are.
        Copies do not change the fit, but count once for its standard error.

    Returns
    -------
    a fit, or a named refusal; never an error that would stop other layers

    References
    ----------
    Praggastis et al. 2022, section 4.1; Clauset, Shalizi, Newman 2009, Eqs. 3.1 and 3.9.
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(given).all():
        return _refused(Refusal.NOT_FINITE, given)
    positive = given[given > 0]
    tails = _Tails.of(np.sort(positive))
    if len(tails.x) < MINIMUM_DISTINCT:
        few = {0: Refusal.NO_POSITIVE, 1: Refusal.ALL_EQUAL}
        return _refused(few.get(len(tails.x), Refusal.TOO_FEW), given)
    chosen = _candidates(len(tails.x) - 2, candidates)
    best, D = _least_distance(tails, chosen)
    length = len(positive) - tails.below[chosen]
    tail = len(positive) - int(tails.below[best])
    other = (length * RIVAL_LENGTH <= tail) | (length >= RIVAL_LENGTH * tail)
    rival, _ = _least_distance(tails, chosen[other], RIVAL_DISTANCE * D)
    alpha = 1 + float(tails.exponent[best])
    independent = len(tails.x) - best if copies else tail
    return PowerLaw(
        alpha=alpha,
        xmin=float(tails.x[best]),
        D=D,
        sigma=(alpha - 1) / sqrt(independent),
        tail=tail,
        independent=independent,
        rival_alpha=nan if rival < 0 else 1 + float(tails.exponent[rival]),
        rival_tail=0 if rival < 0 else len(positive) - int(tails.below[rival]),
        values=len(positive),
        dropped=len(given) - len(positive),
    )


@dataclass(frozen=True)
class _Tails:
    """The tails above every distinct value except the greatest, which has none."""

    x: Floats
    """shape (u,), ascending; the distinct values."""
    log_x: Floats
    """shape (u,); logarithms of the distinct values divided by the greatest."""
    below: Indices
    """shape (u,); number of values below each."""
    n: int
    exponent: Floats
    """shape (u - 1,); α - 1 = n_tail / Σ ln(λ / xmin) with each as xmin."""

    @staticmethod
    def of(ordered: Floats) -> _Tails:
        first = np.ones(len(ordered), dtype=np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        below = np.flatnonzero(first)
        x = ordered[below]
        if len(x) < 2:
            return _Tails(x, np.zeros_like(x), below, len(ordered), np.empty(0))
        log_x = np.log(x) - np.log(x[-1])
        size = len(ordered) - below
        copies = size.copy()
        copies[:-1] -= size[1:]
        # Summed from the greatest down, where the terms are smallest.
        sums = np.cumsum((copies * log_x)[::-1])[::-1]
        exponent = size[:-1] / (sums[:-1] - size[:-1] * log_x[:-1])
        return _Tails(x, log_x, below, len(ordered), exponent)

    def distances(self, chosen: Indices) -> Floats:
        """D with each of the chosen distinct values as xmin; chosen is ascending."""
        D = np.empty(len(chosen))
        step = max(1, _ELEMENTS_AT_ONCE // max(len(self.x) - int(chosen[0]), 1))
        for start in range(0, len(chosen), step):
            k = chosen[start : start + step, None]
            at = np.arange(k[0, 0], len(self.x))
            # Left of xmin, where k > at, both distributions are 0.
            logs = np.maximum(self.log_x[at] - self.log_x[k], 0)
            counts = np.maximum(self.below[at] - self.below[k], 0)
            fitted = -np.expm1(-self.exponent[k] * logs)
            apart = np.abs(fitted - counts / (self.n - self.below[k]))
            D[start : start + step] = apart.max(axis=1)
        return D

    def lower_bounds(self, chosen: Indices, points: int) -> Floats:
        """D over this many points of each tail, even in rank and including its ends."""
        bounds = np.empty(len(chosen))
        grid = np.linspace(0, 1, points)
        step = max(1, _ELEMENTS_AT_ONCE // points)
        for start in range(0, len(chosen), step):
            k = chosen[start : start + step, None]
            at = k + (grid * (len(self.x) - 1 - k)).astype(np.int64)
            fitted = -np.expm1(-self.exponent[k] * (self.log_x[at] - self.log_x[k]))
            actual = (self.below[at] - self.below[k]) / (self.n - self.below[k])
            bounds[start : start + step] = np.abs(fitted - actual).max(axis=1)
        return bounds


def _candidates(usable: int, wanted: int | None) -> Indices:
    if wanted is None or wanted >= usable:
        return np.arange(usable)
    # Even steps in the logarithm of the tail's length: even steps in rank would try almost no
    # tails of a few thousand among millions.
    lengths = np.geomspace(1, usable, max(wanted, 1)).round().astype(np.int64)
    return np.unique(usable - lengths)


def _least_distance(tails: _Tails, chosen: Indices, below: float = inf) -> tuple[int, float]:
    """The candidate with the least D, the first of equals, and its D; -1 if no D is less."""
    best, least = -1, below
    points = _FIRST_GRID
    while len(chosen):
        whole = len(tails.x) - chosen <= max(points, _SHORT)
        longer, shorter = chosen[~whole], chosen[whole]
        bounds = tails.lower_bounds(longer, points) if len(longer) else np.empty(0)
        # D is computed in full for short tails, and for the most promising of the longer ones.
        for known in (shorter, longer[bounds.argmin() :][:1] if len(bounds) else longer):
            if len(known):
                D = tails.distances(known)
                first = int(D.argmin())
                if (D[first], known[first]) < (least, best):
                    best, least = int(known[first]), float(D[first])
        chosen = longer[(bounds <= least) & (longer != best)]
        points *= _GRID_GROWTH
    return best, least


def _refused(refusal: Refusal, given: Floats) -> PowerLaw:
    positive = int((given > 0).sum())
    dropped = int((given <= 0).sum())
    return PowerLaw(
        alpha=nan,
        xmin=nan,
        D=nan,
        sigma=nan,
        tail=0,
        independent=0,
        rival_alpha=nan,
        rival_tail=0,
        values=positive,
        dropped=dropped,
        refusal=refusal,
    )
