"""Names of classes for the labels that a data set gives."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddp_tasks.images import torchvision_sets
from ddp_tasks.images.dataset_parts import Indices, Parts
from ddp_tasks.images.items import LABELS, described
from ddp_tasks.images.labels import Labels, single_class, storable, target_transform_of
from schemas.parameters import ItemKeys

_LOG = logging.getLogger(__name__)

Names = Mapping[int, str]


def target_classes(parts: Parts, labels: Labels, keys: ItemKeys | None = None) -> tuple[str, ...]:
    """A name for each label, from 0 to the greatest label or the last one with a name.

    A label is named by its number if it has no name, or if two parts of the data set name it
    differently. Names that several labels share, such as ImageNet's cranes, are followed by the
    number.

    Parameters
    ----------
    labels
        of all items.
    keys
        as in ``items.picture_of``.
    """
    if labels.words:
        return _told_apart(labels.words)
    names: dict[int, str] = {}
    disputed: set[int] = set()
    for number, dataset in enumerate(parts.sets):
        here = parts.part == number
        of_part = _belonging(dataset, parts.index[here], labels.number[here], keys)
        disputed |= {i for i, name in of_part.items() if names.get(i, name) != name}
        names |= of_part
    if disputed:
        _LOG.warning(
            "parts of the data set name the labels %s differently; these are named by number",
            sorted(disputed)[:10],
        )
    named = max((i for i in names if i not in disputed), default=-1)
    count = max(int(labels.number.max(initial=-1)), named) + 1
    return _told_apart([str(i) if i in disputed else names.get(i, str(i)) for i in range(count)])


def words(parts: Parts, keys: ItemKeys | None = None) -> tuple[str, ...]:
    """Names in the order of the labels; empty unless all parts of a data set declare the same."""
    declared = [declared_names(dataset, keys) for dataset in parts.sets]
    first = declared[0] if declared else {}
    alike = all(names == first for names in declared)
    if not alike or sorted(first) != list(range(len(first))):
        return ()
    return tuple(first[i] for i in range(len(first)))


def declared_names(dataset: Any, keys: ItemKeys | None = None) -> Names:
    """Names by label, from the attributes ``classes`` and ``class_to_idx`` of a data set.

    Either may be a list, or a mapping in either direction. Where both hold the same names,
    ``class_to_idx`` is used, since it says which label has which name. A data set of Hugging Face
    declares names with the features of its items.
    """
    try:
        if named := _by_label(_feature_names(dataset, keys)):
            return named
        listed = _by_label(getattr(dataset, "classes", None))
        numbered = _by_label(getattr(dataset, "class_to_idx", None))
    except Exception:  # noqa: BLE001 - the person's own attributes may raise anything
        return {}
    if not listed or set(listed.values()) == set(numbered.values()):
        return numbered or listed
    return listed


def _feature_names(dataset: Any, keys: ItemKeys | None) -> Any:
    """The names that a data set of Hugging Face has for its column of labels; None if none."""
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return None
    labels = [keys.label] if keys else [name for name in LABELS if name in features]
    # The person's own transform may change the labels.
    if len(labels) != 1 or (getattr(dataset, "format", None) or {}).get("type") == "custom":
        return None
    return getattr(features.get(labels[0]), "names", None)


def _by_label(declared: Any) -> dict[int, str]:
    if isinstance(declared, Mapping):
        keys = {key: _number(key) for key in declared}
        values = {name: _number(value) for name, value in declared.items()}
        whole = all(isinstance(value, int) for value in declared.values())
        if None not in values.values() and (whole or None in keys.values()):
            # The first of several names of a label is taken: ImageNet lists synonyms.
            return {n: _name(name) for name, n in reversed(values.items()) if n is not None}
        if None not in keys.values():
            return {n: _name(declared[k]) for k, n in keys.items() if n is not None}
        return {}
    if isinstance(declared, np.ndarray):
        declared = declared.tolist()
    if not isinstance(declared, Sequence) or isinstance(declared, str | bytes):
        return {}
    return {i: _name(name) for i, name in enumerate(declared) if name is not None}


def _number(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() else None
    try:
        label = single_class(value)
    except (ValueError, TypeError):
        return None
    return label.value if isinstance(label.value, int) and not label.entries else None


def _name(name: Any) -> str:
    return storable(", ".join(map(str, name)) if isinstance(name, tuple | list) else str(name))


def _belonging(dataset: Any, index: Indices, number: Indices, keys: ItemKeys | None) -> Names:
    """The names that a data set declares, by the labels that its items have."""
    names = declared_names(dataset, keys)
    if not names:
        return names
    datasets = torchvision_sets.loaded()
    folders = datasets is not None and isinstance(dataset, datasets.DatasetFolder)
    listed = _listed(dataset, index) if folders else None
    if listed is not None and _as_found(dataset, names):
        if np.array_equal(listed, number):
            return names
        return _carried(
            names,
            dict(zip(listed.tolist(), number.tolist(), strict=True)),
            dataset,
            sure=_is_function(listed, number),
        )
    transform = target_transform_of(dataset)
    if transform is None:
        return names
    try:
        image = {i: single_class(transform(i)).value for i in names}
    except Exception:  # noqa: BLE001 - the person's own code; it may not take numbers
        image = {}
    unchanged = all(i == value for i, value in image.items()) and len(image) == len(names)
    # The person's own class need not apply the transform that it carries.
    own = not type(dataset).__getitem__.__module__.startswith("torchvision.")
    if not unchanged and (own or not set(number.tolist()) <= set(image.values())):
        image = {}
    return _carried(names, {k: v for k, v in image.items() if isinstance(v, int)}, dataset)


def _listed(dataset: Any, index: Indices) -> Indices | None:
    """Labels of the files in folders, before any transform."""
    try:
        return np.array([dataset.samples[i][1] for i in index], dtype=np.int64)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _as_found(dataset: Any, names: Names) -> bool:
    """Whether the names are those of the folders, numbered as the listed labels are."""
    numbers = getattr(dataset, "class_to_idx", {})
    return all(numbers.get(name) == i for i, name in names.items())


def _is_function(listed: Indices, number: Indices) -> bool:
    return len({*zip(listed.tolist(), number.tolist(), strict=True)}) == len({*listed.tolist()})


def _carried(names: Names, image: Mapping[int, int], dataset: Any, sure: bool = True) -> Names:
    """Names after a change of labels; a label that several labels become gets none."""
    times = Counter(image.values())
    carried = {image[i]: name for i, name in names.items() if i in image and times[image[i]] == 1}
    if not sure:
        carried = {}
    if carried != names:
        _LOG.warning(
            "%s changes its labels before it returns them; %s",
            described(dataset),
            "names of classes are changed likewise"
            if len(carried) == len(names)
            else "labels whose names are not known are named by number",
        )
    return carried


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(names)
    taken = {name for name in names if counts[name] == 1}
    apart = []
    for i, name in enumerate(names):
        own = name
        while counts[name] > 1 and (own == name or own in taken):
            own = f"{own} ({i})"
        taken.add(own)
        apart.append(own)
    return tuple(apart)
