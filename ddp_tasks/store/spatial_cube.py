"""The group ``spatial`` of a store: statistics over positions, cut into shards like the cube."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.store import groups, sharded_group, shards
from ddp_tasks.store.shard_files import ShardFiles
from ddp_tasks.store.shards import Shard
from schemas.variables import declared

GROUP = "spatial"


def is_created(path: Path) -> bool:
    """Whether the group exists for these thresholds."""
    return groups.is_recorded(path, GROUP, _made_with(path))


def create(path: Path) -> None:
    """Create the group with empty arrays, unless it exists already for these thresholds."""
    if is_created(path):
        return
    signals = groups.read(path, "signals")
    coordinates = xr.Dataset(
        coords={name: signals[name].variable for name in ("image", "layer", "singular_vector")}
    )
    groups.write_coordinates(path, GROUP, coordinates)
    cube = ShardFiles.of_group(path / "signals")
    shape = tuple(coordinates.sizes[name] for name in ("image", "layer", "singular_vector"))
    template = sharded_group.signals_template(shape, cube.block, cube.chunk)
    names = [
        name
        for name, variable in declared(GROUP).variables.items()
        if len(variable.dims) == len(shape)
    ]
    templates = dict.fromkeys(names, template)
    made_with = _made_with(path)
    sharded_group.create_arrays(path, GROUP, templates, len(shards.shards(path)), made_with)


def _made_with(path: Path) -> dict[str, str]:
    return {"significance": groups.fingerprint(path, "significance")}


def write_shard(
    path: Path,
    shard: Shard,
    statistics: Mapping[str, npt.NDArray[np.float32]] | None,
    readable: list[int],
) -> None:
    """Write the statistics of one shard; they may safely be written twice.

    Parameters
    ----------
    statistics
        by name, of the readable images; None if no image is readable.
    readable
        places of those images within the shard.
    """
    rows = sharded_group.empty_rows(path / GROUP, len(shard))
    if statistics is not None:
        for name, values in rows.items():
            values[readable] = statistics[name]
    images = slice(shard.start, shard.stop)
    sharded_group.write_shard(path / GROUP, shard.index, images, rows)
