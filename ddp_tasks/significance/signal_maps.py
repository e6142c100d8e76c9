"""Images, or classes, as points of a plane in which those with like signals lie near each other."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Neighbours of a point that UMAP keeps near it, and the least images that it takes.
_NEIGHBOURS, LEAST_IMAGES = 15, 10


@dataclass(frozen=True)
class SignalMap:
    """Places of images or classes in a plane."""

    place: Shaped[npt.NDArray[np.float64], "n 2"]
    variance: tuple[float, float] | None
    """share of the variance along each axis; None where the axes mean nothing."""


def principal_plane(
    signals: Shaped[npt.NDArray[np.float32], "n v"],
) -> SignalMap:
    """Places along the first two principal components of the signals.

    The singular vectors are orthonormal, so that the layer's mean outputs have the same ones. The
    coordinate of largest magnitude of each component is positive.

    Parameters
    ----------
    signals
        shape (n, v), without NaN.

    Returns
    -------
    zeros along a component that there is not
    """
    centred = signals.astype(np.float64)
    centred -= centred.mean(axis=0)
    # The smaller of the two Gram matrices has the same nonzero eigenvalues.
    wide = centred.shape[1] > centred.shape[0]
    gram = centred @ centred.T if wide else centred.T @ centred
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.clip(values[::-1][:2], 0, None), vectors[:, ::-1][:, :2]
    place = vectors * np.sqrt(values) if wide else centred @ vectors
    if len(place):
        flip = np.sign(np.take_along_axis(place, np.abs(place).argmax(axis=0)[None], axis=0))
        place = place * np.where(flip == 0, 1, flip)
    missing = 2 - place.shape[1]
    place = np.pad(place, ((0, 0), (0, missing)))
    whole = float(np.trace(gram))
    shares = [float(v) / whole if whole > 0 else 0.0 for v in values] + [0.0] * missing
    return SignalMap(place, (shares[0], shares[1]))


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return find_spec("umap") is not None


def umap_plane(signals: Shaped[npt.NDArray[np.float32], "n v"], seed: int = 0) -> SignalMap:
    """Places by UMAP on the cosines of the signals: neighbours count, distances do not.

    Parameters
    ----------
    signals
        shape (n, v), without NaN; at least ``LEAST_IMAGES`` rows.
    seed
        one seed gives one map.

    Raises
    ------
    ModuleNotFoundError
        If umap-learn is not installed.

    References
    ----------
    McInnes, Healy and Melville 2018, UMAP: Uniform manifold approximation and projection for
    dimension reduction.
    """
    import umap

    layout = umap.UMAP(
        n_neighbors=min(_NEIGHBOURS, len(signals) - 1),
        metric="cosine",
        random_state=seed,
        n_jobs=1,
    )
    return SignalMap(np.asarray(layout.fit_transform(signals), dtype=np.float64), None)


def class_means(
    signals: Shaped[npt.NDArray[np.float32], "n v"],
    target: Shaped[npt.NDArray[np.int64], " n"],
    classes: int,
) -> tuple[Shaped[npt.NDArray[np.float64], "present v"], npt.NDArray[np.int64]]:
    """Mean signals of each class that has images.

    Parameters
    ----------
    target
        shape (n,); -1 for images of no class.

    Returns
    -------
    means of the classes with images, and which classes these are
    """
    inside = target >= 0
    images = np.bincount(target[inside], minlength=classes)
    sums = np.zeros((classes, signals.shape[1]))
    np.add.at(sums, target[inside], signals[inside].astype(np.float64))
    present = np.flatnonzero(images)
    return sums[present] / images[present, None], present
