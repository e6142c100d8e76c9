"""Groups of a store that are written region by region, since the whole may exceed memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import xarray as xr
import zarr

from ddp_tasks.store import groups
from ddp_tasks.store.group_arrays import COMPRESSORS
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.variables import describe, validate

#: What stands where nothing is written yet, by kind of number.
_FILL_VALUES = {"f": float("nan"), "i": -1, "u": 0}


def write_template(
    path: Path,
    group: str,
    dataset: xr.Dataset,
    by_region: Mapping[str, Sequence[int]],
    *,
    within: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> None:
    """Write a group as ``store.write`` does, but some of its variables as empty arrays.

    Parameters
    ----------
    dataset
        the whole group; of the variables left empty, only shape and dtype are used.
    by_region
        the empty variables, each with the shape of the region that is written at a time and makes
        one file; until then the values are NaN, empty texts, or -1 for integers.
    within
        shape of the part of such a file that can be read alone, by variable; without one, the
        whole file.
    """
    described = describe(validate(dataset, group), group)
    groups.write_coordinates(path, group, described.drop_vars(list(by_region)))
    written = zarr.open_group(
        store=zarr_store(path), path=group, mode="a", zarr_format=3, use_consolidated=False
    )
    for name, region in by_region.items():
        variable = described[name]
        file, text = tuple(map(min, region, variable.shape)), variable.dtype.kind in "OT"
        written.create_array(
            name,
            shape=variable.shape,
            chunks=tuple(map(min, within.get(name, file), file)),
            shards=file if name in within else None,
            dtype="str" if text else variable.dtype,
            fill_value="" if text else _FILL_VALUES[variable.dtype.kind],
            compressors=COMPRESSORS,
            dimension_names=[str(dim) for dim in variable.dims],
            attributes={**variable.attrs},
        )


def write_region(
    path: Path, group: str, name: str, region: tuple[slice | int, ...], values: npt.NDArray[Any]
) -> None:
    """Write part of a variable that ``write_template`` left empty."""
    array = zarr.open_group(
        store=zarr_store(path), path=group, mode="r+", zarr_format=3, use_consolidated=False
    )[name]
    assert isinstance(array, zarr.Array)
    array[region] = values


def read_unfinished(path: Path, group: str) -> xr.Dataset:
    """A group with regions still to be written; chunks are checked by their own checksums only."""
    return xr.open_zarr(
        zarr_store(path, read_only=True),
        group=group,
        zarr_format=3,
        consolidated=False,
        chunks=None,
    )
