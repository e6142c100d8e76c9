"""Groups that all layers read, opened once in each worker process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.splits import Split
from ddp_tasks.store import groups

#: Small groups, whose values are kept too.
_LOADED = ("layers", "family")


def opened(path: Path, group: str) -> xr.Dataset:
    """A finished group, as ``groups.read`` gives it; opened anew when it has been written anew.

    Raises
    ------
    DamagedStoreError
        As ``groups.read`` does.
    """
    return _opened(path, group, groups.fingerprint(path, group))


@lru_cache(maxsize=4)
def _opened(path: Path, group: str, fingerprint: str) -> xr.Dataset:
    dataset = groups.read(path, group)
    return dataset.load() if group in _LOADED else dataset


def run_image_ids(path: Path) -> tuple[str, ...]:
    """The ids of a run's images by their position, read once for each store."""
    return _image_ids(path, groups.stamp(path))


@lru_cache(maxsize=1)
def _image_ids(path: Path, stamp: str) -> tuple[str, ...]:
    return tuple(groups.read(path, "signals")["image"].to_numpy().tolist())


def run_parts(path: Path, split: Split) -> npt.NDArray[np.int8]:
    """Which part of the split each of a run's images belongs to, drawn once for each store."""
    return _parts(path, split, groups.stamp(path))


@lru_cache(maxsize=1)
def _parts(path: Path, split: Split, stamp: str) -> npt.NDArray[np.int8]:
    return split.parts(groups.read(path, "signals")["target"].to_numpy())
