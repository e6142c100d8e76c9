"""The labels of a data set, as its items give them, even if it also has lists of labels.

The label of item i is ``dataset[i][1]``. A list is used instead only for torchvision's own classes
with their own index and no target transform, and only if a sample of items agrees with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.images import torchvision_sets
from ddp_tasks.images.dataset_parts import Indices, Parts
from ddp_tasks.images.items import ItemError, described, label_of, shown
from schemas.parameters import ItemKeys, RunError
from schemas.shown import error_shown

_LOG = logging.getLogger(__name__)

#: Far more classes than any network has: a greater label is an error, and each label has a name.
MOST_CLASSES = 2**24

#: Items that are compared with a list of labels.
_SAMPLE = 16
_SECONDS_BETWEEN_LINES = 20.0


def _second(listing: str) -> Callable[[Any], Sequence[Any]]:
    return lambda dataset: [entry[1] for entry in getattr(dataset, listing)]


def _attribute(listing: str) -> Callable[[Any], Sequence[Any]]:
    return lambda dataset: getattr(dataset, listing)


#: How torchvision's classes list the labels that their own index returns.
_LISTS: Sequence[tuple[Callable[[Any], Sequence[Any]], Sequence[str]]] = (
    (_attribute("targets"), ("MNIST", "CIFAR10", "USPS", "LFWPeople")),
    (_attribute("labels"), ("SVHN", "STL10", "SEMEION")),
    (_attribute("_labels"), ("DTD", "FGVCAircraft", "Food101", "Flowers102", "SUN397")),
    (_second("samples"), ("DatasetFolder",)),
    (_second("_samples"), ("StanfordCars", "FER2013", "GTSRB", "Imagenette", "RenderedSST2")),
    (_second("imgs"), ("Places365",)),
    (_second("_flat_character_images"), ("Omniglot",)),
    (_attribute("y"), ("Caltech256",)),
)

_BY_HAND = ("targets", "labels", "_labels")


@dataclass(frozen=True)
class Labels:
    """The class number of every item, and the words that the labels were, if any."""

    number: Indices
    words: tuple[str, ...] = ()
    """by class number; empty if the data set gave numbers."""


@dataclass(frozen=True)
class _Label:
    value: int | str
    entries: int = 0
    """length of a one-hot vector; 0 for a single value."""


def labels_of(parts: Parts, keys: ItemKeys | None = None, words: Sequence[str] = ()) -> Labels:
    """The labels of all items of a data set.

    Parameters
    ----------
    keys
        as in ``items.picture_of``.
    words
        names of classes in the order of their numbers, which number labels that are words; if a
        label is not among them, all are numbered in alphabetical order.

    Raises
    ------
    RunError
        Naming the first item that fails or whose label is no single class.
    """
    values: npt.NDArray[Any] = np.empty(len(parts), dtype=object)
    lengths: set[int] = set()
    numeric = True
    for number, dataset in enumerate(parts.sets):
        here = np.flatnonzero(parts.part == number)
        items, places = np.unique(parts.index[here], return_inverse=True)
        listed = _listed(dataset, items, keys)
        if listed is None:
            item_labels = _by_index(dataset, items, keys)
            lengths |= {label.entries for label in item_labels}
            numeric &= all(isinstance(label.value, int) for label in item_labels)
            listed = np.array([label.value for label in item_labels], dtype=object)
        values[here] = listed[places]
    if len(lengths) > 1:
        raise RunError(
            f"the labels of the images differ in form: vectors of {sorted(lengths)} entries, 0 for "
            "a single number; one form is needed"
        )
    if numeric:
        return Labels(_numbers(values))
    return _numbered(values, words)


@contextmanager
def remembered() -> Generator[None, None, None]:
    """Within this context, labels of one data set are read once, however often it is opened.

    A run opens its images several times, and reading labels may mean reading every picture.
    """
    with _MEMORY.lock:
        _MEMORY.uses += 1
    try:
        yield
    finally:
        with _MEMORY.lock:
            _MEMORY.uses -= 1
            if not _MEMORY.uses:
                _MEMORY.known.clear()


def labels_once(key: str, read: Callable[[], Labels]) -> Labels:
    """Labels remembered under this key within ``remembered``, or else read now."""
    known = _MEMORY.known.get(key) if _MEMORY.uses else None
    if known is None:
        known = read()
        if _MEMORY.uses:
            _MEMORY.known[key] = known
    return known


class _Memory:
    def __init__(self) -> None:
        self.lock, self.uses = threading.Lock(), 0
        self.known: dict[str, Labels] = {}


_MEMORY = _Memory()


def _listed(dataset: Any, index: Indices, keys: ItemKeys | None) -> npt.NDArray[Any] | None:
    """Labels as torchvision lists them; None unless the items agree."""
    read = list_of_labels(dataset)
    if read is None or keys is not None or target_transform_of(dataset) is not None:
        return None
    try:
        numbers = np.asarray(read(dataset))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(index):
            return None
        listed = numbers[index]
    except Exception:  # noqa: BLE001 - the list of a data set changed by hand may be anything
        return None
    for place in np.unique(np.linspace(0, len(index) - 1, _SAMPLE).astype(int)):
        try:
            label = single_class(dataset[int(index[place])][1])
        except Exception:  # noqa: BLE001 - an unreadable picture does not give its label
            continue
        if label.value != listed[place]:
            _LOG.warning(
                "the list of labels of %s gives %d for item %d, which itself says %s: labels are "
                "read item by item",
                described(dataset),
                listed[place],
                index[place],
                label.value,
            )
            return None
    return listed


def list_of_labels(dataset: Any) -> Callable[[Any], Sequence[Any]] | None:
    """How a data set lists its labels; None unless torchvision's own index gives its items."""
    for read, names in _LISTS:
        if torchvision_sets.has_index_of(dataset, *names):
            return read
    return None


