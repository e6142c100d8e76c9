"""How much the removal of directions hurts each class, and how selective it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]


def judged(
    scores: npt.NDArray[np.float32], target: Classes, class_of_output: Classes | None = None
) -> Floats:
    """Whether each image is named correctly, and the probability of its own class.

    Parameters
    ----------
    scores
        shape (..., n, outputs); class scores of the network.
    target
        shape (n,); class of each image.
    class_of_output
        shape (outputs,); the class that each output stands for, -1 for none. None where outputs are
        the classes.

    Returns
    -------
    shape (change, ..., n)
    """
    exact = scores.astype(np.float64)
    exact -= exact.max(axis=-1, keepdims=True)
    probability = np.exp(exact)
    probability /= probability.sum(axis=-1, keepdims=True)
    named = scores.argmax(axis=-1)
    if class_of_output is None:
        own = np.take_along_axis(
            probability, np.broadcast_to(target[:, None], (*named.shape, 1)), axis=-1
        )[..., 0]
        return np.stack([(named == target).astype(np.float64), own])
    own = np.einsum("...no,no->...n", probability, class_of_output == target[:, None])
    return np.stack([(class_of_output[named] == target).astype(np.float64), own])


@dataclass(frozen=True)
class ClassDrops:
    """Drops of accuracy and probability in each class, with their standard errors."""

    images: Classes
    """shape (class,); images judged of each class."""
    drop: Floats
    """shape (change, removal, class); NaN for a class without images."""
    error: Floats
    """shape (change, removal, class); standard error of the drop. That of probability is NaN for a
    class of one image."""

    @classmethod
    def of(cls, before: Floats, after: Floats, target: Classes, classes: int) -> ClassDrops:
        """The drops between what images are named before and after removals.

        Images whose prediction does not change say little of how rare such changes are. So the
        variance of accuracy is that of two images more, one of which changes either way by half
        (Agresti and Min 2005): it is never 0.

        Parameters
        ----------
        before
            shape (change, n); see ``judged``.
        after
            shape (change, removal, n).
        target
            shape (n,).
        """
        images = np.bincount(target, minlength=classes)
        member = (target[:, None] == np.arange(classes)).astype(np.float64)
        fell = before[:, None] - after
        with np.errstate(invalid="ignore", divide="ignore"):
            drop = fell @ member / images
            square = fell**2 @ member
            share = (square[0] + 1) / (images + 2)
            shrunk = drop[0] * images / (images + 2)
            accuracy = (share - shrunk**2) / (images + 2)
            spread = np.maximum(square[1] - images * drop[1] ** 2, 0) / (images - 1)
            probability = np.where(images > 1, spread / images, np.nan)
        accuracy = np.where(images > 0, accuracy, np.nan)
        return cls(images, drop, np.sqrt(np.stack([accuracy, probability])))


@dataclass(frozen=True)
class Selectivity:
    """By how much more a removal hurts one class than the others, with an interval."""

    own_drop: Floats
    """shape (change, removal); mean drop of the class's images."""
    other_drop: Floats
    """shape (change, removal); mean over the other classes of theirs, each counting alike."""
    low: Floats
    """shape (change, removal)."""
    high: Floats
    """shape (change, removal)."""

    @property
    def value(self) -> Floats:
        """Drop of the class less that of the others; shape (change, removal)."""
        return self.own_drop - self.other_drop


def selectivity(drops: ClassDrops, own: int, confidence: float) -> Selectivity:
    """The selectivity of removals for a class, over the classes that have images.

    Parameters
    ----------
    own
        the class; NaN everywhere if it or all others have no images.
    confidence
        level of each interval by itself, from Student's t with Satterthwaite's degrees of freedom.

    References
    ----------
    Agresti and Min 2005, Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24. Satterthwaite 1946, Biometrics Bulletin 2.
    """
    from scipy.stats import t

    there = drops.images > 0
    others = there & (np.arange(len(there)) != own)
    shape = drops.drop.shape[:2]
    if not there[own] or not others.any():
        return Selectivity(*(np.full(shape, np.nan) for _ in range(4)))
    own_drop, other_drop = drops.drop[..., own], drops.drop[..., others].mean(axis=-1)
    chosen = others.copy()
    chosen[own] = True
    weight = np.where(np.arange(len(there)) == own, 1.0, 1 / others.sum())[chosen]
    variance = (drops.error[..., chosen] * weight) ** 2
    # The variance of accuracy is that of two images more.
    freedom = drops.images[chosen] + np.array([[[1]], [[-1]]])
    with np.errstate(invalid="ignore", divide="ignore"):
        total = variance.sum(axis=-1)
        degrees = total**2 / np.where(freedom > 0, variance**2 / freedom, np.nan).sum(axis=-1)
        # Without any spread the interval is a point.
        wide = t.ppf((1 + confidence) / 2, np.where(total > 0, degrees, 1)) * np.sqrt(total)
    value = own_drop - other_drop
    return Selectivity(own_drop, other_drop, value - wide, value + wide)
