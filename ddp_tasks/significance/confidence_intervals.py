"""Confidence intervals of shares of images and of their differences, of many at once.

Whoever reads a table looks for what stands out, and so looks at the extremes of many intervals. So
all intervals of a table hold together: with the stated probability not one of them misses. They
are exact: with a level this high, those of the normal approximation and the score interval miss far
too often where a share is near 0 or 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def shares_intervals(
    count: Integers, images: Integers, confidence: float, searched: int
) -> tuple[Floats, Floats]:
    """Exact intervals of shares, which hold together with the stated probability at least.

    Parameters
    ----------
    count, images
        of one shape, or broadcast to one; ``count`` out of ``images``.
    confidence
        probability, such as 0.95, that none of the intervals misses.
    searched
        how many intervals hold together, at least 1; each is at the level
        1 - (1 - confidence) / searched (Bonferroni), whatever their dependence.

    Returns
    -------
    lower and upper ends, which enclose the share; NaN where there are no images

    References
    ----------
    Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of
    the binomial, Biometrika 26.
    """
    # statsmodels has the same numbers (proportion_confint, "beta"), for which a worker, and
    # `ddp table` with its 0.8 s, would load SciPy's statistics and pandas for another 0.4 s.
    from scipy.special import betainccinv, betaincinv

    tail = (1 - confidence) / searched / 2
    count, images = np.broadcast_arrays(count, images)
    # Few of the counts of a large table differ.
    pairs, place = np.unique(np.stack([count.ravel(), images.ravel()]), axis=1, return_inverse=True)
    k, n = pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(k > 0, betaincinv(k, n - k + 1, tail), 0.0)
        high = np.where(k < n, betainccinv(k + 1, n - k, tail), 1.0)
    missing = n <= 0
    ends = [np.where(missing, np.nan, end)[place].reshape(count.shape) for end in (low, high)]
    return ends[0], ends[1]


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
    # Imported here: it takes 0.4 s of processor.
    from statsmodels.stats.proportion import proportion_confint

    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = proportion_confint(count, images, 1 - confidence, method="wilson")
        share = count / images
    # Rounding may move an end past the share, which it equals at 0 and 1.
    return np.minimum(low, share), np.maximum(high, share)


def difference_intervals(
    count: tuple[Integers, Integers], images: tuple[int, int], confidence: float, searched: int
) -> tuple[Floats, Floats]:
    """Intervals of differences of two shares of separate images, which hold together.

    The distance of each end is the root of the summed squares of those of the shares' own
    intervals, as in Newcombe's method 10, with exact intervals in place of score intervals.

    Parameters
    ----------
    count, images
        of the first share and of the second.
    confidence, searched
        as in ``shares_intervals``.

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
        ends = shares_intervals(counted, np.asarray(of), confidence, searched)
        low.append(ends[0])
        high.append(ends[1])
        share.append(counted / of if of else np.full(counted.shape, np.nan))
    difference = share[0] - share[1]
    below = np.hypot(share[0] - low[0], high[1] - share[1])
    above = np.hypot(high[0] - share[0], share[1] - low[1])
    return difference - below, difference + above


def difference_probabilities(count: tuple[Integers, Integers], images: tuple[int, int]) -> Floats:
    """Probability of so great a difference of two shares if both images were of one kind.

    Fisher's exact test, both sides: twice the smaller tail.

    Parameters
    ----------
    count, images
        as in ``difference_intervals``.

    Returns
    -------
    shape of the counts, from 0 to 1

    References
    ----------
    Fisher 1935, The logic of inductive inference, Journal of the Royal Statistical Society 98.
    """
    from scipy.stats import hypergeom

    # Few of many pairs of counts differ.
    (one, other), place = np.unique(np.stack(count), axis=1, return_inverse=True)
    drawn = (sum(images), one + other, images[0])
    least = np.minimum(hypergeom.cdf(one, *drawn), hypergeom.sf(one - 1, *drawn))
    return np.asarray(np.minimum(2 * least, 1.0))[place.reshape(len(count[0]))]


def false_discovery_rates(probabilities: Floats) -> Floats:
    """The least rate of false discoveries at which each of many tests counts as one.

    Parameters
    ----------
    probabilities
        p of each test, in any shape; NaN where there is no test.

    Returns
    -------
    the same shape, NaN likewise

    References
    ----------
    Benjamini and Hochberg 1995, Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57.
    """
    from scipy.stats import false_discovery_control

    rates = np.full(probabilities.shape, np.nan)
    tested = np.isfinite(probabilities)
    rates[tested] = false_discovery_control(probabilities[tested], method="bh")
    return rates
