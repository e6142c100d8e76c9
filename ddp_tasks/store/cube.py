"""Reading the cube: slab by slab for a pass over it, or one layer and class for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from ddp_tasks.store import groups, shards
from ddp_tasks.store.shard_files import ShardFiles
from ddp_tasks.store.shards import Shard
from ddp_tasks.store.slabs import CubeSize, Slab


@dataclass(frozen=True)
class OpenCube:
    """The files of the cube's signals, its shards in order, and its images' target classes."""

    files: ShardFiles
    shards: list[Shard]
    target: npt.NDArray[np.int64]
    """shape (image,), of unreadable images too"""
    error: zarr.Array[Any]
    """shape (image,), why an image could not be read"""

    def target_read(self, shard: Shard, signals: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Target classes of a shard's images, -1 where an image could not be read.

        Parameters
        ----------
        signals
            shape (n, ...); NaN for an image that could not be read, or that does not reach the
            layer.

        Returns
        -------
        shape (n,)
        """
        rows = slice(shard.start, shard.stop)
        # Without NaN all images were read; the texts of errors, slow to read, are not needed.
        if not np.isnan(signals[..., 0]).any():
            return self.target[rows]
        return np.where(np.asarray(self.error[rows]) != "", -1, self.target[rows])


def layer_parts(
    path: Path, layer: int, rank: int
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """One layer of the cube block by block, in the order of the images.

    Parameters
    ----------
    layer
        position of the layer.
    rank
        of the layer.

    Yields
    ------
    signals (n, rank) and target classes (n,), -1 for an image that could not be read
    """
    cube = open_cube(path)
    files = cube.files
    for shard in cube.shards:
        signals = np.empty((len(shard), rank), dtype=np.float32)
        files.read(shard.index, slice(0, len(shard)), layer, slice(0, rank), signals)
        yield signals, cube.target_read(shard, signals)


def open_cube(path: Path) -> OpenCube:
    """The cube, opened once for a pass over it.

    Raises
    ------
    DamagedStoreError
        If the target classes or the metadata of the cut are not as they were written.
    """
    group = zarr.open_group(store=groups.verified_group(path, "signals"), mode="r", zarr_format=3)
    target, error = group["target"], group["error"]
    assert isinstance(target, zarr.Array)
    assert isinstance(error, zarr.Array)
    files = ShardFiles.of_group(path / "signals")
    return OpenCube(files, shards.shards(path), np.asarray(target[:]), error)


def cube_size(path: Path) -> CubeSize:
    """The sizes by which a store's cube is cut."""
    cube = open_cube(path)
    ranks = groups.read(path, "layers")["rank"].to_numpy().tolist()
    return CubeSize(ranks, len(cube.shards), cube.files.block, cube.files.chunk)


def slab_parts(
    path: Path, slab: Slab
) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """A slab of the cube block by block, in the order of the images.

    Yields
    ------
    position of the first image, signals (n, width) and target classes (n,), -1 for an image that
    could not be read
    """
    cube = open_cube(path)
    for shard in cube.shards[slab.first_shard : slab.last_shard]:
        signals = np.empty((len(shard), slab.width), dtype=np.float32)
        cube.files.read(shard.index, slice(0, len(shard)), slab.layer, slab.vectors, signals)
        target = cube.target_read(shard, signals)
        yield shard.start, signals, target


def layer_signals(path: Path, layer: str, target_class: str | None = None) -> xr.DataArray:
    """Signals of one layer, for all images or those of one target class.

    Gives the same as ``sel`` on the cube with plain xarray, several times as fast.

    Parameters
    ----------
    layer
        its name.
    target_class
        its name; None takes the images of every class.

    Returns
    -------
    (image, singular_vector), up to the layer's rank, with the ids of the images; images that
    could not be read or do not reach the layer are left out

    Raises
    ------
    ValueError
        If there is no such layer or target class.
    """
    layers, signals = groups.read(path, "layers"), groups.read(path, "signals")
    position = _position(layers, "layer", layer)
    rank = int(layers["rank"][position])
    cube = open_cube(path)
    if target_class is None:
        wanted = np.ones(len(cube.target), dtype=np.bool_)
    else:
        wanted = cube.target == _position(signals, "target_class", target_class)
    values = rows_of_layer(cube, position, slice(0, rank), wanted)
    signal = xr.DataArray(
        values,
        dims=("image", "singular_vector"),
        coords={"image": signals["image"][wanted], "singular_vector": np.arange(rank)},
        name="signal",
    )
    absent = np.isnan(values[:, 0])
    return signal[~absent] if absent.any() else signal


def spread_signals(path: Path, layer: int, rank: int, most: int) -> npt.NDArray[np.float32]:
    """Signals of one layer, from whole shards spread evenly over the images.

    Parameters
    ----------
    layer
        its position.
    most
        signals to read at most; at least one shard is read.

    Returns
    -------
    shape (image, rank); NaN for an image that could not be read, or that does not reach the layer
    """
    cube = open_cube(path)
    count = max(1, min(len(cube.shards), most // (rank * cube.files.block)))
    chosen = np.linspace(0, len(cube.shards) - 1, count).round().astype(int)
    wanted = np.zeros(len(cube.target), dtype=np.bool_)
    for shard in chosen.tolist():
        wanted[cube.shards[shard].start : cube.shards[shard].stop] = True
    return rows_of_layer(cube, layer, slice(0, rank), wanted)


def rows_of_layer(
    cube: OpenCube, layer: int, vectors: slice, wanted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Signals of one layer for some of the images.

    Parameters
    ----------
    layer
        its position.
    vectors
        singular vectors, from one to another, within the layer's rank.
    wanted
        shape (image,)

    Returns
    -------
    shape (wanted images, vectors)
    """
    images, width = np.flatnonzero(wanted), vectors.stop - vectors.start
    signals = np.empty((len(images), width), dtype=np.float32)
    stops = np.searchsorted(images, [shard.stop for shard in cube.shards])
    first = 0
    for shard, stop in zip(cube.shards, stops.tolist(), strict=True):
        if first == stop:
            continue
        rows = images[first:stop] - shard.start
        between = slice(int(rows[0]), int(rows[-1]) + 1)
        place = signals[first:stop]
        if between.stop - between.start == len(rows):
            cube.files.read(shard.index, between, layer, vectors, place)
        else:
            block = np.empty((between.stop - between.start, width), dtype=np.float32)
            cube.files.read(shard.index, between, layer, vectors, block)
            np.take(block, rows - between.start, axis=0, out=place)
        first = stop
    return signals


def _position(dataset: xr.Dataset, dimension: str, name: str) -> int:
    return dataset[dimension].to_numpy().tolist().index(name)