def target_transform_of(dataset: Any) -> Any:
    """The transform that a data set of torchvision applies to its labels; None if none."""
    own = getattr(dataset, "target_transform", None)
    both = getattr(dataset, "transforms", None)
    if own is not None or both is None:
        return own
    # StandardTransform has one transform for pictures and one for labels; others may do anything.
    return getattr(both, "target_transform", both)


def _by_index(dataset: Any, index: Indices, keys: ItemKeys | None) -> list[_Label]:
    """Labels from the items; for unreadable items, from a list that agrees with all others."""
    labels: dict[int, _Label] = {}
    failed: dict[int, BaseException] = {}
    for i in _shown_progress(index, dataset):
        try:
            item = dataset[i]
        except ENDINGS as error:  # the person's own code may raise anything
            failed[i] = error
            if not _lists_by_hand(dataset):
                break
            continue
        labels[i] = _of_item(item, i, keys)
    if failed:
        labels |= _of_unreadable(dataset, labels, failed)
    return [labels[int(i)] for i in index]


def _of_item(item: Any, index: int, keys: ItemKeys | None) -> _Label:
    try:
        label = label_of(item, keys)
    except ItemError as error:
        raise RunError(f"images: item {index} has no label: {error}") from None
    try:
        return single_class(label)
    except ValueError as error:
        raise RunError(f"images: item {index} has the label {shown(label)}: {error}") from None


def _of_unreadable(
    dataset: Any, readable: Mapping[int, _Label], failed: Mapping[int, BaseException]
) -> dict[int, _Label]:
    for listed in _lists_by_hand(dataset):
        try:
            agrees = bool(readable) and all(
                single_class(listed[i]).value == label.value for i, label in readable.items()
            )
            if agrees:
                return {i: single_class(listed[i]) for i in failed}
        except Exception:  # noqa: BLE001 - no list of labels
            continue
    first, error = next(iter(failed.items()))
    raise RunError(
        f"image {first} cannot be read, nor can its label: {error_shown(error)}; "
        "unreadable images are allowed in a dataset whose attribute targets lists the labels and "
        "agrees with its other items"
    ) from error


