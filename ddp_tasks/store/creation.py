"""Creating the store of a run, with the empty template of its cube, or of a list of models."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr
import zarr

from ddp_tasks.store import marks, sharded_group, trees
from ddp_tasks.store.group_arrays import COMPRESSORS, write_arrays
from ddp_tasks.store.groups import write, zoo_attributes
from ddp_tasks.store.identity import Identity
from ddp_tasks.store.shards import OF_IMAGES
from ddp_tasks.store.slabs import vectors_per_chunk
from ddp_tasks.store.zarr_stores import zarr_store
from schemas.parameters import RunError, RunParameters
from schemas.recording import recorded
from schemas.variables import (
    FORMAT_VERSION,
    ROOT_ATTRIBUTES,
    SIGN_CONVENTION,
    ZOO_ATTRIBUTES,
    describe,
)
from schemas.zoo import ZooParameters

_PACKAGES = ("ddp-flows", "torch", "torchvision", "numpy", "xarray", "zarr", "hypernetx")


def begin(path: Path) -> Path:
    """A fresh folder for the groups of a store that is not created yet; leftovers are removed."""
    part = _fresh(path.with_name(path.name + ".part"))
    zarr.open_group(store=zarr_store(part), mode="a", zarr_format=3)
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

    The store gets its name only once all of that is written, so a store that exists is
    complete.

    Parameters
    ----------
    run
        with a number of images per shard.
    groups
        datasets to write whole, by group; groups written since ``begin`` are kept.
    signals
        coordinates of the cube, and its variables ``target`` and ``dataset_index``.

    Raises
    ------
    SchemaError
        If a dataset does not match its declaration.
    FileExistsError
        If the path exists already.
    ValueError
        If the run does not say how many images a shard has.
    """
    if trees.exists(path):
        raise FileExistsError(f"{path} exists already")
    if run.shards.images == "auto":
        raise ValueError("shards.images must be chosen before the store is cut into shards")
    part = path.with_name(path.name + ".part")
    root = zarr.open_group(store=zarr_store(part), mode="a", zarr_format=3)
    stored = {
        "title": run.name,
        "run_parameters": recorded(run).model_dump_json(),
        "identity": json.dumps(identity.parameters),
        "code": json.dumps(identity.code),
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
    marks.set_root_mark(part)
    trees.move(part, path)


def create_zoo(path: Path, zoo: ZooParameters) -> None:
    """Create the store of a list of models, or check that the existing one may be continued.

    Raises
    ------
    RunError
        If the store at the path belongs to another list.
    """
    if trees.exists(path):
        stored = zoo_attributes(path)
        if stored["title"] != zoo.name or stored["format_version"] != str(FORMAT_VERSION):
            raise RunError(
                f"{path} belongs to the list {stored['title']!r} (format version "
                f"{stored['format_version']})",
                change=("out",),
            )
        return
    part = _fresh(path.with_name(path.name + ".part"))
    root = zarr.open_group(store=zarr_store(part), mode="a", zarr_format=3)
    stored = {"title": zoo.name, "zoo_parameters": recorded(zoo).model_dump_json(), **_made_now()}
    assert set(stored) == set(ZOO_ATTRIBUTES)
    root.attrs.update(stored)
    marks.set_root_mark(part)
    trees.move(part, path)


def _fresh(part: Path) -> Path:
    """Make an empty folder for a new store in place of what a killed process, or a link, left."""
    if part.is_symlink() or part.is_file():
        part.unlink()
    elif part.exists():
        trees.remove(part)
    part.mkdir()
    return part


def _create_cube(path: Path, signals: xr.Dataset, block: int, ranks: Sequence[int]) -> None:
    """Write the cube's coordinates, and its variables as empty arrays cut into whole blocks."""
    sizes = signals.sizes
    block = min(block, sizes["image"])
    shards = -(-sizes["image"] // block)
    vectors = min(vectors_per_chunk(ranks), sizes["singular_vector"])
    names = signals["target_class"].to_numpy().astype(object)
    named = signals.assign_coords(target_name=("image", names[signals["target"].to_numpy()]))
    # So that xarray takes both for coordinates, by which ``groupby`` groups.
    named["target"].encoding["coordinates"] = "target_name predicted_name"
    write_arrays(path, "signals", describe(named, "signals"), one_file_each=True)
    shape = (sizes["image"], sizes["layer"], sizes["singular_vector"])
    signal = sharded_group.signals_template(shape, block, vectors)
    of_images = {
        name: {
            "shape": sizes["image"],
            "chunks": block,
            "dtype": dtype,
            "fill_value": unknown,
            "compressors": COMPRESSORS,
        }
        for name, (dtype, unknown) in OF_IMAGES.items()
    }
    checksum = sharded_group.checksum_template(signal)
    templates = {"signal": signal, **of_images, "checksum": checksum}
    sharded_group.create_arrays(path, "signals", templates, shards)


def _made_now() -> dict[str, str]:
    return {
        "format_version": str(FORMAT_VERSION),
        "software_versions": json.dumps(_versions()),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
