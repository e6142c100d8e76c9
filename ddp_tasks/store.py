"""Where Zarr is opened: create a store, write a shard, read a group.

One store holds one run. Its groups are declared in ``schemas.variables``; what is written is
held against the declaration, and so is what is read.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
import zarr.errors

from ddp_tasks.identity import Identity
from ddp_tasks.slabs import vectors_per_chunk
from schemas import FORMAT_VERSION
from schemas.parameters import RunError, RunParameters
from schemas.variables import (
    ROOT_ATTRIBUTES,
    SIGN_CONVENTION,
    ZOO_ATTRIBUTES,
    SchemaError,
    attributes,
    declared,
    describe,
    validate,
)
from schemas.zoo import ZooParameters

#: Written of each image beside its signals: the type, and the value of what is not known.
_OF_IMAGES: Mapping[str, tuple[str, Any]] = {
    "predicted": ("int64", -1),
    "confidence": ("float32", float("nan")),
    "error": ("str", ""),
    "content_size": ("int64", -1),
    "content_digest": ("uint64", 0),
}
_OF_SHARDS = ("signal", *_OF_IMAGES)

#: Groups that stay when shards are taken back: of the weights, the cube, and the pass.
_NOT_OF_THE_CUBE = ("layers", "decomposition", "signals", "extraction", "capacity")

# Zarr decodes in threads of its own, by itself more than a worker has cores. Dask and the cluster
# files say in this variable how many a process may use.
_THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
zarr.config.set({"threading.max_workers": _THREADS, "async.concurrency": _THREADS})

_PACKAGES = ("ddp-flows", "torch", "torchvision", "numpy", "xarray", "zarr", "hypernetx")


@dataclass(frozen=True)
class Shard:
    """A block of images, aligned to the chunks of the cube and written by one task."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"shard {self.index} (images {self.start} to {self.stop - 1})"


def begin(path: Path) -> Path:
    """Where groups of a store are written before it is created; what was left there goes."""
    part = path.with_name(path.name + ".part")
    zarr.open_group(store=part, mode="w", zarr_format=3)
    return part


