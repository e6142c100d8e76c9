"""The arrays of one group, encoded as xarray encodes them, written at once.

``Dataset.to_zarr`` hands each step of each array to Zarr's thread and waits for it. A run writes
hundreds of small groups, which all of its layers have, and that waiting is most of their time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr.api.asynchronous as zarr_async
from xarray import conventions
from xarray.backends.zarr import FillValueCoder, encode_zarr_variable
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from ddp_tasks.store.trees import METADATA
from ddp_tasks.store.zarr_stores import ObjectsBelow, zarr_store

#: Zarr's default compression, and a checksum that every reader of Zarr checks a chunk against.
COMPRESSORS = (ZstdCodec(level=0), Crc32cCodec())

#: Objects that are sent to an object store at once.
_AT_ONCE = 16


def write_arrays(
    path: Path, group: str, dataset: xr.Dataset, *, one_file_each: bool = False
) -> None:
    """Write a new group: its attributes and all arrays, as ``Dataset.to_zarr`` would.

    Parameters
    ----------
    path
        of the store.
    dataset
        of numbers, truth values and texts of any length (dtype object).
    one_file_each
        write each array as one chunk, however large; else Zarr cuts large ones.
    """
    variables, attributes = conventions.encode_dataset_coordinates(dataset)
    encoded = {
        str(name): encode_zarr_variable(variable, name=name) for name, variable in variables.items()
    }
    # What is still to be read from a store is read here: in Zarr's thread it would wait for itself.
    values = {name: np.asarray(variable.values) for name, variable in encoded.items()}
    arrays = {name: (variable, values[name]) for name, variable in encoded.items()}
    sync(_write(path, group, arrays, attributes, one_file_each))


async def _write(
    path: Path,
    group: str,
    arrays: dict[str, tuple[xr.Variable, npt.NDArray[Any]]],
    attributes: dict[Any, Any],
    one_file_each: bool,
) -> None:
    store = zarr_store(path)
    # Zarr asks for the group and all above it at each array, and each answer of an object store
    # takes its time: there the group is made in memory, and its objects are sent together.
    objects = MemoryStore() if isinstance(store, ObjectsBelow) else None
    written = await zarr_async.create_group(
        store=objects or store, path=group, attributes=_plain(attributes), zarr_format=3
    )
    for name, (variable, values) in arrays.items():
        attrs, fill_value = dict(variable.attrs), None
        if (fill := attrs.pop("_FillValue", None)) is not None:
            attrs["_FillValue"] = FillValueCoder.encode(fill, variable.dtype)
        if variable.dtype.kind == "f":
            fill_value = np.nan
        array = await written.create_array(
            name,
            shape=variable.shape,
            dtype="str" if variable.dtype.kind in "UTO" else variable.dtype,
            chunks=variable.shape if one_file_each else "auto",
            compressors=COMPRESSORS,
            fill_value=fill_value,
            dimension_names=[str(dim) for dim in variable.dims],
            attributes=_plain(attrs),
        )
        await array.setitem(Ellipsis, values)
    if objects is not None:
        await _sent(objects, store, group)


async def _sent(objects: MemoryStore, store: Store, group: str) -> None:
    """Write a group's objects, its own metadata last, and those of the groups above it."""
    own, names = f"{group}/{METADATA}", [name async for name in objects.list()]
    below = [name for name in names if name.startswith(f"{group}/") and name != own]
    above = [name for name in names if not name.startswith(f"{group}/") and name != METADATA]
    prototype = default_buffer_prototype()

    async def send(name: str, write: Callable[[str, Buffer], Awaitable[None]]) -> None:
        content = await objects.get(name, prototype)
        assert content is not None
        async with at_once:
            await write(name, content)

    at_once = asyncio.Semaphore(_AT_ONCE)
    await asyncio.gather(*(send(name, store.set) for name in below))
    await asyncio.gather(*(send(name, store.set_if_not_exists) for name in above))
    await send(own, store.set)


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON has them."""
    return {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in attributes.items()
    }
