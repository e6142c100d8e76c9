"""Reading the cube: a slab for a pass over it, or one layer and one class for a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks import store
from ddp_tasks.slabs import CubeSize, Slab


def cube_size(path: Path) -> CubeSize:
    """How a store's cube is cut."""
    files = store.cube_files(path)
    ranks = store.read(path, "layers")["rank"].to_numpy().tolist()
    return CubeSize(ranks, len(store.shards(path)), files.block, files.chunk)


def slab_parts(
    path: Path, slab: Slab
) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """A slab of the cube block by block, in the order of the images.

    Yields
    ------
    position of the first image, signals (n, width) and target classes (n,), -1 for an image that
    could not be read
    """
    files, targets = store.cube_files(path), store.targets(path)
    for shard in store.shards(path)[slab.first_shard : slab.last_shard]:
        signals = np.empty((len(shard), slab.width), dtype=np.float32)
        files.read(shard.index, slice(0, len(shard)), slab.layer, slab.vectors, signals)
        target = store.of_images_read(signals, targets[shard.start : shard.stop])
        yield shard.start, signals, target


def layer_signals(path: Path, layer: str, target_class: str | None = None) -> xr.DataArray:
    """Signals of one layer, of all images or of one target class.

    The same as ``sel`` on the cube with plain xarray, and several times as fast.

    Parameters
    ----------
    layer
        its name.
    target_class
        its name; None takes the images of every class.

    Returns
    -------
    (image, singular_vector), up to the layer's rank, with the ids of the images; images that
    could not be read are left out

    Raises
    ------
    ValueError
        If there is no such layer or target class.
    """
    layers, signals = store.read(path, "layers"), store.read(path, "signals")
    position = _position(layers, "layer", layer)
    rank = int(layers["rank"][position])
    targets = store.targets(path)
    if target_class is None:
        wanted = np.ones(len(targets), dtype=np.bool_)
    else:
        wanted = targets == _position(signals, "target_class", target_class)
    files = store.cube_files(path)
    values = np.empty((int(wanted.sum()), rank), dtype=np.float32)
    filled = 0
    for shard in store.shards(path):
        rows = np.flatnonzero(wanted[shard.start : shard.stop])
        if not len(rows):
            continue
        first, last = int(rows[0]), int(rows[-1]) + 1
        place = values[filled : filled + len(rows)]
        if last - first == len(rows):
            files.read(shard.index, slice(first, last), position, slice(0, rank), place)
        else:
            between = np.empty((last - first, rank), dtype=np.float32)
            files.read(shard.index, slice(first, last), position, slice(0, rank), between)
            np.take(between, rows - first, axis=0, out=place)
        filled += len(rows)
    found = xr.DataArray(
        values,
        dims=("image", "singular_vector"),
        coords={"image": signals["image"][wanted], "singular_vector": np.arange(rank)},
        name="signal",
    )
    unread = np.isnan(values[:, 0])
    return found[~unread] if unread.any() else found


def _position(dataset: xr.Dataset, dimension: str, name: str) -> int:
    return dataset[dimension].to_numpy().tolist().index(name)
