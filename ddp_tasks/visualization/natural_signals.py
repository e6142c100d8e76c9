"""How strong signals are in natural images: what an optimised image is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.visualization.exemplars import RunningExemplars, StrongestImages

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped

#: Calls for one layer's signals, block by block: shape (n, singular vectors); NaN for images that
#: could not be read or do not reach the layer.
Blocks = Callable[[], Iterable[npt.NDArray[np.float32]]]


@dataclass(frozen=True)
class NaturalSignals:
    """A layer's signals over all images of a run, for each singular vector."""

    mean: Float64[npt.NDArray[np.float64], " r"]
    deviation: Float64[npt.NDArray[np.float64], " r"]
    """standard deviation."""
    greatest: Float64[npt.NDArray[np.float64], " r"]
    least: Float64[npt.NDArray[np.float64], " r"]


@dataclass(frozen=True)
class NaturalSums:
    """Weighted sums of signals over all images of a run, for each target."""

    mean: Float64[npt.NDArray[np.float64], " targets"]
    strongest: StrongestImages
    """shape (target, place): images with the greatest sums, or the least of negative targets."""

    @property
    def best(self) -> Shaped[npt.NDArray[np.float32], " targets"]:
        """The sum of the strongest image; of the least in a negative target."""
        best: npt.NDArray[np.float32] = self.strongest.signal[:, 0]
        return best


def natural_signals(blocks: Blocks) -> NaturalSignals:
    """Mean, standard deviation and extremes of a layer's signals, in one pass.

    The mean and the squares are taken around the first image, so that no digits cancel.

    Raises
    ------
    ValueError
        If no image reaches the layer.
    """
    count, total, squares = 0, np.zeros(0), np.zeros(0)
    origin = greatest = least = np.zeros(0)
    for block in blocks():
        signals = block[~np.isnan(block[:, 0])].astype(np.float64)
        if not len(signals):
            continue
        if not count:
            origin, total = signals[0], np.zeros(signals.shape[1])
            squares, greatest, least = total.copy(), signals[0], signals[0]
        off = signals - origin
        count += len(signals)
        total = total + off.sum(axis=0)
        squares = squares + np.square(off).sum(axis=0)
        greatest = np.maximum(greatest, signals.max(axis=0))
        least = np.minimum(least, signals.min(axis=0))
    if not count:
        raise ValueError("no image reaches the layer")
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    return NaturalSignals(origin + mean, np.sqrt(variance), greatest, least)


def natural_sums(
    blocks: Blocks,
    weights: npt.NDArray[np.float64],
    negative: npt.NDArray[np.bool_],
    places: int,
) -> NaturalSums:
    """Mean of weighted sums of signals, and the images in which they are strongest.

    Eq. 20 restricted to the images of the run.

    Parameters
    ----------
    weights
        shape (target, r).
    negative
        shape (target,); for these targets the images with the least sums are the strongest.
    places
        images to keep for each target.
    """
    total, count, start = np.zeros(len(weights)), 0, 0
    running = RunningExemplars(len(weights), places, target_classes=1)
    for block in blocks():
        sums = block.astype(np.float64) @ weights.T
        reached = ~np.isnan(block[:, 0])
        total = total + sums[reached].sum(axis=0)
        count += int(reached.sum())
        running.add(sums.astype(np.float32), np.zeros(len(block), dtype=np.int64), start)
        start += len(block)
    if not count:
        raise ValueError("no image reaches the layer")
    of_both = running.found().overall
    own = negative.astype(np.int64), np.arange(len(weights))
    return NaturalSums(total / count, StrongestImages(of_both.image[own], of_both.signal[own]))
