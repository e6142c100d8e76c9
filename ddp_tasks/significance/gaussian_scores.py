"""Gaussian scores of a layer's signals: class means with one shared covariance (Lee et al. 2018).

A layer's signals of the images of a class are taken for a Gaussian with the class's mean and a
covariance that all classes share. Then the log-densities of two classes differ by a linear function
of the signals, so that each singular vector has its own part of the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Shaped

#: Most parts that the images are cut into, each scored by means and covariance of the others.
FOLDS = 5

#: Added to the covariance's diagonal, as a share of its mean: signals may be linearly dependent.
_RIDGE = 1e-9


@dataclass(frozen=True)
class GaussianClasses:
    """The Gaussians of a layer's target classes."""

    classes: Shaped[npt.NDArray[np.int64], " class"]
    """labels of the classes, ascending."""
    means: Float64[npt.NDArray[np.float64], "class r"]
    precision: Float64[npt.NDArray[np.float64], "r r"]
    """inverse of the shared covariance."""
    shrinkage: float
    """share of the multiple of the identity in the covariance, from 0 to 1."""

    @classmethod
    def fit(
        cls,
        signals: Float[npt.NDArray[np.floating], "n r"],
        target: Shaped[npt.NDArray[np.int64], " n"],
    ) -> GaussianClasses:
        """Class means, and the covariance within classes, shrunk after Ledoit and Wolf.

        Parameters
        ----------
        signals
            shape (n, r); finite.
        target
            shape (n,); class of each image.

        Raises
        ------
        ValueError
            If the signals do not vary within classes.

        References
        ----------
        Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples and
        adversarial attacks, Eq. 1; Ledoit and Wolf 2004, A well-conditioned estimator for
        large-dimensional covariance matrices.
        """
        from sklearn.covariance import ledoit_wolf

        X = signals.astype(np.float64)
        classes, position = np.unique(target, return_inverse=True)
        sums = np.zeros((len(classes), X.shape[1]))
        np.add.at(sums, position, X)
        means = sums / np.bincount(position)[:, None]
        covariance, shrinkage = ledoit_wolf(X - means[position], assume_centered=True)
        variance = float(np.trace(covariance)) / len(covariance)
        if not variance > 0:
            raise ValueError("the signals of a class are all equal")
        covariance += _RIDGE * variance * np.eye(len(covariance))
        return cls(classes, means, np.linalg.inv(covariance), float(shrinkage))

    def log_densities(
        self, signals: Float[npt.NDArray[np.floating], "n r"]
    ) -> Float64[npt.NDArray[np.float64], "n class"]:
        """Log-density of each image under each class, up to a constant of the image.

        Returns
        -------
        shape (n, class); in nats. What all classes share is left out.
        """
        weights = self.means @ self.precision
        scores = signals.astype(np.float64) @ weights.T
        scores -= 0.5 * (weights * self.means).sum(axis=1)
        return scores

    def margins(
        self,
        signals: Float[npt.NDArray[np.floating], "n r"],
        predicted: Shaped[npt.NDArray[np.int64], " n"],
    ) -> Float64[npt.NDArray[np.float64], " n"]:
        """Log-density of the class that the network chose less that of the best other class.

        Returns
        -------
        shape (n,); in nats. NaN where no image of the predicted class was fitted.

        Raises
        ------
        ValueError
            If there is one class only.
        """
        if len(self.classes) < 2:
            raise ValueError("a margin needs two classes")
        densities = self.log_densities(signals)
        chosen = densities_of(self, densities, predicted)
        mine = self.classes[None] == predicted[:, None]
        return chosen - np.where(mine, -np.inf, densities).max(axis=1)

    def difference(self, a: int, b: int) -> ClassDifference:
        """How the log-density of class a less that of class b depends on each signal.

        Raises
        ------
        ValueError
            If no image of either class was fitted.
        """
        rows = []
        for label in (a, b):
            if label not in self.classes:
                raise ValueError(f"class {label} was not fitted")
            rows.append(self.means[int(np.searchsorted(self.classes, label))])
        return ClassDifference(rows[0], rows[1], self.precision @ (rows[0] - rows[1]))


