"""The picture and the label of one item of a data set, wherever they stand in the item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from schemas.parameters import ItemKeys

#: Usual names of the picture and of the label in items that are mappings.
_PICTURES = ("image", "img", "pixel_values")
LABELS = ("label", "labels", "target")

_SHOWN = 60


class ItemError(ValueError):
    """An item in which picture or label cannot be found."""


def picture_of(item: Any, keys: ItemKeys | None = None) -> Any:
    """The picture of an item.

    Parameters
    ----------
    keys
        of picture and label, the run's ``images.keys``; None takes the first and second entry of
        a pair, and the usual names in a mapping.

    Raises
    ------
    ItemError
        If the item has no such entry, or is neither a pair nor a mapping.
    """
    return _entry(item, 0, _PICTURES, keys.image if keys else None)


def label_of(item: Any, keys: ItemKeys | None = None) -> Any:
    """The label of an item; see ``picture_of``."""
    return _entry(item, 1, LABELS, keys.label if keys else None)


def _entry(item: Any, place: int, names: Sequence[str], key: str | int | None) -> Any:
    if isinstance(item, Mapping):
        return _of_mapping(item, names, key)
    if not isinstance(item, Sequence) or isinstance(item, str | bytes):
        raise ItemError(
            f"it is {described(item)}; a pair of picture and label, or a mapping with both, is "
            "needed"
        )
    entry = place if key is None else key
    if not isinstance(entry, int):
        raise ItemError(
            f"images.keys names {entry!r}, but the item is a {type(item).__name__} of {len(item)}; "
            "its entries have numbers"
        )
    if not -len(item) <= entry < len(item):
        raise ItemError(
            f"it is a {type(item).__name__} of {len(item)} and has no entry {entry}; a pair of "
            "picture and label is needed"
        )
    return item[entry]


def _of_mapping(item: Mapping[Any, Any], names: Sequence[str], key: str | int | None) -> Any:
    if key is not None:
        if key in item:
            return item[key]
        raise ItemError(f"images.keys names {key!r}, but the item has {_listed(item)}")
    present = [name for name in names if name in item]
    if len(present) != 1:
        why = "several of" if present else "none of"
        raise ItemError(
            f"it is a mapping with {_listed(item)}, {why} {', '.join(names)}; images.keys says "
            "which are picture and label, such as {image: ..., label: ...}"
        )
    return item[present[0]]


def described(value: object) -> str:
    """A value in a few words: its type, and the shape of an array."""
    if isinstance(value, Tensor):
        return _with_article(
            f"{str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
        )
    if isinstance(value, np.ndarray):
        return _with_article(f"{value.dtype} array {value.shape}")
    return f"a {type(value).__module__}.{type(value).__name__}"


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind.startswith("int") else f"a {kind}"


def shown(value: object) -> str:
    """A value as Python writes it, shortened if that is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _listed(item: Mapping[Any, Any]) -> str:
    return f"the keys {shown([str(key) for key in item])}"
