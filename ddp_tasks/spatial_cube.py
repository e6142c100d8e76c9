"""The group ``spatial`` of a store: statistics over positions, cut into shards like the cube."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from ddp_tasks import marks, shard_marks, store
from ddp_tasks.spatial_statistics import SpatialStatistics
from ddp_tasks.store import Shard
from schemas.variables import attributes, declared

GROUP = "spatial"


def create(path: Path) -> None:
    """Make the group with empty arrays, where it is not there yet for these thresholds."""
    made_with = {"significance": store.fingerprint(path, "significance")}
    if store.is_recorded(path, GROUP, made_with):
        return
    signals = store.read(path, "signals")
    coordinates = xr.Dataset(
        coords={name: signals[name].load() for name in ("image", "layer", "singular_vector")}
    )
    store.write_coordinates(path, GROUP, coordinates)
    group = zarr.open_group(store=path, path=GROUP, mode="r+", use_consolidated=False)
    cube: Any = zarr.open_array(store=path, path="signals/signal", mode="r")
    template = {
        "shape": cube.shape,
        "chunks": cube.chunks,
        "shards": cube.shards,
        "dtype": "float32",
        "fill_value": float("nan"),
        "compressors": Crc32cCodec(),
        # A file for every shard, but only chunks within a layer's rank in it.
        "config": {"write_empty_chunks": False},
    }
    done = {
        "shape": len(store.shards(path)),
        "chunks": 1,
        "dtype": "int64",
        "fill_value": 0,
        "compressors": Crc32cCodec(),
    }
    names = (*_names(), shard_marks.COMPLETE)
    for name in names:
        variable = declared(GROUP).variables[name]
        group.create_array(
            name,
            dimension_names=variable.dims,
            attributes={**attributes(variable)},
            **(done if name == shard_marks.COMPLETE else template),
        )
    # Only now is the group whole; its shards carry marks of their own.
    marks.set_mark(path / GROUP, made_with, by_shard=names)


def missing_shards(path: Path) -> list[Shard]:
    """The shards whose statistics are not recorded as written, or are not as they were written."""
    return [s for s in store.shards(path) if shard_marks.damage(path / GROUP, s.index)]


def write_shard(
    path: Path, shard: Shard, found: SpatialStatistics | None, readable: list[int]
) -> None:
    """Write the statistics of one shard; safe to do twice.

    Parameters
    ----------
    found
        of the readable images; None where there are none.
    readable
        places of those images within the shard.
    """
    group: Any = zarr.open_group(store=path, path=GROUP, mode="r+", use_consolidated=False)
    if shard_marks.damage(path / GROUP, shard.index):
        store.clear_shard(path / GROUP, (shard_marks.COMPLETE, *_names()), shard)
    for name in _names():
        array = group[name]
        rows = np.full((len(shard), *array.shape[1:]), np.nan, dtype=np.float32)
        if found is not None:
            rows[readable] = getattr(found, name)
        array[shard.start : shard.stop] = rows
    number = shard_marks.digest(path / GROUP, _names(), shard.index)
    group[shard_marks.COMPLETE][shard.index] = number


def _names() -> list[str]:
    return [field.name for field in fields(SpatialStatistics)]
