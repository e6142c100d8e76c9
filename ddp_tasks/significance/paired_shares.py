"""The difference of two shares of the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.confidence_intervals import wilson_interval

if TYPE_CHECKING:
    from jaxtyping import Shaped

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def paired_difference_interval(
    both: Shaped[npt.NDArray[np.int64], "*grid"],
    first: Shaped[npt.NDArray[np.int64], "*grid"],
    second: Shaped[npt.NDArray[np.int64], "*grid"],
    images: Shaped[npt.NDArray[np.int64], "*grid"],
    confidence: float,
) -> tuple[Floats, Floats]:
    """Interval of the difference of two shares of the same images, from their score intervals.

    Parameters
    ----------
    both, first, second
        images that count for both, for the first, for the
        second.
    images
        all of them.
    confidence
        between 0 and 1, such as 0.95.

    Returns
    -------
    lower and upper ends of the first share minus the second, from -1 to 1; NaN without images

    References
    ----------
    Newcombe 1998, Improved confidence intervals for the difference between binomial proportions
    based on paired data, Statistics in Medicine 17, method 10.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [first / images, second / images]
        only = [first - both, second - both]
        neither = images - both - only[0] - only[1]
        scale = first * second * (images - first) * (images - second)
        crossed = (both * neither - only[0] * only[1]).astype(np.float64)
        # The method's correction for continuity; it lessens a positive correlation alone.
        crossed = np.where(crossed > 0, np.maximum(crossed - images / 2, 0), crossed)
        phi = np.where(scale > 0, crossed / np.sqrt(scale), 0.0)
    ends = [wilson_interval(count, images, confidence) for count in (first, second)]
    below = [share - low for share, (low, _) in zip(shares, ends, strict=True)]
    above = [high - share for share, (_, high) in zip(shares, ends, strict=True)]

    def length(one: Floats, other: Floats) -> Floats:
        return np.sqrt(np.maximum(one**2 - 2 * phi * one * other + other**2, 0))

    difference = shares[0] - shares[1]
    return difference - length(below[0], above[1]), difference + length(above[0], below[1])
