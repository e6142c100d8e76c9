"""Exemplary images: those of a set with the greatest and the least signals (section 6).

Signals are stored as they are: the strongest images of the negative direction have the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.quantiles import order_preserving, values_of
from ddp_tasks.significance.significance import Parts
from ddp_tasks.weights.signed_vectors import DIRECTIONS

#: Images looked at together while few or none have been seen.
_FIRST = 32

#: Signals compared at a time, few enough to stay in the processor's cache.
_COMPARED = 1 << 16

#: Images that wait to be sorted into their places, for each place at most.
_WAITING = 4

_HALF, _LOW, _NONE = np.uint64(32), np.uint64(2**32 - 1), np.uint64(2**64 - 1)


@dataclass(frozen=True)
class StrongestImages:
    """Images by the strength of their signals, the strongest first.

    In the negative direction the least signal is the strongest. Of images with equal signals, the
    earlier in the run comes first.
    """

    image: npt.NDArray[np.int64]
    """position in the run; -1 where there is no image."""
    signal: npt.NDArray[np.float32]
    """as it is in the cube; NaN where there is no image."""


class Exemplars(NamedTuple):
    """The strongest images of all, and those of each target class."""

    overall: StrongestImages
    """shape (direction, vector, place)."""
    of_class: StrongestImages
    """shape (direction, vector, class); one image of each class."""


@dataclass
class RunningExemplars:
    """The exemplars of the images seen so far, which come in the order of the run.

    Eq. 19 restricted to the images of a run, and to those of a class, in both directions.
    """

    vectors: int
    places: int
    target_classes: int
    _seen: int = 0
    _tightened: int = 0
    _directions: list[_Strongest] = field(init=False)

    def __post_init__(self) -> None:
        sizes = (self.vectors, self.places, self.target_classes)
        self._directions = [_Strongest(*sizes, sign) for sign in (1, -1)]

    def add(
        self, signals: npt.NDArray[np.float32], target: npt.NDArray[np.int64], start: int
    ) -> None:
        """See a part of the images.

        Parameters
        ----------
        signals
            shape (n, vectors); NaN of images that could not be read or do not reach the layer,
            and past the rank.
        target
            shape (n,); -1 for an image that could not be read.
        start
            position in the run of the first image; all images seen before come before it.
        """
        if not self.vectors:
            return
        image = np.arange(start, start + len(signals))
        absent = (target < 0) | np.isnan(signals[:, 0])
        if absent.any():
            signals, target, image = signals[~absent], target[~absent], image[~absent]
        # Few of many images are stronger than the strongest of as many others.
        first = 0
        while first < len(signals):
            rows = slice(first, first + max(_FIRST, self._seen))
            first, self._seen = rows.stop, self._seen + len(signals[rows])
            tighten = self._seen >= 2 * self._tightened
            for direction in self._directions:
                direction.add(signals[rows], target[rows], image[rows])
                if tighten:
                    direction.tighten()
            if tighten:
                self._tightened = self._seen

    def found(self) -> Exemplars:
        """The exemplars of all images seen."""
        for direction in self._directions:
            direction.tighten()
        return Exemplars(
            _stacked([d.found(d.overall) for d in self._directions]),
            _stacked([d.found(d.of_class.T) for d in self._directions]),
        )


class _Strongest:
    """The strongest images so far of each vector in one direction, overall and by class.

    An image and its signal are kept as one number of 64 bits, which is smaller the stronger the
    signal and the earlier the image. So a sort of numbers settles everything.
    """

    def __init__(self, vectors: int, places: int, target_classes: int, sign: int) -> None:
        self.overall = np.full((vectors, places), _NONE)
        self.of_class = np.full((target_classes, vectors), _NONE)
        self._last = np.full(vectors, _NONE)
        # Images that may take a place: to sort them once in a while takes less time.
        self._waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]] = []
        self._waiting_images = 0
        self._sign = sign
        self._stronger = np.greater if sign > 0 else np.less
        # A signal that is not stronger than the bound of its class is no exemplar.
        self._bound = np.full((target_classes, vectors), -sign * np.float32(np.inf))
        # New memory for each part would take longer than the comparing.
        self._rows = max(1, _COMPARED // max(1, vectors))
        self._bounds = np.empty((self._rows, vectors), dtype=np.float32)
        self._flags = np.empty((0, vectors), dtype=np.bool_)

    def add(
        self,
        signals: npt.NDArray[np.float32],
        target: npt.NDArray[np.int64],
        image: npt.NDArray[np.int64],
    ) -> None:
        """See images, all of which come after those seen before."""
        if len(self._flags) < len(signals):
            self._flags = np.empty(signals.shape, dtype=np.bool_)
        for first in range(0, len(signals), self._rows):
            rows = slice(first, min(first + self._rows, len(signals)))
            bounds = self._bounds[: rows.stop - first]
            self._bound.take(target[rows], axis=0, out=bounds, mode="clip")
            self._stronger(signals[rows], bounds, out=self._flags[rows])
        place = np.flatnonzero(self._flags[: len(signals)])
        row = place // signals.shape[1]
        vector = place - row * signals.shape[1]
        signal = signals.reshape(-1).take(place)
        number = order_preserving(np.negative(signal) if self._sign > 0 else signal)
        key = number.astype(np.uint64) << _HALF | image.take(row).astype(np.uint64)
        cell = target.take(row) * signals.shape[1] + vector
        of_class = self.of_class.reshape(-1)
        np.minimum.at(of_class, cell, key)
        beats = np.flatnonzero(key < self._last.take(vector))
        self._waiting.append((vector.take(beats), key.take(beats)))
        self._waiting_images += len(beats)
        if self._waiting_images > _WAITING * self.overall.size:
            self.tighten()
        # The bounds of other classes are left a little weaker than they could be.
        self._bound.reshape(-1)[cell] = self._weaker(of_class.take(cell), self._last.take(vector))

    def tighten(self) -> None:
        """Put the images that wait into their places, and strengthen all bounds."""
        if self._waiting:
            self._into_places(*map(np.concatenate, zip(*self._waiting, strict=True)))
        self._waiting, self._waiting_images = [], 0
        self._bound[:] = self._weaker(self.of_class, self._last)

    def _weaker(
        self, one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.float32]:
        """The weaker of two signals, infinitely weak where an image is missing."""
        keys = np.maximum(one, other)
        return np.where(keys == _NONE, np.float32(-self._sign * np.inf), self._signal(keys))

    def _into_places(self, vector: npt.NDArray[np.int64], key: npt.NDArray[np.uint64]) -> None:
        if not len(vector):
            return
        vectors, places = self.overall.shape
        # NumPy sorts numbers of 16 bits by counting.
        order = np.argsort(vector.astype(np.min_scalar_type(vectors)), kind="stable")
        vector, key = vector[order], key[order]
        first = np.flatnonzero(np.diff(vector, prepend=-1))
        changed, count = vector[first], np.diff(first, append=len(vector))
        rows = np.full((len(changed), places + count.max()), _NONE)
        rows[:, :places] = self.overall[changed]
        within = np.arange(len(vector)) - np.repeat(first, count)
        rows[np.repeat(np.arange(len(changed)), count), places + within] = key
        rows.sort(axis=1)
        self.overall[changed] = rows[:, :places]
        self._last[changed] = rows[:, places - 1]

    def found(self, keys: npt.NDArray[np.uint64]) -> StrongestImages:
        """The images and signals of such numbers."""
        none = keys == _NONE
        image = np.where(none, -1, (keys & _LOW).astype(np.int64))
        return StrongestImages(image, np.where(none, np.float32(np.nan), self._signal(keys)))

    def _signal(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
        # Adding zero makes zeros positive.
        signal = values_of((keys >> _HALF).astype(np.uint32))
        return np.float32(-self._sign) * signal + np.float32(0)


def no_images(*shape: int) -> StrongestImages:
    """Places that no image has taken."""
    return StrongestImages(np.full(shape, -1), np.full(shape, np.nan, dtype=np.float32))


def _stacked(directions: Sequence[StrongestImages]) -> StrongestImages:
    return StrongestImages(
        np.stack([one.image for one in directions]), np.stack([one.signal for one in directions])
    )


def layer_exemplars(parts: Parts, places: int, target_classes: int) -> Exemplars:
    """The exemplars of every singular vector of one layer, in one pass.

    Parameters
    ----------
    parts
        of one layer: signals (n, singular vectors), and target classes.

    Raises
    ------
    ValueError
        If there are no images.

    References
    ----------
    Praggastis et al. 2022, section 6, Eq. 19 restricted to images.
    """
    running: RunningExemplars | None = None
    start = 0
    for signals, target in parts():
        if running is None:
            running = RunningExemplars(signals.shape[1], places, target_classes)
        running.add(signals, target, start)
        start += len(signals)
    if running is None:
        raise ValueError("there are no images")
    return running.found()


def exemplars_of_sets(
    parts: Parts, sets: Sequence[VectorSet], places: int, target_classes: int
) -> Exemplars:
    """The exemplars of sets of vectors, by the sum of their signals.

    Parameters
    ----------
    parts
        as in ``layer_exemplars``.
    sets
        singular vectors with their signs, such as those of an equivalence class.

    Returns
    -------
    arrays with the sets in place of the vectors

    References
    ----------
    Praggastis et al. 2022, Eq. 20 with weights 1, restricted to images.
    """
    running, start = RunningExemplars(len(sets), places, target_classes), 0
    for signals, target in parts():
        running.add(summed(signals, sets), target, start)
        start += len(signals)
    return running.found()


#: Sign of each of some singular vectors in a sum of signals; see ``signed_vectors.signs``.
VectorSet = Mapping[int, int]


def summed(signals: npt.NDArray[np.float32], sets: Sequence[VectorSet]) -> npt.NDArray[np.float32]:
    """Signals summed over each set of vectors, shape (n, set); padding adds nothing.

    Each row is summed separately in float64. A matrix product would give sums that depend on
    which part of the images a row came in. The sums of an image that does not reach the layer are
    NaN.
    """
    sums = np.zeros((len(signals), len(sets)), dtype=np.float32)
    filled = [s for s, inside in enumerate(sets) if len(inside)]
    if filled:
        taken = [vector for s in filled for vector in sets[s]]
        sign = np.array([sets[s][vector] for s in filled for vector in sets[s]], dtype=np.float64)
        starts = np.cumsum([0, *(len(sets[s]) for s in filled[:-1])])
        terms = np.nan_to_num(sign * signals[:, taken].astype(np.float64), nan=0)
        sums[:, filled] = np.add.reduceat(terms, starts, axis=1)
    sums[np.isnan(signals[:, 0])] = np.nan
    return sums


def exemplars_template(
    layers: xr.Dataset, places: int, target_classes: Sequence[str]
) -> xr.Dataset:
    """The group ``exemplars`` without any images yet; its arrays take no memory.

    Parameters
    ----------
    layers
        the store's group ``layers``.
    target_classes
        names of all classes.
    """
    vectors = (len(DIRECTIONS), layers.sizes["layer"], layers.sizes["singular_vector"])
    dims = ("direction", "layer", "singular_vector")

    def empty(value: Any, last: str, length: int) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
        return (*dims, last), np.broadcast_to(value, (*vectors, length))

    return xr.Dataset(
        {
            "image": empty(np.array("", dtype=object), "place", places),
            "signal": empty(np.float32(np.nan), "place", places),
            "class_image": empty(np.int32(-1), "target_class", len(target_classes)),
            "class_signal": empty(np.float32(np.nan), "target_class", len(target_classes)),
        },
        coords={
            "direction": np.array(DIRECTIONS, dtype=object),
            "layer": layers["layer"],
            "singular_vector": layers["singular_vector"],
            "target_class": np.array(target_classes, dtype=object),
        },
    )


def image_ids(image: npt.NDArray[np.int64], ids: Sequence[str]) -> npt.NDArray[np.object_]:
    """Ids of images by their position in the run; empty where the position is -1."""
    named = np.array([*ids, ""], dtype=object)
    return named[image]
