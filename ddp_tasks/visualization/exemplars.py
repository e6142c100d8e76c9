"""Exemplary images: those of a set with the strongest signals (section 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.significance import Parts


@dataclass(frozen=True)
class StrongestImages:
    """Images in descending order of signal; those with equal signals keep their order."""

    image: npt.NDArray[np.int64]
    """position in the run; the last axis is the place; -1 where there is no image."""
    signal: npt.NDArray[np.float32]
    """NaN where there is no image."""


def strongest_images(parts: Parts, places: int) -> StrongestImages:
    """The strongest images of every singular vector of every layer, in one pass.

    Eq. 19 restricted to the images of the run.

    Returns
    -------
    arrays of shape (layer, singular vector, place); at most as many places as images
    """
    kept: StrongestImages | None = None
    start = 0
    shape: tuple[int, ...] = ()
    for signals, _ in parts():
        shape = signals.shape[1:]
        kept = strongest_of(signals.reshape(len(signals), math.prod(shape)), start, places, kept)
        start += len(signals)
    if kept is None:
        raise ValueError("there are no images")
    filled = min(places, start)
    return StrongestImages(
        kept.image[:, :filled].reshape(*shape, filled),
        kept.signal[:, :filled].reshape(*shape, filled),
    )


def strongest_of(
    signals: npt.NDArray[np.float32], start: int, places: int, kept: StrongestImages | None = None
) -> StrongestImages:
    """The strongest images of each singular vector, among a part of the images and those kept.

    Parameters
    ----------
    signals
        shape (n, v); NaN for images that could not be read and for vectors past the rank.
    start
        position in the run of the first image.
    kept
        the strongest of images that all come before these.

    Returns
    -------
    arrays of shape (v, places)
    """
    if kept is None:
        kept = no_images(signals.shape[1], places)
    # Sorting takes longest here, so images that cannot win are left out of it: those that do not
    # exceed the last one kept, or are not among the strongest of their own part.
    last = kept.signal[:, -1]
    if np.isnan(last).any() and len(signals) > places:
        lowest = np.nan_to_num(signals, nan=-np.inf)
        least = np.partition(lowest, -places, axis=0)[-places]
        possible = (signals >= least) & ~(signals <= last)
    else:
        possible = ~(signals <= last) & ~np.isnan(signals)
    image, vector = np.nonzero(possible)
    return _merged(kept, vector, start + image, signals[image, vector])


def merge_strongest(one: StrongestImages, other: StrongestImages) -> StrongestImages:
    """The strongest images among those of two parts, in whichever order they come."""
    vector, place = np.nonzero(other.image >= 0)
    return _merged(one, vector, other.image[vector, place], other.signal[vector, place])


def _merged(
    kept: StrongestImages,
    vector: npt.NDArray[np.int64],
    image: npt.NDArray[np.int64],
    signal: npt.NDArray[np.float32],
) -> StrongestImages:
    """The images kept and more, one entry per signal, sorted again for each singular vector."""
    vectors, places = kept.image.shape
    held, held_place = np.nonzero(kept.image >= 0)
    vector = np.concatenate([held, vector])
    image = np.concatenate([kept.image[held, held_place], image])
    signal = np.concatenate([kept.signal[held, held_place], signal])
    order = np.lexsort((image, -signal, vector))
    vector, image, signal = vector[order], image[order], signal[order]
    place = np.arange(len(vector)) - np.searchsorted(vector, np.arange(vectors))[vector]
    first = place < places
    merged = no_images(vectors, places)
    merged.image[vector[first], place[first]] = image[first]
    merged.signal[vector[first], place[first]] = signal[first]
    return merged


def no_images(*shape: int) -> StrongestImages:
    """Places that no image has taken."""
    return StrongestImages(np.full(shape, -1), np.full(shape, np.nan, dtype=np.float32))


def class_exemplars(
    parts: Parts, singular_vectors: npt.NDArray[np.bool_], target_classes: int
) -> StrongestImages:
    """For each set of vectors, the image of each target class with the greatest summed signal.

    Eq. 20 with weights 1, restricted to the images of a class.

    Parameters
    ----------
    parts
        of one layer: signals (n, singular vectors).
    singular_vectors
        shape (set, singular vector); which vectors belong to each set (an equivalence class).

    Returns
    -------
    arrays of shape (set, class); a single place, so without an axis for it
    """
    members = vector_sets(singular_vectors)
    kept = no_images(len(members), target_classes)
    start = 0
    for signals, target in parts():
        kept = merge_class_exemplars(
            kept, class_exemplars_of(signals, target, start, members, target_classes)
        )
        start += len(signals)
    return kept


def vector_sets(singular_vectors: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """The singular vectors of each set, from a table of shape (set, singular vector)."""
    return [np.flatnonzero(inside) for inside in singular_vectors]


def class_exemplars_of(
    signals: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    start: int,
    members: Sequence[npt.NDArray[np.int64]],
    target_classes: int,
) -> StrongestImages:
    """Class exemplars of a part of the images; see ``class_exemplars``.

    Parameters
    ----------
    signals
        shape (n, singular vectors).
    target
        shape (n,); -1 for an image that could not be read.
    start
        position in the run of the first image.
    members
        the singular vectors of each set.

    Returns
    -------
    arrays of shape (set, class)
    """
    exemplars = no_images(len(members), target_classes)
    summed = _summed(signals, members)
    sets = np.arange(len(members))
    # The signals of an image that does not reach the layer are NaN, not the sum 0.
    target = np.where(np.isnan(signals[:, 0]), -1, target)
    for c in np.unique(target[target >= 0]):
        rows = np.flatnonzero(target == c)
        best = rows[summed[rows].argmax(axis=0)]
        exemplars.image[:, c] = start + best
        exemplars.signal[:, c] = summed[best, sets]
    return exemplars


def merge_class_exemplars(one: StrongestImages, other: StrongestImages) -> StrongestImages:
    """The stronger of two parts' class exemplars, in whichever order they come."""
    earlier = (other.signal == one.signal) & (other.image < one.image)
    better = (other.image >= 0) & ((one.image < 0) | (other.signal > one.signal) | earlier)
    return StrongestImages(
        np.where(better, other.image, one.image), np.where(better, other.signal, one.signal)
    )


