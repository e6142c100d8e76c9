"""Thresholds and counts of one layer at any quantile level, also between those that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.quantiles import (
    NoValuesError,
    QuantileCounts,
    count_lower,
    count_upper,
    sorted_quantiles,
)
from ddp_tasks.significance.significance import direction_cuts

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: A layer's signals in parts of its singular vectors, from the first to the last: (image, vector),
#: the images in their order. Called afresh for every pass.
Columns = Callable[[], Iterable[npt.NDArray[np.float32]]]


class LevelCounts(NamedTuple):
    """What one quantile level makes of a layer."""

    threshold: Shaped[npt.NDArray[np.float64], " 2"]
    """q of each direction, in the units of the signals."""
    significant: Shaped[npt.NDArray[np.int64], "2 cell v"]
    """images of each cell for which each vector is significant, by direction."""


class LayerCounts:
    """Answers for any quantile level of one layer, over cells of its images.

    A cell holds the images of one class in one part of the split. Where the signals are kept, a
    level takes one comparison of each signal and direction; otherwise they are read again, and no
    more is held than one part of the vectors.

    References
    ----------
    Praggastis et al. 2022, section 5, first paragraph.
    """

    def __init__(
        self,
        columns: Columns,
        cell: Shaped[npt.NDArray[np.int64], " image"],
        *,
        cells: int,
        choosing: int,
        keep: bool,
    ) -> None:
        """Read the signals once.

        Parameters
        ----------
        columns
            signals of the layer within its rank; NaN for images that do not reach it.
        cell
            shape (image,); cell of each image, -1 for one that counts nowhere.
        cells
            number of cells.
        choosing
            the first so many cells choose the thresholds.
        keep
            hold all signals in memory, once as they are and those that choose once more in order.
        """
        order = np.argsort(cell, kind="stable")
        self._order = order[np.searchsorted(cell[order], 0) :]
        self._starts = np.searchsorted(cell[self._order], np.arange(cells + 1))
        self._chosen = slice(0, int(self._starts[choosing]))
        self._columns = columns
        self._kept: list[npt.NDArray[np.float32]] | None = None
        self._sorted: npt.NDArray[np.float32] | None = None
        self._upper: npt.NDArray[np.int64] | None = None
        if keep:
            self._kept = list(self._by_cell())
            values = np.concatenate([part[self._chosen].ravel() for part in self._kept])
            values.sort()  # NaN comes last
            self._sorted = values[: len(values) - int(np.isnan(values).sum())]

    def at(self, level: float) -> LevelCounts:
        """Threshold and counts at a quantile level.

        Parameters
        ----------
        level
            between 0 and 1.

        Raises
        ------
        NoValuesError
            If no image that chooses has signals.
        """
        threshold = np.array(self._thresholds(level))
        (above,), (below,) = direction_cuts(threshold[:, None])
        counted = [self._counted(part, above, below) for part in self._by_cell()]
        return LevelCounts(threshold, np.concatenate(counted, axis=-1))

    def _by_cell(self) -> Iterator[npt.NDArray[np.float32]]:
        """The signals of the images that count, cell after cell."""
        if self._kept is not None:
            yield from self._kept
        else:
            for part in self._columns():
                yield part[self._order]

    def _thresholds(self, level: float) -> tuple[float, float]:
        if self._sorted is not None:
            positive, negative = sorted_quantiles(self._sorted, [level])
            return float(positive[0]), float(negative[0])
        if self._upper is None:
            for part in self._by_cell():
                self._upper = count_upper(part[self._chosen], self._upper)
        if self._upper is None:
            raise NoValuesError("there are no values to take a quantile of")
        wanted = QuantileCounts([level], self._upper).wanted()
        for part in self._by_cell():
            wanted.add(count_lower(part[self._chosen], wanted.bins))
        positive, negative = wanted.quantiles()
        return float(positive[0]), float(negative[0])

    def _counted(
        self, signals: npt.NDArray[np.float32], above: np.float32, below: np.float32
    ) -> npt.NDArray[np.int64]:
        """Images by direction, cell and vector; NaN is on neither side."""
        counted = np.zeros((2, len(self._starts) - 1, signals.shape[1]), dtype=np.int64)
        for cell, (start, stop) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            # A cell's images fit in 32 bits, in which sums are several times as fast.
            rows = signals[start:stop]
            counted[0, cell] = (rows >= above).sum(axis=0, dtype=np.int32)
            counted[1, cell] = (rows < below).sum(axis=0, dtype=np.int32)
        return counted
