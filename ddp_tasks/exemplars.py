"""Exemplary images: those of a set with the strongest signals (section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance import Parts


@dataclass(frozen=True)
class StrongestImages:
    """Images in descending order of a signal, equal signals in the order of the images."""

    image: npt.NDArray[np.int64]
    """position in the run, last axis the place; -1 where there is none."""
    signal: npt.NDArray[np.float32]
    """NaN where there is none."""


def strongest_images(parts: Parts, places: int) -> StrongestImages:
    """The strongest images of every singular vector of every layer, in one pass.

    Eq. 19 restricted to the images of the run.

    Returns
    -------
    arrays of shape (layer, singular vector, place)
    """
    kept: StrongestImages | None = None
    start = 0
    for part, _ in parts():
        signals = part
        image = np.arange(start, start + len(signals))[:, None, None]
        image = np.where(np.isnan(signals), -1, image)
        start += len(signals)
        if kept is not None:
            signals = np.concatenate([np.moveaxis(kept.signal, -1, 0), signals])
            image = np.concatenate([np.moveaxis(kept.image, -1, 0), image])
        # Stable, so an earlier image keeps its place before a later one of the same signal.
        order = np.argsort(np.nan_to_num(-signals, nan=np.inf), axis=0, kind="stable")[:places]
        kept = StrongestImages(
            np.moveaxis(np.take_along_axis(image, order, axis=0), 0, -1),
            np.moveaxis(np.take_along_axis(signals, order, axis=0), 0, -1),
        )
    if kept is None:
        raise ValueError("there are no images")
    return kept


def class_exemplars(
    parts: Parts, singular_vectors: npt.NDArray[np.bool_], target_classes: int
) -> StrongestImages:
    """The image of each target class with the greatest signal summed over each vector set.

    Eq. 20 with weights 1, restricted to the images of a class.

    Parameters
    ----------
    parts
        of one layer: signals (n, singular vectors).
    singular_vectors
        shape (set, singular vector); which vectors belong to each set (an equivalence class).

    Returns
    -------
    arrays of shape (set, class): one place, no axis for it
    """
    sets = np.arange(len(singular_vectors))
    image = np.full((len(sets), target_classes), -1, dtype=np.int64)
    signal = np.full(image.shape, np.nan, dtype=np.float32)
    start = 0
    for signals, target in parts():
        summed = np.nan_to_num(signals, nan=0) @ singular_vectors.T.astype(np.float32)
        for c in np.unique(target):
            rows = np.flatnonzero(target == c)
            best = rows[summed[rows].argmax(axis=0)]
            value = summed[best, sets]
            better = ~(value <= signal[:, c])  # also true where there is none yet: NaN
            image[better, c] = start + best[better]
            signal[better, c] = value[better]
        start += len(signals)
    return StrongestImages(image, signal)


def exemplars_dataset(
    strongest: StrongestImages, layers: xr.Dataset, ids: Sequence[str]
) -> xr.Dataset:
    """The group ``exemplars``.

    Parameters
    ----------
    layers
        the store's group ``layers``.
    ids
        of the images, by their position in the run.
    """
    dims = ("layer", "singular_vector", "place")
    return xr.Dataset(
        {"image": (dims, image_ids(strongest.image, ids)), "signal": (dims, strongest.signal)},
        coords={"layer": layers["layer"], "singular_vector": layers["singular_vector"]},
    )


def image_ids(image: npt.NDArray[np.int64], ids: Sequence[str]) -> npt.NDArray[np.object_]:
    """Ids of images by their position in the run; empty where the position is -1."""
    named = np.array([*ids, ""], dtype=object)
    return named[image]
