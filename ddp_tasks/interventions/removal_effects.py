"""How much the removal of directions hurts each class, and how selective it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: What a removal changes: the share of images named correctly, and the mean softmax probability of
#: an image's own class, which moves before the share does.
MEASURES = ("accuracy", "probability")

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
    shape (measure, ..., n)
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


def class_means(values: Floats, target: Classes, classes: int) -> Floats:
    """Means over the images of each class.

    Parameters
    ----------
    values
        shape (..., n).
    target
        shape (n,).

    Returns
    -------
    shape (..., class); NaN for a class without images
    """
    counts = np.bincount(target, minlength=classes)
    member = (target[:, None] == np.arange(classes)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return values @ member / counts


def contrast(target: Classes, own: int) -> Floats:
    """Weights of images whose sum with their drops is the selectivity for a class.

    Selectivity is the mean drop of the class's images minus that of the others, in which each other
    class counts alike, however many of its images are judged.

    Parameters
    ----------
    target
        shape (n,); with images of the class and of at least one other.
    own
        the class.

    Returns
    -------
    shape (n,)
    """
    counts = np.bincount(target)
    others = np.count_nonzero(counts) - 1
    weight = 1 / counts[target]
    return np.where(target == own, weight, -weight / others)


def resampled_contrasts(target: Classes, own: int, resamples: int, seed: int) -> Floats:
    """The weights of ``contrast`` for bootstrap resamples of the images of each class.

    Images of a class are drawn from them with replacement. The draws depend on seed, class and
    number of its images alone, so removals in all layers are resampled together.

    Returns
    -------
    shape (n, resample)

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8.
    """
    weights = contrast(target, own)[:, None].repeat(resamples, axis=1)
    for c in np.unique(target).tolist():
        (rows,) = np.nonzero(target == c)
        rng = np.random.default_rng([seed, c, len(rows)])
        times = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
        weights[rows] *= times.T
    return weights
