"""Signed singular vectors of a layer and what they are significant for, from plain signals.

The stored group ``significance`` holds the same of a run's own images and basis. Here the images
may be part of them, and the basis another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.significance import share, significant
from ddp_tasks.weights.signed_vectors import DIRECTIONS, interleaved

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True)
class ImageNodes:
    """The nodes of a layer's hypergraph and the images that each is significant for."""

    vector: Shaped[npt.NDArray[np.int64], " node"]
    """number of its vector, ascending."""
    sign: Shaped[npt.NDArray[np.int64], " node"]
    """1 where great signals count, -1 where low ones do."""
    threshold: Shaped[npt.NDArray[np.float64], " node"]
    """q of its direction, in the units of the signals."""
    active: Shaped[npt.NDArray[np.bool_], "n node"]
    """whether the signed signal of an image is strictly greater than q."""
    significant: Shaped[npt.NDArray[np.bool_], "class node"]
    """whether that is so for at least p % of the class's images that choose."""

    @property
    def count(self) -> int:
        """Number of signed vectors that are significant for a class."""
        return int(self.significant.any(axis=0).sum())


def image_nodes(
    signals: Shaped[npt.NDArray[np.floating], "n r"],
    target: Shaped[npt.NDArray[np.int64], " n"],
    chooses: Shaped[npt.NDArray[np.bool_], " n"],
    classes: int,
    *,
    levels: tuple[float, float],
    directions: Sequence[str],
) -> ImageNodes:
    """Which signed vectors are significant for which classes.

    Parameters
    ----------
    signals
        shape (n, r); NaN for images that do not reach the layer, which have no significant vector.
    target
        shape (n,); class of each image.
    chooses
        shape (n,); images that choose thresholds and vectors.
    levels
        quantile level and percentage p.
    directions
        positive, negative or both, in the order of the nodes.

    References
    ----------
    Praggastis et al. 2022, section 5.
    """
    exact = signals.astype(np.float64)
    choosing = exact[chooses]
    reaching = choosing[np.isfinite(choosing[:, 0])]
    signs = [1 if direction == DIRECTIONS[0] else -1 for direction in directions]
    q = [np.quantile(sign * reaching, levels[0]) if len(reaching) else np.inf for sign in signs]
    # Comparisons with NaN are false.
    active = interleaved([sign * exact > q[d] for d, sign in enumerate(signs)])
    images = np.bincount(target[chooses], minlength=classes)
    # Sums of fewer than 2**24 ones are exact.
    member = (target[chooses] == np.arange(classes)[:, None]).astype(np.float32)
    count = (member @ active[chooses].astype(np.float32)).astype(np.int64)
    r = signals.shape[1]
    return ImageNodes(
        vector=np.repeat(np.arange(r), len(signs)),
        sign=np.tile(np.array(signs, dtype=np.int64), r),
        threshold=np.tile(np.array(q, dtype=np.float64), r),
        active=active,
        significant=significant(share(count, images), images, levels[1]),
    )