def _lists_by_hand(dataset: Any) -> list[Any]:
    return [
        listed
        for name in _BY_HAND
        if isinstance(listed := getattr(dataset, name, None), Sequence | np.ndarray | Tensor)
        and len(listed) == len(dataset)
    ]


def single_class(label: Any) -> _Label:
    """The one class that a label means.

    Parameters
    ----------
    label
        a whole number, a word, an array or list of one of them, or a one-hot vector.

    Raises
    ------
    ValueError
        If it means no class or several.
    """
    if isinstance(label, Tensor | np.ndarray | np.generic):
        label = label.tolist()
    if isinstance(label, list | tuple):
        return _of_list(label)
    if isinstance(label, bytes):
        label = label.decode("utf-8", "backslashreplace")
    if isinstance(label, str):
        return _Label(storable(label))
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, int):
        raise ValueError("the number of one class, its name, or a one-hot vector is needed")
    if label < 0:
        raise ValueError("labels start at 0")
    if label >= MOST_CLASSES:
        raise ValueError(f"labels up to {MOST_CLASSES - 1:,} are allowed")
    return _Label(int(label))


def storable(name: str) -> str:
    """A name that UTF-8 can encode; lone surrogates are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _of_list(entries: Sequence[Any]) -> _Label:
    while len(entries) == 1:
        if not isinstance(entries[0], list | tuple):
            return single_class(entries[0])
        entries = entries[0]
    if not all(isinstance(entry, int | float) and entry in (0, 1) for entry in entries):
        raise ValueError("it has several entries and is not a one-hot vector; one class is needed")
    if sum(entries) != 1:
        raise ValueError(
            f"{int(sum(entries))} of its {len(entries)} entries are 1; a one-hot vector has one"
        )
    return _Label(list(entries).index(1), len(entries))


def _numbers(values: npt.NDArray[Any]) -> Indices:
    # Compared before the conversion, in which numbers past 64 bits would wrap.
    for bad in np.flatnonzero((values < 0) | (values >= MOST_CLASSES))[:1]:
        raise RunError(
            f"the dataset has the label {values[bad]}; labels start at 0 and labels up to "
            f"{MOST_CLASSES - 1:,} are allowed"
        )
    return values.astype(np.int64)


def _numbered(values: npt.NDArray[Any], words: Sequence[str]) -> Labels:
    """Words numbered by the names of the classes, or else in alphabetical order."""
    if any(isinstance(value, int) for value in values):
        word, number = (next(v for v in values if isinstance(v, kind)) for kind in (str, int))
        raise RunError(
            f"labels are numbers and words, such as {number} and {word!r}; one kind is needed"
        )
    distinct = sorted(set(values.tolist()))
    if set(distinct) <= set(words):
        named = tuple(words)
    elif all(word.isascii() and word.isdecimal() for word in distinct):
        return Labels(_numbers(np.array([int(value) for value in values], dtype=object)))
    else:
        named = tuple(distinct)
        _LOG.warning(
            "labels are words that the data set does not number by its attribute classes; they "
            "are numbered in the order of the alphabet: %s",
            shown(dict(enumerate(distinct))),
        )
    number_of = {name: i for i, name in reversed(list(enumerate(named)))}
    return Labels(np.array([number_of[value] for value in values], dtype=np.int64), named)


def _shown_progress(index: Indices, dataset: Any) -> Iterator[int]:
    """Indices one by one; if that takes long, the log reports progress."""
    last = time.monotonic()
    for done, i in enumerate(index.tolist()):
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            _LOG.warning(
                "labels of %s are read item by item: %s of %s",
                described(dataset),
                f"{done:,}",
                f"{len(index):,}",
            )
        yield i
