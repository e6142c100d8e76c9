"""Area under the ROC curve of several scores on the same images, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def includes_zero(self) -> bool:
        """Whether the data leave the sign open; so too where the interval is not known."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Aurocs:
    """Areas under the ROC curves of several scores, with their covariance."""

    value: Float64[npt.NDArray[np.float64], " score"]
    """probability that a positive image has the greater score; equal ones count half."""
    covariance: Float64[npt.NDArray[np.float64], "score score"]
    positive: int
    negative: int

    def interval(self, score: int, confidence: float) -> Interval:
        """Interval of one area, normal on the scale of its log-odds.

        Where the score parts all images, or where a class has one image, the variance is not
        known: then both ends are NaN.
        """
        value, variance = float(self.value[score]), float(self.covariance[score, score])
        if not (0 < value < 1 and variance > 0):
            return Interval(value, np.nan, np.nan)
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        odds, half = np.log(value / (1 - value)), z * np.sqrt(variance) / (value * (1 - value))
        low, high = (1 / (1 + np.exp(-(odds + side * half))) for side in (-1, 1))
        return Interval(value, float(low), float(high))

    def difference(self, a: int, b: int, confidence: float) -> Interval:
        """Interval of the area of score a less that of score b, paired by image."""
        value = float(self.value[a] - self.value[b])
        own = self.covariance
        variance = float(own[a, a] + own[b, b] - 2 * own[a, b])
        if not np.isfinite(variance):
            return Interval(value, np.nan, np.nan)
        half = NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(max(variance, 0.0))
        return Interval(value, value - half, value + half)


def aurocs(
    scores: Float64[npt.NDArray[np.float64], "score n"],
    positive: Shaped[npt.NDArray[np.bool_], " n"],
) -> Aurocs:
    """Areas under the ROC curves of several scores, compared on the same images.

    Parameters
    ----------
    scores
        shape (score, n); finite, the greater the surer that an image is positive.
    positive
        shape (n,).

    Raises
    ------
    ValueError
        If all images are positive, or none is.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson 1988, Comparing the areas under two or more correlated
    receiver operating characteristic curves, Biometrics 44; the ranks are those of Sun and Xu 2014.
    """
    from scipy.stats import rankdata

    m, n = int(positive.sum()), int((~positive).sum())
    if not (m and n):
        raise ValueError(f"{m} images are positive and {n} are not; both are needed")
    everyone = rankdata(scores, axis=1)
    # Share of the other side's images that each image is rightly above or below.
    above = (everyone[:, positive] - rankdata(scores[:, positive], axis=1)) / n
    below = 1 - (everyone[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / m
    covariance = _covariance(above) / m + _covariance(below) / n
    return Aurocs(above.mean(axis=1), covariance, m, n)


def _covariance(
    parts: Float64[npt.NDArray[np.float64], "score k"],
) -> Float64[npt.NDArray[np.float64], "score score"]:
    """Covariance of the rows; NaN of a single column."""
    if parts.shape[1] < 2:
        return np.full((len(parts), len(parts)), np.nan)
    return np.atleast_2d(np.cov(parts))
