"""Where the items of a data set come from: torch's Subset and ConcatDataset seen through.

Both only pass an index on, so their pictures may be read, named and labelled as in the data set
below them. Any other wrapper of a data set is asked itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from ddp_tasks.callables.called_code import ENDINGS
from ddp_tasks.images.items import described
from schemas.parameters import RunError
from schemas.shown import error_shown

#: A limit, since the flow keeps a few numbers for each item.
MOST_ITEMS = 2**30

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """The data sets in which the items of one lie: item i is ``sets[part[i]][index[i]]``."""

    sets: tuple[Any, ...]
    part: Indices
    index: Indices

    def __len__(self) -> int:
        return len(self.part)

    @property
    def whole(self) -> bool:
        """Whether there is only one data set, with all its items in order."""
        return len(self.sets) == 1 and np.array_equal(self.index, np.arange(len(self.index)))


def dataset_parts(dataset: Any) -> Parts:
    """Where the items of a data set come from.

    Raises
    ------
    RunError
        If it or a set below it is no map-style data set, has no length, or asks for items that
        the set below does not have.
    """
    sets: list[Any] = []
    part, index = _below(dataset, sets)
    return Parts(tuple(sets), part, index)


def _below(dataset: Any, sets: list[Any]) -> tuple[Indices, Indices]:
    getitem = getattr(type(dataset), "__getitem__", None)
    if getitem is ConcatDataset.__getitem__:
        pairs = [_below(below, sets) for below in dataset.datasets]
        part, index = (np.concatenate([pair[axis] for pair in pairs]) for axis in (0, 1))
        return part, index
    indices = _indices(dataset) if getitem is Subset.__getitem__ else None
    if indices is not None:
        part, index = _below(dataset.dataset, sets)
        outside = indices[(indices < -len(part)) | (indices >= len(part))]
        if len(outside):
            raise RunError(
                f"images: a Subset asks for item {outside[0]} of a data set of {len(part):,}"
            )
        return part[indices], index[indices]
    items = length(dataset)
    number = next((i for i, known in enumerate(sets) if known is dataset), len(sets))
    if number == len(sets):
        sets.append(dataset)
    return np.full(items, number, dtype=np.int64), np.arange(items, dtype=np.int64)


def _indices(subset: Any) -> Indices | None:
    """The indices that a Subset passes on; None if they are not integers."""
    try:
        indices = np.asarray([int(i) for i in subset.indices], dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    return indices if indices.ndim == 1 else None


def length(dataset: Any) -> int:
    """Number of items of a map-style data set.

    Raises
    ------
    RunError
        If it is no map-style data set, or its length fails or is too large.
    """
    if isinstance(dataset, Mapping):
        raise RunError(
            f"images.factory gave {described(dataset)} with the keys "
            f"{', '.join(map(str, list(dataset)[:5]))}; one data set is needed, such as one of "
            "these"
        )
    lacks = not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__")
    if lacks or isinstance(dataset, IterableDataset | DataLoader):
        raise RunError(
            f"images.factory gave {described(dataset)}, which has no length or index; a map-style "
            "dataset of (image, label) is needed"
        )
    try:
        items = len(dataset)
    except ENDINGS as error:  # the person's own code may raise anything
        raise RunError(
            f"images.factory gave {described(dataset)}, whose length fails: {error_shown(error)}"
        ) from error
    if items > MOST_ITEMS:
        raise RunError(
            f"images.factory gave {described(dataset)}, which says that it has {items:,} items; up "
            f"to {MOST_ITEMS:,} are allowed"
        )
    return items