def create(
    path: Path,
    run: RunParameters,
    identity: Identity,
    *,
    not_analysed: Mapping[str, str],
    groups: Mapping[str, xr.Dataset],
    signals: xr.Dataset,
) -> None:
    """Create a store: root attributes, finished groups, and the cube's empty template.

    The store appears under its name only once all of that is written, so a store that exists
    is never half made.

    Parameters
    ----------
    run
        with a number of images a shard.
    groups
        datasets written whole, by group; those written since ``begin`` stay beside them.
    signals
        coordinates of the cube, and its variables ``target`` and ``dataset_index``.

    Raises
    ------
    SchemaError
        If a dataset does not match its declaration.
    FileExistsError
        If there is something at the path already.
    ValueError
        If the run leaves open how many images a shard has.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    if run.shards.images == "auto":
        raise ValueError("shards.images must be chosen before the store is cut into shards")
    part = path.with_name(path.name + ".part")
    root = zarr.open_group(store=part, mode="a", zarr_format=3)
    stored = {
        "title": run.name,
        "run_parameters": run.model_dump_json(),
        "identity": json.dumps(identity.parameters),
        "model_digest": identity.model_digest,
        "weights": identity.weights,
        "images_digest": identity.images_digest,
        "not_analysed": json.dumps(not_analysed),
        "sign_convention": SIGN_CONVENTION,
        **_made_now(),
    }
    assert set(stored) == set(ROOT_ATTRIBUTES)
    root.attrs.update(stored)
    for group, dataset in groups.items():
        write(part, group, dataset)
    _create_cube(part, signals, run.shards.images, groups["layers"]["rank"].to_numpy().tolist())
    part.rename(path)


def create_zoo(path: Path, zoo: ZooParameters) -> None:
    """Create the store of a list of models, or check that one may be continued.

    Raises
    ------
    RunError
        If the store at the path belongs to another list.
    """
    if path.exists():
        stored = zoo_attributes(path)
        if stored["title"] != zoo.name or stored["format_version"] != str(FORMAT_VERSION):
            raise RunError(
                f"{path} belongs to the list {stored['title']!r} (format version "
                f"{stored['format_version']})",
                change=("out",),
            )
        return
    root = zarr.open_group(store=path, mode="w", zarr_format=3)
    stored = {"title": zoo.name, "zoo_parameters": zoo.model_dump_json(), **_made_now()}
    assert set(stored) == set(ZOO_ATTRIBUTES)
    root.attrs.update(stored)


def _create_cube(path: Path, signals: xr.Dataset, block: int, ranks: Sequence[int]) -> None:
    """Write the cube's coordinates, and its variables as empty arrays cut at whole blocks."""
    sizes = signals.sizes
    block = min(block, sizes["image"])
    shards = -(-sizes["image"] // block)
    vectors = min(vectors_per_chunk(ranks), sizes["singular_vector"])
    padded = -(-sizes["singular_vector"] // vectors) * vectors
    describe(signals, "signals").to_zarr(
        path,
        group="signals",
        mode="w",
        zarr_format=3,
        consolidated=False,
        encoding={name: {"chunks": signals[name].shape} for name in signals.variables},
    )
    group = zarr.open_group(store=path, path="signals", mode="a", use_consolidated=False)
    templates: dict[str, dict[str, Any]] = {
        "signal": {
            "shape": (sizes["image"], sizes["layer"], sizes["singular_vector"]),
            "chunks": (block, 1, vectors),
            # One file a block of images; chunks past a layer's rank are not in it.
            "shards": (block, sizes["layer"], padded),
            "dtype": "float32",
            "fill_value": float("nan"),
            # Signals hardly compress (zstd takes 7 % off noise) and are read several times over.
            "compressors": None,
            "config": {"write_empty_chunks": False},
        },
        **{
            name: {"shape": sizes["image"], "chunks": block, "dtype": dtype, "fill_value": unknown}
            for name, (dtype, unknown) in _OF_IMAGES.items()
        },
        "complete": {"shape": shards, "chunks": 1, "dtype": "uint8", "fill_value": 0},
    }
    for name, template in templates.items():
        variable = declared("signals").variables[name]
        group.create_array(
            name, dimension_names=variable.dims, attributes={**attributes(variable)}, **template
        )


def check_continuable(path: Path, identity: Identity) -> None:
    """Refuse a store that was made with other parameters, weights or images.

    Raises
    ------
    RunError
        Naming the store and what differs.
    """
    if refusal := identity.refusal(root_attributes(path)):
        raise RunError(f"{path} was made by another run: {refusal}", change=("out",))


def root_attributes(path: Path) -> dict[str, str]:
    """Attributes of the root group of a run's store.

    Raises
    ------
    RunError
        If there is no store of a run at the path.
    """
    return _attributes_of(path, ROOT_ATTRIBUTES)


def zoo_attributes(path: Path) -> dict[str, str]:
    """Attributes of the root group of a store over a list of models.

    Raises
    ------
    RunError
        If there is no such store at the path.
    """
    return _attributes_of(path, ZOO_ATTRIBUTES)


def group_attributes(path: Path, group: str) -> dict[str, str]:
    """Attributes of a group; none where there is no such group."""
    root = zarr.open_group(store=path, mode="r", use_consolidated=False)
    return {k: str(v) for k, v in root[group].attrs.items()} if group in root else {}


def _attributes_of(path: Path, expected: Mapping[str, str]) -> dict[str, str]:
    try:
        root = zarr.open_group(store=path, mode="r", use_consolidated=False)
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"{path} is no Zarr store: {error}") from None
    stored = {str(key): str(value) for key, value in root.attrs.items()}
    if missing := sorted(set(expected) - set(stored)):
        raise RunError(f"{path} is no such store of ddp: it lacks {', '.join(missing)}")
    return stored


def stamp(path: Path) -> str:
    """SHA-256 of a store's root attributes: another store made at its place has another one.

    Raises
    ------
    RunError
        If there is no store of a run at the path.
    """
    attributes = json.dumps(root_attributes(path), sort_keys=True)
    return hashlib.sha256(attributes.encode()).hexdigest()


def shards(path: Path) -> list[Shard]:
    """All shards of the cube, in order."""
    return _shards(_signals(path)["signal"])


def _shards(cube: Any) -> list[Shard]:
    images, block = cube.shape[0], cube.shards[0]
    return [_shard(index, images, block) for index in range(-(-images // block))]


def _shard(index: int, images: int, block: int) -> Shard:
    return Shard(index, index * block, min((index + 1) * block, images))


def missing_shards(path: Path, *, read_back: bool = True) -> list[Shard]:
    """The shards whose data are not recorded as written, or cannot be read back.

    Parameters
    ----------
    read_back
        read one chunk of each shard that is recorded as written: a file that is gone or cut off,
        as after a power failure, is told by that.
    """
    group = _signals(path)
    cube, complete = group["signal"], np.asarray(group["complete"][:])  # type: ignore[index]
    return [
        shard
        for shard in _shards(cube)
        if not complete[shard.index] or (read_back and not _is_there(group, shard))
    ]


def _is_there(group: zarr.Group, shard: Shard) -> bool:
    images = slice(shard.start, shard.stop)
    try:
        first = np.asarray(group["signal"][images, 0, 0])  # type: ignore[index]
    except (ValueError, RuntimeError, OSError, IndexError):  # whatever a codec makes of half a file
        return False
    # Every layer has at least one singular vector: without a file, all would be NaN, as they are
    # where no image could be read.
    return not np.isnan(first).all() or bool((np.asarray(group["error"][images]) != "").all())  # type: ignore[index]


def clear_partial_files(path: Path) -> int:
    """Remove what a process that was killed while it wrote left beside the cube's files.

    Returns
    -------
    number of files removed
    """
    # Zarr writes a file under such a name first and renames it when it is whole.
    left = list((path / "signals").rglob("*.partial"))
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


def write_shard(path: Path, shard: Shard, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write one shard's rows of the cube; safe to do twice.

    The shard counts as written only after its data are.

    Parameters
    ----------
    arrays
        those of ``_OF_SHARDS``, each with one row an image of the shard.

    Raises
    ------
    SchemaError
        If the arrays do not fit the shard, or the shard not the chunks of the cube.
    """
    group = _signals(path, mode="r+")
    cube: Any = group["signal"]
    if shard != _shard(shard.index, cube.shape[0], cube.shards[0]):
        raise SchemaError(f"{shard} crosses the edges of the cube's chunks")
    for name in _OF_SHARDS:
        target = group[name]
        assert isinstance(target, zarr.Array)
        if arrays[name].shape != (len(shard), *target.shape[1:]):
            raise SchemaError(
                f"{name} of shard {shard.index} has shape {arrays[name].shape}, "
                f"not {(len(shard), *target.shape[1:])}"
            )
        try:
            target[shard.start : shard.stop] = arrays[name]
        except (ValueError, RuntimeError, IndexError):
            # Zarr first reads what is there, and half a file keeps it from writing a whole one.
            shutil.rmtree(path / "signals" / name / "c" / str(shard.index), ignore_errors=True)
            target[shard.start : shard.stop] = arrays[name]
    group["complete"][shard.index] = 1  # type: ignore[index]


def empty_rows(path: Path, shard: Shard) -> dict[str, npt.NDArray[Any]]:
    """Rows as ``write_shard`` takes them, of images of which nothing is known."""
    group, rows = _signals(path), {}
    for name in _OF_SHARDS:
        empty = group[name]
        assert isinstance(empty, zarr.Array)
        dtype = object if name == "error" else empty.dtype
        rows[name] = np.full((len(shard), *empty.shape[1:]), empty.fill_value, dtype=dtype)
    return rows


def unreadable_images(path: Path) -> dict[str, str]:
    """Why images could not be read, by id, as far as shards count as written."""
    group, missing = _signals(path), missing_shards(path)
    ids, error = (np.asarray(group[name][:]) for name in ("image", "error"))  # type: ignore[index]
    unread = error != ""
    for shard in missing:
        unread[shard.start : shard.stop] = False
    return {str(ids[row]): str(error[row]) for row in np.flatnonzero(unread)}


def take_back(path: Path, images: Collection[str]) -> None:
    """Let shards with these images count as not written; what the cube gave goes with them."""
    # Groups first: a cube that is whole again never stands beside findings of the one before.
    for group in path.iterdir():
        if group.is_dir() and group.name not in _NOT_OF_THE_CUBE:
            shutil.rmtree(group)
    signals = _signals(path, mode="r+")
    taken = np.isin(np.asarray(signals["image"][:]), list(images))  # type: ignore[index]
    for shard in shards(path):
        if taken[shard.start : shard.stop].any():
            signals["complete"][shard.index] = 0  # type: ignore[index]


def write(path: Path, group: str, dataset: xr.Dataset) -> None:
    """Write a group whole, in place of what it held.

    Raises
    ------
    SchemaError
        If the dataset does not match the group's declaration.
    """
    described = describe(validate(dataset, group), group)
    described.to_zarr(path, group=group, mode="w", zarr_format=3, consolidated=False)


def record(path: Path, group: str, made_with: Mapping[str, str]) -> None:
    """Note in a group's attributes what it was made with, once all of it is written."""
    written = zarr.open_group(store=path, path=group, mode="r+", use_consolidated=False)
    written.attrs.update(made_with)


def is_recorded(path: Path, group: str, made_with: Mapping[str, str]) -> bool:
    """Whether a group is there whole, and was made with this."""
    return group_attributes(path, group).items() >= made_with.items()


def read(path: Path, group: str) -> xr.Dataset:
    """Open a group; its arrays are read when they are used.

    Raises
    ------
    SchemaError
        If what is stored does not match the group's declaration.
    """
    dataset = xr.open_zarr(path, group=group, zarr_format=3, consolidated=False, chunks=None)
    return validate(dataset, group)


def seal(path: Path) -> None:
    """Gather all metadata in one place, so that the whole tree opens with one read."""
    with warnings.catch_warnings():
        # Readers that do not know consolidated metadata pass over it.
        warnings.simplefilter("ignore", category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


def _signals(path: Path, mode: Any = "r") -> zarr.Group:
    return zarr.open_group(store=path, path="signals", mode=mode, use_consolidated=False)


def _made_now() -> dict[str, str]:
    return {
        "format_version": str(FORMAT_VERSION),
        "software_versions": json.dumps(_versions()),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
