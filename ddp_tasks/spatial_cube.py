"""The group ``spatial`` of a store: statistics over positions, cut into shards like the cube."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from ddp_tasks import store
from ddp_tasks.spatial_statistics import SpatialStatistics
from ddp_tasks.store import Shard
from schemas.variables import attributes, declared, describe

GROUP = "spatial"


def create(path: Path) -> None:
    """Make the group with empty arrays, where it is not there yet."""
    made_with = {"shards": str(len(store.shards(path)))}
    if store.is_recorded(path, GROUP, made_with):
        return
    signals = store.read(path, "signals")
    coordinates = xr.Dataset(
        coords={name: signals[name].load() for name in ("image", "layer", "singular_vector")}
    )
    described = describe(coordinates, GROUP)
    described.to_zarr(path, group=GROUP, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(store=path, path=GROUP, mode="r+", use_consolidated=False)
    cube: Any = zarr.open_array(store=path, path="signals/signal", mode="r")
    template = {
        "shape": cube.shape,
        "chunks": cube.chunks,
        "shards": cube.shards,
        "dtype": "float32",
        "fill_value": float("nan"),
        "compressors": None,
        "config": {"write_empty_chunks": False},
    }
    done = {"shape": len(store.shards(path)), "chunks": 1, "dtype": "uint8", "fill_value": 0}
    for name in (*_names(), "complete"):
        variable = declared(GROUP).variables[name]
        group.create_array(
            name,
            dimension_names=variable.dims,
            attributes={**attributes(variable)},
            **(done if name == "complete" else template),
        )
    # Only now is the group whole.
    store.record(path, GROUP, made_with)


def missing_shards(path: Path) -> list[Shard]:
    """The shards whose statistics are not recorded as written."""
    group = zarr.open_group(store=path, path=GROUP, mode="r", use_consolidated=False)
    complete = np.asarray(group["complete"][:])  # type: ignore[index]
    return [shard for shard in store.shards(path) if not complete[shard.index]]


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
    for name in _names():
        array = group[name]
        rows = np.full((len(shard), *array.shape[1:]), np.nan, dtype=np.float32)
        if found is not None:
            rows[readable] = getattr(found, name)
        array[shard.start : shard.stop] = rows
    group["complete"][shard.index] = 1


def _names() -> list[str]:
    return [field.name for field in fields(SpatialStatistics)]
