"""Whether removing singular vectors is more selective than removing other directions.

A pair is a layer and a class for which some of its singular vectors are significant. What is
compared is the selectivity of their removal with the mean selectivity of the removals that are
their controls. Pairs of one class are judged on the same images, so classes are what is flipped
and what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Up to this number of classes all flips of signs are made; of more, some at random.
_MOST_EXACT = 12
_FLIPS = 1999


@dataclass(frozen=True)
class Compared:
    """How the differences of many pairs compare with 0; one value for each setting."""

    pairs: npt.NDArray[np.int64]
    difference: Floats
    """mean over pairs; NaN without any."""
    low: Floats
    """ends of its interval; NaN where fewer than two classes have pairs."""
    high: Floats
    win_rate: Floats
    """share of pairs above 0, those at 0 counted half."""
    p: Floats
    """two-sided; of 2 classes at least 0.5, of 10 at least 0.002."""


def compared(differences: Floats, confidence: float, seed: int) -> Compared:
    """Compare differences with 0, over classes.

    Parameters
    ----------
    differences
        shape (pair, class, \\*settings); NaN where there is no such pair.
    confidence
        level of each interval by itself: Student's t of the classes' sums, which takes the pairs of
        a class as dependent.
    seed
        of the random flips.

    Returns
    -------
    arrays of shape (\\*settings)

    References
    ----------
    Sign flips: Winkler et al. 2014, Permutation inference for the general linear model, NeuroImage
    92. Clusters: Cameron and Miller 2015, A practitioner's guide to cluster-robust inference,
    Journal of Human Resources 50.
    """
    from scipy.stats import t

    settings = differences.shape[2:]
    flat = differences.reshape(*differences.shape[:2], -1)
    there = np.isfinite(flat)
    values = np.where(there, flat, 0.0)
    sums, counts = values.sum(axis=0), there.sum(axis=0)
    pairs = counts.sum(axis=0)
    classes = (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / pairs
        scatter = ((sums - counts * mean) ** 2).sum(axis=0) * classes / (classes - 1)
        wide = t.ppf((1 + confidence) / 2, np.maximum(classes - 1, 1)) * np.sqrt(scatter) / pairs
        wide = np.where(classes > 1, wide, np.nan)
        won = np.where(there, np.sign(flat) / 2 + 0.5, 0.0).sum(axis=(0, 1)) / pairs
    p = np.where(pairs > 0, _flipped(sums, seed), np.nan)
    found = (mean, mean - wide, mean + wide, won, p)
    return Compared(pairs.reshape(settings), *(one.reshape(settings) for one in found))


def _flipped(sums: Floats, seed: int) -> Floats:
    """Share of flips of the classes' signs that give a sum as far from 0.

    Parameters
    ----------
    sums
        shape (class, setting).
    """
    classes = len(sums)
    if classes <= _MOST_EXACT:
        bits = np.arange(2**classes)[:, None] >> np.arange(classes)
        signs = 1.0 - 2 * (bits & 1)
    else:
        rng = np.random.default_rng([seed, classes])
        signs = rng.choice([-1.0, 1.0], size=(_FLIPS + 1, classes))
        signs[0] = 1  # the signs as they are
    flipped, found = np.abs(signs @ sums), np.abs(sums.sum(axis=0))
    # Flips that leave the sum but for the last bits count as equal.
    share: Floats = (flipped >= found * (1 - 1e-9) - 1e-300).mean(axis=0)
    return share