def _summed(
    signals: npt.NDArray[np.float32], members: Sequence[npt.NDArray[np.int64]]
) -> npt.NDArray[np.float32]:
    """Signals summed over each set of vectors, shape (n, set); padding adds nothing.

    Each row is summed separately in float64. A matrix product would give sums that depend on
    which part of the images a row came in.
    """
    summed = np.zeros((len(signals), len(members)), dtype=np.float32)
    filled = [s for s, inside in enumerate(members) if len(inside)]
    if filled:
        taken = np.concatenate([members[s] for s in filled])
        starts = np.cumsum([0, *(len(members[s]) for s in filled[:-1])])
        terms = np.nan_to_num(signals[:, taken].astype(np.float64), nan=0)
        summed[:, filled] = np.add.reduceat(terms, starts, axis=1)
    return summed


def exemplars_template(layers: xr.Dataset, places: int) -> xr.Dataset:
    """The group ``exemplars`` without any images yet; its arrays take no memory.

    Parameters
    ----------
    layers
        the store's group ``layers``.
    """
    shape = (layers.sizes["layer"], layers.sizes["singular_vector"], places)
    dims = ("layer", "singular_vector", "place")
    return xr.Dataset(
        {
            "image": (dims, np.broadcast_to(np.array("", dtype=object), shape)),
            "signal": (dims, np.broadcast_to(np.float32(np.nan), shape)),
        },
        coords={"layer": layers["layer"], "singular_vector": layers["singular_vector"]},
    )


def image_ids(image: npt.NDArray[np.int64], ids: Sequence[str]) -> npt.NDArray[np.object_]:
    """Ids of images by their position in the run; empty where the position is -1."""
    named = np.array([*ids, ""], dtype=object)
    return named[image]
