"""How much signals vary over images: their second moment about the mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped


def signal_variances(
    parts: Iterable[npt.NDArray[np.float32]], vectors: int
) -> Shaped[npt.NDArray[np.float64], " v"]:
    """Variance of the signals along each singular vector, over all images of all parts.

    Parameters
    ----------
    parts
        shape (n, v) each; NaN for images that do not reach the layer, which are left out.
    vectors
        v

    Returns
    -------
    shape (v,), divided by the number of images; 0 without images

    References
    ----------
    Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance, The American
    Statistician 37, for the sums of parts.
    """
    images, mean, squares = 0, np.zeros(vectors), np.zeros(vectors)
    for part in parts:
        signals = part[~np.isnan(part[:, 0])].astype(np.float64)
        if not len(signals):
            continue
        own = signals.mean(axis=0)
        apart, total = own - mean, images + len(signals)
        squares += np.square(signals - own).sum(axis=0)
        squares += np.square(apart) * images * len(signals) / total
        mean += apart * len(signals) / total
        images = total
    return squares / max(images, 1)
