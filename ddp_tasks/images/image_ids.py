"""Stable ids of images: paths of their files below the root, or indices in the data set."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from ddp_tasks.images.dataset_parts import Indices, Parts
from ddp_tasks.images.labels import single_class
from ddp_tasks.images.torchvision_sets import has_index_of
from schemas.parameters import RunError

_LOG = logging.getLogger(__name__)


def image_ids(parts: Parts, chosen: Indices, number: Indices) -> tuple[str, ...]:
    """An id for each image of a run, independent of where the data set lies.

    The id is the path of the image's file below the root of its data set. For files elsewhere it
    is the path as listed or, if absolute, the part below the folder that all such paths share.
    Without files it is the index in the data set. If images share an id, as when a Subset takes
    one twice or two folders hold files of one name, ``#1``, ``#2`` and so on are added in their
    order, and the log says so.

    Parameters
    ----------
    chosen
        indices of the run's images in the data set.
    number
        labels of these images.

    Raises
    ------
    RunError
        If an id with such a number is another image's id.
    """
    width = len(str(len(parts) - 1))
    ids = [f"{i:0{width}d}" for i in chosen.tolist()]
    for part, dataset in enumerate(parts.sets):
        here = np.flatnonzero(parts.part[chosen] == part)
        paths = _paths(dataset, parts.index[chosen[here]], number[here])
        if paths is None or not len(here):
            continue
        below = _below(dataset, paths)
        for place in here.tolist():
            ids[place] = below(paths[int(parts.index[chosen[place]])])
    return _told_apart(ids)


def _paths(dataset: Any, index: Indices, number: Indices) -> list[str] | None:
    """The paths of the files of a data set's items; None where they are not certain."""
    torchvision_s = has_index_of(dataset, "DatasetFolder")
    samples = getattr(dataset, "samples", None)
    try:
        if samples is None or len(samples) != len(dataset):
            return None
        paths = [os.fspath(sample[0]) for sample in samples]
        if not all(isinstance(path, str) for path in paths):
            return None
        if not torchvision_s:
            # A list in another order than the items would name other files: so its labels must
            # be those of the items, or map to them one by one.
            listed = [single_class(samples[i][1]).value for i in index.tolist()]
            pairs = set(zip(listed, number.tolist(), strict=True))
            if len(pairs) > len(set(listed)):
                return None
    except Exception:  # noqa: BLE001 - samples may be anything
        return None
    return paths


def _below(dataset: Any, paths: Sequence[str]) -> Any:
    try:
        root = os.fspath(getattr(dataset, "root", None) or "")
    except TypeError:
        root = ""
    # Listed paths begin with the root as given; comparing with pathlib takes ten times as long.
    start = root.rstrip(os.sep) + os.sep if root else ""
    outside = [
        p for p in paths if PurePath(p).is_absolute() and not (start and p.startswith(start))
    ]
    shared = _shared_folder(outside) if outside else ""

    def id_of(path: str) -> str:
        if start and path.startswith(start):
            return _text(path[len(start) :])
        return _text(path[len(shared) :] if shared and path.startswith(shared) else path)

    return id_of


def _shared_folder(paths: Sequence[str]) -> str:
    shared = os.path.commonpath([str(PurePath(path).parent) for path in paths])
    return shared.rstrip(os.sep) + os.sep


def _text(path: str) -> str:
    name = path.replace(os.sep, "/")
    if name.isascii():
        return name
    # File systems compose accented letters differently, and a name need not be UTF-8.
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", name)


def _told_apart(ids: Sequence[str]) -> tuple[str, ...]:
    times = Counter(ids)
    if len(times) == len(ids):
        return tuple(ids)
    seen: Counter[str] = Counter()
    apart = []
    for name in ids:
        seen[name] += 1
        own = name if times[name] == 1 else f"{name} #{seen[name]}"
        if own != name and own in times:
            raise RunError(
                f"images: {times[name]} images have the id {name!r}, and another has {own!r}, "
                "the id that one of them would get; give their files other names"
            )
        apart.append(own)
    shared = [name for name, count in times.items() if count > 1]
    _LOG.warning(
        "%d ids belong to several images, such as %r to %d; these get the ids %r, %r, ...",
        len(shared),
        shared[0],
        times[shared[0]],
        f"{shared[0]} #1",
        f"{shared[0]} #2",
    )
    return tuple(apart)
