"""What a singular vector means: the set of images that its signals tell best, told on others.

Network Dissection's idea (Bau et al. 2017) for the signals of whole images: a vector is described
by the set, of all that are offered, whose images have greater signals than the others. The score
is the area under the ROC curve, the chance that an image of the set has the greater signal: it
needs no threshold, does not depend on how many images the set has, and is one half where the
signal says nothing. Some images choose the set and others judge it, so that offering many sets
makes no vector look better than it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.auroc import Interval, aurocs
from ddp_tasks.significance.concepts import Concepts

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64, Shaped


@dataclass(frozen=True)
class BestDescriptions:
    """The best set for each vector in each direction, positive first, and how well it does."""

    concept: Int64[npt.NDArray[np.int64], "vector direction"]
    selection: Float64[npt.NDArray[np.float64], "vector direction"]
    """area under the ROC curve on the images that chose the set."""
    estimation: Float64[npt.NDArray[np.float64], "vector direction"]
    """that on the images that judge it."""


def best_descriptions(
    signals: Shaped[npt.NDArray[np.floating], "image vector"],
    concepts: Concepts,
    choosing: Bool[npt.NDArray[np.bool_], " image"],
) -> BestDescriptions:
    """Search for the set of images that describes each vector best.

    Parameters
    ----------
    signals
        shape (image, vector); finite.
    concepts
        at least one, each with images in and out of it on either side.
    choosing
        shape (image,).
    """
    of_parts = [
        concept_aurocs(signals[part], concepts.of_images(part)) for part in (choosing, ~choosing)
    ]
    # Low signals are great ones in the other direction: the area of a set is then 1 less it.
    signed = [np.stack([areas, 1 - areas], axis=2) for areas in of_parts]
    concept = signed[0].argmax(axis=0)
    selection, estimation = (
        np.take_along_axis(areas, concept[None], axis=0)[0] for areas in signed
    )
    return BestDescriptions(concept, selection, estimation)


def concept_aurocs(
    signals: Shaped[npt.NDArray[np.floating], "image vector"], concepts: Concepts
) -> Float64[npt.NDArray[np.float64], "concept vector"]:
    """Area under the ROC curve of each vector's signals for each set of images.

    Parameters
    ----------
    signals
        shape (image, vector); finite.

    Returns
    -------
    shape (concept, vector); equal signals count half, and only images that a set knows count

    References
    ----------
    Mann and Whitney 1947, On a test of whether one of two random variables is stochastically
    larger than the other, Annals of Mathematical Statistics 18.
    """
    from scipy.stats import rankdata

    areas = np.empty((len(concepts), signals.shape[1]))
    masks, place = np.unique(concepts.known, axis=0, return_inverse=True)
    for number, known in enumerate(masks):
        rows = np.flatnonzero(place.ravel() == number)
        member = concepts.member[rows][:, known].astype(np.float64)
        inside = member.sum(axis=1)[:, None]
        above = member @ rankdata(signals[known], axis=0) - inside * (inside + 1) / 2
        areas[rows] = above / (inside * (known.sum() - inside))
    return areas


def chance_of_area(area: float, members: int, others: int) -> float:
    """Probability of so great an area if the set had nothing to do with the signals.

    The normal approximation of the rank sum; equal signals would only make it smaller.

    References
    ----------
    Mann and Whitney 1947.
    """
    deviation = np.sqrt((members + others + 1) / (12 * members * others))
    return math.erfc((area - 0.5) / float(deviation) / math.sqrt(2)) / 2


def area_interval(
    signal: Shaped[npt.NDArray[np.floating], " image"],
    member: Bool[npt.NDArray[np.bool_], " image"],
    confidence: float,
) -> Interval:
    """Confidence interval of the area of one vector for one set.

    Parameters
    ----------
    signal
        shape (image,); negated where low signals count.
    member
        shape (image,); some are, and some are not.

    Returns
    -------
    as ``Aurocs.interval``
    """
    return aurocs(signal[None].astype(np.float64), member).interval(0, confidence)
