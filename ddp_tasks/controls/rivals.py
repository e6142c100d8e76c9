"""Rivals of a basis: parts that are fitted to a layer's outputs, non-negative or sparse.

Both are fitted on the images that choose, and take part in nothing else. Their codes of an image
stand in place of its signals.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Directions in which the codes of a rival may be significant: there are no negative ones.
CODE_DIRECTIONS = ("positive",)

#: Numbers that an outputs' matrix times the parts may have, beyond which a rival takes minutes.
MOST_WORK = 1 << 27

_ITERATIONS = 200


def codes(
    rival: str,
    outputs: Shaped[npt.NDArray[np.float32], "row d"],
    choosing: slice,
    parts: int,
    seed: int,
) -> Shaped[npt.NDArray[np.float32], "row part"] | None:
    """The codes of all images by a rival fitted on the images that choose.

    Both rivals get the outputs as their positive and their negative halves, side by side, so that
    nothing is lost to the sign: ``max(Y, 0)`` and ``max(-Y, 0)``.

    Parameters
    ----------
    rival
        nmf, or dictionary: sparse codes that are not negative.
    outputs
        shape (row, d); means over positions, before bias.
    choosing
        rows of the images that choose.
    parts
        components, such as the layer's rank.
    seed
        of the fit.

    Returns
    -------
    None where the layer is too large for a fit within minutes, or no image chooses

    References
    ----------
    Lee and Seung 1999, Learning the parts of objects by non-negative matrix factorization, Nature
    401; Mairal et al. 2009, Online dictionary learning for sparse coding, ICML.
    """
    # Loaded here: scikit-learn takes a second, and few runs ask for rivals.
    from sklearn.decomposition import NMF, MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    rows = choosing.stop - choosing.start
    if not rows or len(outputs) * 2 * outputs.shape[1] * parts > MOST_WORK:
        return None
    halves = np.concatenate([np.maximum(outputs, 0), np.maximum(-outputs, 0)], axis=1)
    # Penalties are absolute: scaled so that they mean the same in every layer.
    scale = float(np.sqrt((halves[choosing].astype(np.float64) ** 2).mean()))
    halves = halves.astype(np.float64) / (scale or 1.0)
    if rival == "nmf":
        some = min(rows, halves.shape[1])
        start = "nndsvda" if parts <= some else "random"
        model = NMF(parts, init=start, max_iter=_ITERATIONS, tol=1e-3, random_state=seed)
    else:
        model = MiniBatchDictionaryLearning(
            parts,
            alpha=1.0,
            max_iter=10,
            batch_size=min(256, rows),
            fit_algorithm="cd",
            transform_algorithm="lasso_cd",
            positive_code=True,
            positive_dict=True,
            random_state=seed,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(halves[choosing])
        return np.asarray(model.transform(halves), dtype=np.float32)
