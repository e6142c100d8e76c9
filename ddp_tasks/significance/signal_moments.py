"""How well signals themselves tell the classes apart: η² before any threshold.

The η² of a thresholded signal says how well "significant or not" follows the class. The η² of the
signal says how well the class explains the signal; the two often name different vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass
class SignalMoments:
    """Number, sum and sum of squares of the signals of each class along each singular vector.

    Images are added one after another, so the sums are the same, to the bit, for any division of
    the images into parts.
    """

    target_classes: int
    vectors: int
    images: Shaped[npt.NDArray[np.int64], " class"] = field(init=False)
    total: Shaped[npt.NDArray[np.float64], "class v"] = field(init=False)
    squares: Shaped[npt.NDArray[np.float64], "class v"] = field(init=False)

    def __post_init__(self) -> None:
        self.images = np.zeros(self.target_classes, dtype=np.int64)
        self.total = np.zeros((self.target_classes, self.vectors))
        self.squares = np.zeros_like(self.total)

    def add(
        self,
        signals: Shaped[npt.NDArray[np.float32], "n v"],
        target: Shaped[npt.NDArray[np.int64], " n"],
    ) -> None:
        """Add images, which come after those added before.

        Parameters
        ----------
        signals
            shape (n, v); NaN for images that do not reach the layer, which are left out.
        target
            shape (n,); classes, none of them negative.
        """
        absent = np.isnan(signals[:, 0])
        if absent.any():
            signals, target = signals[~absent], target[~absent]
        self.images += np.bincount(target, minlength=self.target_classes)
        exact = signals.astype(np.float64).reshape(-1)
        cell = (target[:, None] * self.vectors + np.arange(self.vectors)).reshape(-1)
        np.add.at(self.total.reshape(-1), cell, exact)
        np.add.at(self.squares.reshape(-1), cell, exact * exact)

    def eta_squared(self, classes: slice = slice(None)) -> Shaped[npt.NDArray[np.float64], " v"]:
        """The correlation ratio η² of the signals: the share of their variance between classes.

        Parameters
        ----------
        classes
            classes to compare; all of them by default.

        Returns
        -------
        shape (v,), from 0 to 1; 0 where signals do not vary, NaN without images
        """
        images, total = self.images[classes], self.total[classes]
        present = images > 0
        number = images.sum()
        if not number:
            return np.full(self.vectors, np.nan)
        of_class = images[present][:, None]
        mean = total.sum(axis=0) / number
        between = (of_class * (total[present] / of_class - mean) ** 2).sum(axis=0)
        whole = self.squares[classes].sum(axis=0) - number * mean**2
        # Rounding of the squares alone is no variance.
        varies = whole > 1e-12 * self.squares[classes].sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(varies, np.clip(between / whole, 0, 1), 0.0)
