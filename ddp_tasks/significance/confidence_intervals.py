"""Confidence intervals of a share of images, and of the difference of two shares."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson_interval(
    count: npt.NDArray[np.int64], images: npt.NDArray[np.int64], confidence: float
) -> tuple[Floats, Floats]:
    """The score interval of a share: all shares that a score test would not reject.

    Unlike the interval of the normal approximation it stays within 0 and 1, and is not empty
    where the share is 0 or 1.

    Parameters
    ----------
    count, images
        of one shape, or broadcast to one; ``count`` out of ``images``.
    confidence
        between 0 and 1, such as 0.95.

    Returns
    -------
    lower and upper ends; NaN where there are no images

    References
    ----------
    Wilson 1927, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = count / images
        wide = z**2 / images
        centre = (share + wide / 2) / (1 + wide)
        half = np.sqrt(share * (1 - share) * wide + wide**2 / 4) / (1 + wide)
    # Rounding may move an end past the share, which it equals at 0 and 1.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def difference_interval(
    count: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    images: tuple[int, int],
    confidence: float,
) -> tuple[Floats, Floats]:
    """Interval of the difference of two shares of separate images, from their score intervals.

    Parameters
    ----------
    count, images
        of the first share and of the second.

    Returns
    -------
    lower and upper ends of the first share minus the second, from -1 to 1; NaN where either has
    no images

    References
    ----------
    Newcombe 1998, Interval estimation for the difference between independent proportions:
    comparison of eleven methods, Statistics in Medicine 17, method 10.
    """
    low, high, share = [], [], []
    for counted, of in zip(count, images, strict=True):
        ends = wilson_interval(counted, np.asarray(of), confidence)
        low.append(ends[0])
        high.append(ends[1])
        share.append(counted / of if of else np.full(counted.shape, np.nan))
    difference = share[0] - share[1]
    below = np.hypot(share[0] - low[0], high[1] - share[1])
    above = np.hypot(high[0] - share[0], share[1] - low[1])
    return difference - below, difference + above
