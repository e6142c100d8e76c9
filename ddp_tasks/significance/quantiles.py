"""Exact quantiles of any number of float32 values, counted in two passes over them.

The bits of a float32, read as an integer, grow with the value once the sign is folded in. So
the first pass counts the upper 16 bits of every value; they tell in which of 65,536 bins the
wanted order statistics lie, and at which rank inside the bin. The second pass counts the lower
16 bits of the values in those bins alone, and finds the order statistics exactly. Counts of
parts add up to the counts of the whole, so the values are never needed all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_HALF = 1 << 16

#: Values counted at a time, few enough that temporary arrays stay in the processor's cache.
_BLOCK = 1 << 17

Counts = npt.NDArray[np.int64]


def order_preserving(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Integers with the order and the shape of the values; negative zero counts as zero."""
    # Adding zero turns -0.0, which would sort below 0.0, into 0.0.
    bits = (values + np.float32(0)).view(np.int32)
    # A negative number has all its bits flipped, any other only its sign.
    flipped = bits >> 31 | np.int32(-(1 << 31))
    flipped ^= bits
    return flipped.view(np.uint32)


def values_of(integers: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """The values of order-preserving integers."""
    positive = integers >> 31 == 1
    return np.where(positive, integers & np.uint32((1 << 31) - 1), ~integers).view(np.float32)


#: Upper halves that belong to numbers, including infinities. Those of NaN lie at both ends.
_NUMBERS = slice(
    int(order_preserving(np.array([-np.inf], dtype=np.float32))[0] >> 16),
    int(order_preserving(np.array([np.inf], dtype=np.float32))[0] >> 16) + 1,
)


def count_upper(values: npt.NDArray[np.float32], counted: Counts | None = None) -> Counts:
    """First pass: how many values have each upper half; NaN is not counted.

    Parameters
    ----------
    counted
        counts of other values, to which these are added in place.

    Returns
    -------
    shape (65536,)
    """
    counted = np.zeros(_HALF, dtype=np.int64) if counted is None else counted
    for block in _blocks(values):
        upper = (order_preserving(block) >> 16).astype(np.intp)
        np.add.at(counted, upper, 1)
    counted[: _NUMBERS.start] = counted[_NUMBERS.stop :] = 0
    return counted


def count_lower(
    values: npt.NDArray[np.float32],
    bins: npt.NDArray[np.int64],
    counted: Counts | None = None,
) -> Counts:
    """Second pass: of the values in each wanted bin, how many have each lower half.

    Parameters
    ----------
    bins
        shape (b,), ascending; upper halves.
    counted
        counts of other values, to which these are added in place.

    Returns
    -------
    shape (b, 65536)
    """
    counted = np.zeros((len(bins), _HALF), dtype=np.int64) if counted is None else counted
    wanted = np.zeros(_HALF, dtype=np.bool_)
    wanted[bins] = True
    row = np.zeros(_HALF, dtype=np.intp)
    row[bins] = np.arange(len(bins))
    for block in _blocks(values):
        integers = order_preserving(block)
        integers = integers[wanted.take((integers >> 16).astype(np.intp))]
        lower = (integers & np.uint32(_HALF - 1)).astype(np.intp)
        np.add.at(counted.reshape(-1), row[integers >> 16] * _HALF + lower, 1)
    return counted


def _blocks(values: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    flat = values.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        yield flat[start : start + _BLOCK]


class NoValuesError(ValueError):
    """There are no values to take a quantile of."""


@dataclass
class QuantileCounts:
    """The first pass of one quantile computation; counts of parts are added in any order."""

    levels: Sequence[float]
    upper: Counts = field(default_factory=lambda: np.zeros(_HALF, dtype=np.int64))

    def add(self, counted: Counts) -> None:
        """Add the counts of a part, as ``count_upper`` gives them."""
        self.upper += counted

    def wanted(self) -> WantedCounts:
        """The second pass, once all parts are in the first; the counts are no longer needed.

        Raises
        ------
        NoValuesError
            If there are no values.
        """
        up_to = np.cumsum(self.upper)
        total = int(up_to[-1])
        if total == 0:
            raise NoValuesError("there are no values to take a quantile of")
        bins = np.unique(np.searchsorted(up_to, _ranks(total - 1, self.levels), side="right"))
        return WantedCounts(self.levels, total, bins, up_to[bins] - self.upper[bins])


@dataclass
class WantedCounts:
    """The second pass: counts of lower halves within the bins that hold a wanted statistic."""

    levels: Sequence[float]
    total: int
    """number of values."""
    bins: npt.NDArray[np.int64]
    """upper halves that hold a wanted order statistic, ascending."""
    before: Counts
    """values below each bin."""
    lower: Counts | None = None
    """one row for each bin; None before the first part."""

    def add(self, counted: Counts) -> None:
        """Add the counts of a part, as ``count_lower`` gives them; the first is not copied."""
        if self.lower is None:
            self.lower = counted
        else:
            self.lower += counted

    def quantiles(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Quantiles of the values, and of their negatives, at each level.

        Linear interpolation between order statistics, equal to the bit to ``numpy.quantile`` on
        float64 copies of the values.

        Returns
        -------
        two arrays of shape (levels,)

        Raises
        ------
        ValueError
            If the second pass has not begun.
        """
        if self.lower is None:
            raise ValueError("the second pass has not begun")
        last, lower_halves = self.total - 1, self.lower

        def statistic(rank: int) -> float:
            # Every wanted rank lies in one of the bins: the last that begins at or before it.
            row = int(np.searchsorted(self.before, rank, side="right")) - 1
            within = rank - int(self.before[row])
            below = np.cumsum(lower_halves[row])  # for all bins at once it takes 22 MB more
            lower = int(np.searchsorted(below, within, side="right"))
            upper = int(self.bins[row])
            return float(values_of(np.array([upper << 16 | lower], dtype=np.uint32))[0])

        return _both_directions(last, self.levels, statistic)


def sorted_quantiles(
    values: npt.NDArray[np.float32], levels: Sequence[float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Quantiles of values in ascending order, and of their negatives, at each level.

    Equal to the bit to those of ``WantedCounts.quantiles``.

    Parameters
    ----------
    values
        shape (n,), ascending, without NaN.

    Returns
    -------
    two arrays of shape (levels,)

    Raises
    ------
    NoValuesError
        If there are no values.
    """
    if not len(values):
        raise NoValuesError("there are no values to take a quantile of")
    # Adding zero makes zeros positive, as counting does.
    return _both_directions(len(values) - 1, levels, lambda rank: float(values[rank]) + 0.0)


def _both_directions(
    last: int, levels: Sequence[float], statistic: Callable[[int], float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Quantiles from order statistics, by their rank from 0 to ``last``."""
    positive, negative = [], []
    for level in levels:
        k = _floor(last, level)
        low, high = statistic(k), statistic(min(k + 1, last))
        positive.append(_interpolate(low, high, last * level - k))
        # The k-th smallest of the negatives is the negative of the k-th greatest.
        low, high = -statistic(last - k), -statistic(max(last - k - 1, 0))
        negative.append(_interpolate(low, high, last * level - k))
    return np.array(positive), np.array(negative)


def _ranks(last: int, levels: Sequence[float]) -> npt.NDArray[np.int64]:
    below = np.array([_floor(last, level) for level in levels])
    above = np.minimum(below + 1, last)
    return np.concatenate([below, above, last - below, last - above])


def _floor(last: int, level: float) -> int:
    return int(np.floor(last * level))


def _interpolate(low: float, high: float, weight: float) -> float:
    # numpy interpolates from the nearer end, which keeps the result between the two.
    if weight >= 0.5:
        return high - (high - low) * (1 - weight)
    return low + (high - low) * weight
