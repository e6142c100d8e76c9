"""Exact quantiles of any number of float32 values, counted in two passes over them.

The bits of a float32, read as an integer, grow with the value once the sign is folded in. So
the first pass counts the upper 16 bits of every value; they tell in which of 65,536 bins the
wanted order statistics lie, and at which rank inside the bin. The second pass counts the lower
16 bits of the values in those bins alone, and names the order statistics exactly. Counts of
parts add up to the counts of the whole, so the values never need to be held together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_HALF = 1 << 16

Counts = npt.NDArray[np.int64]


def order_preserving(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Integers in the order of the values, shape as given; negative zero counts as zero."""
    # Adding zero turns -0.0, which would sort below 0.0, into 0.0.
    bits = (values + np.float32(0)).view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def _values(integers: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    positive = integers >> 31 == 1
    return np.where(positive, integers & np.uint32((1 << 31) - 1), ~integers).view(np.float32)


def count_upper(values: npt.NDArray[np.float32]) -> Counts:
    """First pass: how many values have each upper half; shape (65536,)."""
    upper = order_preserving(values.ravel()) >> 16
    return np.bincount(upper, minlength=_HALF).astype(np.int64)


def count_lower(values: npt.NDArray[np.float32], bins: npt.NDArray[np.int64]) -> Counts:
    """Second pass: of the values in each wanted bin, how many have each lower half.

    Parameters
    ----------
    bins
        shape (b,), ascending; upper halves.

    Returns
    -------
    shape (b, 65536)
    """
    integers = order_preserving(values.ravel())
    row = np.searchsorted(bins, integers >> 16).clip(max=len(bins) - 1)
    wanted = bins[row] == integers >> 16
    flat = row[wanted] * _HALF + (integers[wanted] & np.uint32(_HALF - 1))
    return np.bincount(flat, minlength=len(bins) * _HALF).reshape(-1, _HALF).astype(np.int64)


@dataclass
class QuantileCounts:
    """The running counts of one quantile computation; feed every part to each pass once."""

    levels: Sequence[float]
    upper: Counts = field(default_factory=lambda: np.zeros(_HALF, dtype=np.int64))
    _lower: Counts | None = None

    def add_upper(self, values: npt.NDArray[np.float32]) -> None:
        """Count a part in the first pass."""
        self.upper += count_upper(values)

    def add_lower(self, values: npt.NDArray[np.float32]) -> None:
        """Count a part in the second pass, once all parts went through the first."""
        counted = count_lower(values, self.bins)
        self._lower = counted if self._lower is None else self._lower + counted

    @property
    def total(self) -> int:
        """Number of values of the first pass."""
        return int(self.upper.sum())

    @property
    def bins(self) -> npt.NDArray[np.int64]:
        """Upper halves that hold a wanted order statistic, ascending."""
        return np.unique(np.searchsorted(np.cumsum(self.upper), self._ranks(), side="right"))

    def quantiles(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Quantiles of the values, and of their negatives, at each level.

        Linear interpolation between order statistics, as ``numpy.quantile`` has it on float64
        copies of the values, to the bit.

        Returns
        -------
        two arrays of shape (levels,)

        Raises
        ------
        ValueError
            If there are no values.
        """
        if self.total == 0 or self._lower is None:
            raise ValueError("there are no values to take a quantile of")
        last = self.total - 1
        positive, negative = [], []
        for level in self.levels:
            k = _floor(last, level)
            low, high = self._statistic(k), self._statistic(min(k + 1, last))
            positive.append(_interpolate(low, high, last * level - k))
            # The k-th smallest of the negatives is the negative of the k-th greatest.
            low, high = -self._statistic(last - k), -self._statistic(max(last - k - 1, 0))
            negative.append(_interpolate(low, high, last * level - k))
        return np.array(positive), np.array(negative)

    def _ranks(self) -> npt.NDArray[np.int64]:
        last = self.total - 1
        below = np.array([_floor(last, level) for level in self.levels])
        above = np.minimum(below + 1, last)
        return np.concatenate([below, above, last - below, last - above])

    def _statistic(self, rank: int) -> float:
        assert self._lower is not None
        cumulative = np.cumsum(self.upper)
        upper = int(np.searchsorted(cumulative, rank, side="right"))
        within = rank - int(cumulative[upper] - self.upper[upper])
        row = int(np.searchsorted(self.bins, upper))
        lower = int(np.searchsorted(np.cumsum(self._lower[row]), within, side="right"))
        return float(_values(np.array([upper << 16 | lower], dtype=np.uint32))[0])


def _floor(last: int, level: float) -> int:
    return int(np.floor(last * level))


def _interpolate(low: float, high: float, weight: float) -> float:
    # numpy interpolates from the nearer end, which keeps the result between the two.
    if weight >= 0.5:
        return high - (high - low) * (1 - weight)
    return low + (high - low) * weight