@dataclass(frozen=True)
class ClassDifference:
    """The difference of two classes' log-densities in a layer, a linear function of the signals."""

    mean_a: Float64[npt.NDArray[np.float64], " r"]
    mean_b: Float64[npt.NDArray[np.float64], " r"]
    weights: Float64[npt.NDArray[np.float64], " r"]
    """shared precision times mean_a - mean_b."""

    @property
    def distance(self) -> float:
        """Mahalanobis distance of the two means."""
        squared = float(self.weights @ (self.mean_a - self.mean_b))
        return math.sqrt(max(squared, 0.0))

    def contributions(
        self, signals: Float[npt.NDArray[np.floating], "n r"]
    ) -> Float64[npt.NDArray[np.float64], "n r"]:
        """The part of each singular vector in the difference of the log-densities.

        They add up to it. The covariance ties the signals together, so a part is that of one
        signal given all others.

        Returns
        -------
        shape (n, r); in nats, positive where the signal speaks for class a.
        """
        return self.weights * (signals - (self.mean_a + self.mean_b) / 2)

    def standardised(
        self, signals: Float[npt.NDArray[np.floating], "n r"]
    ) -> Float64[npt.NDArray[np.float64], " n"]:
        """The difference of the log-densities in standard deviations of a class.

        Either class has the standard deviation 1; their means are at half the Mahalanobis distance
        on either side of 0. So layers that part their classes by little and by much compare.

        Returns
        -------
        shape (n,); NaN where the means are equal.
        """
        distance = self.distance
        if not distance > 0:
            return np.full(len(signals), np.nan)
        return self.contributions(signals).sum(axis=1) / distance


def densities_of(
    fitted: GaussianClasses,
    densities: Float64[npt.NDArray[np.float64], "n class"],
    label: Shaped[npt.NDArray[np.int64], " n"],
) -> Float64[npt.NDArray[np.float64], " n"]:
    """Each image's log-density under one class of its own; NaN where that was not fitted."""
    column = np.searchsorted(fitted.classes, label).clip(max=len(fitted.classes) - 1)
    known = fitted.classes[column] == label
    return np.where(known, densities[np.arange(len(label)), column], np.nan)


def folds(
    target: Shaped[npt.NDArray[np.int64], " n"], seed: int, most: int = FOLDS
) -> Shaped[npt.NDArray[np.int64], " n"]:
    """A part for each image, so that every part holds images of every class.

    Returns
    -------
    shape (n,); from 0 to the number of parts: ``most``, or the size of the least class

    Raises
    ------
    ValueError
        If a class has one image only.
    """
    classes, counts = np.unique(target, return_counts=True)
    number = min(most, int(counts.min()))
    if number < 2:
        raise ValueError(f"class {classes[counts.argmin()]} has {counts.min()} image")
    fold = np.empty(len(target), dtype=np.int64)
    for c in classes.tolist():
        (rows,) = np.nonzero(target == c)
        order = np.random.default_rng([seed, c]).permutation(len(rows))
        fold[rows[order]] = np.arange(len(rows)) % number
    return fold


def split_margins(
    signals: Float[npt.NDArray[np.floating], "n r"],
    target: Shaped[npt.NDArray[np.int64], " n"],
    predicted: Shaped[npt.NDArray[np.int64], " n"],
    choosing: Shaped[npt.NDArray[np.bool_], " n"],
    seed: int,
) -> Float64[npt.NDArray[np.float64], " n"]:
    """The margin of every image in one layer, from Gaussians that the image had no part in.

    Those of the images that do not choose come from all that do; those of the images that choose
    come from means and covariance of the other parts of them, see ``folds``.

    Parameters
    ----------
    choosing
        shape (n,); whether an image is among those that means and covariance come from.
    seed
        determines the parts.

    Returns
    -------
    shape (n,); as ``GaussianClasses.margins``

    Raises
    ------
    ValueError
        If there is one class only, a class has fewer than two images that choose, or the signals
        do not vary within classes.
    """
    margins = np.empty(len(signals))
    judged = ~choosing
    whole = GaussianClasses.fit(signals[choosing], target[choosing])
    margins[judged] = whole.margins(signals[judged], predicted[judged])
    (rows,) = np.nonzero(choosing)
    fold = folds(target[rows], seed)
    for part in range(int(fold.max()) + 1):
        left, kept = rows[fold == part], rows[fold != part]
        fitted = GaussianClasses.fit(signals[kept], target[kept])
        margins[left] = fitted.margins(signals[left], predicted[left])
    return margins
