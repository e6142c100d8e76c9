"""Where Zarr is opened: create a store, write a shard, read a group.

One store holds one run. Its groups are declared in ``schemas.variables``; what is written or
read is checked against the declaration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr
import zarr

from ddp_tasks.files.whole import write_whole
from ddp_tasks.store import marks, shard_marks, trees
from ddp_tasks.store.group_arrays import write_arrays
from ddp_tasks.store.shard_files import ShardFiles
from ddp_tasks.store.shards import shards
from ddp_tasks.store.verified_reading import verified
from schemas.parameters import RunError
from schemas.paths import check_store
from schemas.variables import (
    FORMAT_VERSION,
    GROUPS,
    ROOT_ATTRIBUTES,
    ZOO_ATTRIBUTES,
    describe,
    validate,
)

# Zarr decodes in threads of its own, by default more than a worker has cores. Dask and the cluster
# files set this variable to the number of threads that a process may use.
_THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
zarr.config.set({"threading.max_workers": _THREADS, "async.concurrency": _THREADS})

#: Metadata of a group that holds nothing but groups, as Zarr writes them.
_PARENT = {"attributes": {}, "zarr_format": 3, "node_type": "group"}

#: Ends of the names of a group that is being replaced, and of the one before it. Names of groups
#: that ``schemas.names`` makes end in neither.
_NEW, _OLD = "~new", "~old"

Metadata = TypeVar("Metadata")


def root_attributes(path: Path) -> dict[str, str]:
    """Attributes of the root group of a run's store.

    Raises
    ------
    RunError
        If there is no store of a run at the path.
    """
    return _attributes_of(path, ROOT_ATTRIBUTES)


def zoo_attributes(path: Path) -> dict[str, str]:
    """Attributes of the root group of the store of a list of models.

    Raises
    ------
    RunError
        If there is no such store at the path.
    """
    return _attributes_of(path, ZOO_ATTRIBUTES)


def group_attributes(path: Path, group: str) -> dict[str, str]:
    """Attributes of a group; empty where the group does not exist or is not finished."""
    mark, stored = marks.read_marked(path / group)
    return {} if mark is None else {key: str(value) for key, value in stored.items()}


def _attributes_of(path: Path, expected: Mapping[str, str]) -> dict[str, str]:
    mark, attributes = marks.read_marked(path)
    if mark is None:
        check_store(path)
    stored = {str(key): str(value) for key, value in attributes.items()}
    if mark is None and (version := stored.get("format_version", "")) != str(FORMAT_VERSION):
        raise RunError(
            f"{path} has format version {version or 'unknown'}, not {FORMAT_VERSION}: choose "
            "another folder and run again"
        )
    if mark is None:
        raise RunError(f"{path} is not a complete store")
    if missing := sorted(set(expected) - set(stored)):
        raise RunError(f"{path} is not a store of ddp: it lacks {', '.join(missing)}")
    return stored


def stamp(path: Path) -> str:
    """SHA-256 of a store's root attributes; it changes when a new store replaces this one.

    Raises
    ------
    RunError
        If there is no store of a run at the path.
    """
    attributes = json.dumps(root_attributes(path), sort_keys=True)
    return hashlib.sha256(attributes.encode()).hexdigest()


def write(
    path: Path, group: str, dataset: xr.Dataset, made_with: Mapping[str, str] | None = None
) -> None:
    """Write a group whole, in place of what it held, and mark it as whole.

    Parameters
    ----------
    made_with
        as ``record`` takes it.

    Raises
    ------
    SchemaError
        If the dataset does not match the group's declaration.
    """
    write_coordinates(path, group, validate(dataset, group))
    record(path, group, made_with or {})


def replace(
    path: Path, group: str, dataset: xr.Dataset, made_with: Mapping[str, str] | None = None
) -> None:
    """Write a group as ``write`` does, but keep what it held until the new one is whole.

    Killed in between, the group is the old or the new one once ``recover`` was called.
    """
    write(path, group + _NEW, dataset, made_with)
    if trees.exists(path / group):
        trees.move(path / group, path / (group + _OLD))
    trees.move(path / (group + _NEW), path / group)
    _clear_group(path, group + _OLD)


def recover(path: Path, parent: str) -> None:
    """Finish or undo what a killed process left of ``replace`` below a group."""
    for old in (path / parent).glob(f"*{_OLD}"):
        if trees.exists(place := old.with_name(old.name.removesuffix(_OLD))):
            trees.remove(old)
        else:
            trees.move(old, place)
    for new in (path / parent).glob(f"*{_NEW}"):
        trees.remove(new)


def names_below(path: Path, parent: str) -> list[str]:
    """Names of the groups below a group, such as those of single layers, finished or not."""
    names = sorted(place.name for place in (path / parent).glob("*") if place.is_dir())
    return [name for name in names if not name.endswith((_NEW, _OLD))]


def remove(path: Path, group: str) -> None:
    """Remove a group, its mark first."""
    _clear_group(path, group)


def write_coordinates(path: Path, group: str, dataset: xr.Dataset) -> None:
    """Write the first arrays of a group, in place of what it held; this does not mark it whole."""
    described = describe(dataset, group)
    _clear_group(path, group)
    write_arrays(path, group, described)


def _clear_group(path: Path, group: str) -> None:
    """Remove a group, its mark first; a link in its place is refused, not followed."""
    for below in (*reversed(Path(group).parents), Path(group)):
        if (path / below).is_symlink():
            raise RunError(f"{path / below} is a link, and a store may hold none; remove it")
    if (path / group).is_dir():
        trees.remove(path / group)


def record(path: Path, group: str, made_with: Mapping[str, str]) -> None:
    """Mark a group as whole, and record what it was made with; call it after all is written."""
    marks.set_mark(path / group, made_with)


def is_recorded(path: Path, group: str, made_with: Mapping[str, str]) -> bool:
    """Whether a group is whole, with every file as it was written, and was made with this."""
    try:
        mark = marks.read_mark(path / group)
    except marks.DamagedStoreError:
        return False
    if mark is None or not mark.made_with.items() >= made_with.items():
        return False
    return not damages(path, group)


def damages(path: Path, group: str) -> list[str]:
    """What is wrong with a group, file by file; for shards see ``missing_shards``."""
    try:
        mark = marks.read_mark(path / group)
    except marks.DamagedStoreError as error:
        return [str(error)]
    if mark is None:
        return ["not finished"]
    return list(marks.damages(path / group, mark))


def is_marked(path: Path, group: str) -> bool:
    """Whether a group is marked as finished; its files are checked only when they are read.

    Raises
    ------
    DamagedStoreError
        If the group's metadata are not as they were written.
    """
    return marks.read_mark(path / group) is not None


def fingerprint(path: Path, group: str) -> str:
    """A digest that tells a finished group from others, such as one made from another cube.

    Raises
    ------
    DamagedStoreError
        If the group is not finished or not as it was written.
    """
    mark = _whole_mark(path, group)
    numbers = (
        list(
            trees.over_files(
                path, lambda shard: shard_marks.recorded(path / group, shard.index), shards(path)
            )
        )
        if mark.by_shard
        else []
    )
    return hashlib.sha256(f"{mark.text} {numbers}".encode()).hexdigest()[:16]


def verified_group(path: Path, group: str) -> Any:
    """A finished group as a store of its own; every file that is read from it is checked.

    Raises
    ------
    DamagedStoreError
        If the group is not finished or not as it was written.
    """

    def check_shard(array: str, shard: int) -> None:
        shard_marks.check(path / group, shard)
        if array == shard_marks.SIGNAL:
            ShardFiles.of_group(path / group).check(shard)

    return verified(path / group, _whole_mark(path, group), check_shard)


def _whole_mark(path: Path, group: str) -> marks.Mark:
    mark = marks.read_mark(path / group)
    if mark is None:
        raise marks.DamagedStoreError(
            f"{path} holds no finished group {group}; the run, started again, makes it"
        )
    return mark


def read(path: Path, group: str) -> xr.Dataset:
    """Open a group; its arrays are read when they are used.

    Raises
    ------
    SchemaError
        If what is stored does not match the group's declaration.
    DamagedStoreError
        If the group is not finished; later, if what is read is not as it was written.
    """
    verified = verified_group(path, group)
    dataset = xr.open_zarr(verified, zarr_format=3, consolidated=False, chunks=None)
    dataset.attrs.pop(marks.ATTRIBUTE)
    return validate(dataset, group)


def unseal(path: Path) -> None:
    """Remove the metadata that ``seal`` gathered, before groups change."""
    _mend_parents(path)
    metadata = json.loads((path / "zarr.json").read_bytes())
    if metadata.pop("consolidated_metadata", None):
        write_whole(path / "zarr.json", json.dumps(metadata, indent=2))


def is_sealed(path: Path) -> bool:
    """Whether the metadata of all groups are gathered at the root."""
    return "consolidated_metadata" in json.loads((path / "zarr.json").read_bytes())


def seal(path: Path) -> None:
    """Gather the metadata of all groups at the root, so that the whole tree opens with one read."""
    _mend_parents(path)
    root = json.loads((path / "zarr.json").read_bytes())
    gathered = metadata_below(path, lambda file: dict(json.loads(file.read_bytes())))
    for metadata in gathered.values():
        if metadata["node_type"] == "group":
            metadata["consolidated_metadata"] = _consolidated({})
    by_depth = sorted(gathered, key=lambda name: (name.count("/"), name.lower()))
    root["consolidated_metadata"] = _consolidated({name: gathered[name] for name in by_depth})
    write_whole(path / "zarr.json", json.dumps(root, indent=2))


def metadata_below(path: Path, read: Callable[[Path], Metadata]) -> dict[str, Metadata]:
    """What a function reads from the metadata of each group and array below a store's root."""
    names = sorted(file.parent.relative_to(path).as_posix() for file in path.rglob("zarr.json"))
    names = [name for name in names if name != "."]
    contents = trees.over_files(path, lambda name: read(path / name / "zarr.json"), names)
    return dict(zip(names, contents, strict=True))


def _mend_parents(path: Path) -> None:
    """Write anew the metadata of groups that hold nothing but groups, where they are damaged."""
    below = {pattern.partition("/{")[0] for pattern in GROUPS if "/{" in pattern}
    for parent in sorted(below - set(GROUPS)):
        file = path / parent / "zarr.json"
        if not file.parent.is_dir():
            continue
        try:
            whole = json.loads(file.read_bytes()) == _PARENT
        except (OSError, ValueError):
            whole = False
        if not whole:
            write_whole(file, json.dumps(_PARENT, indent=2))


def _consolidated(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of what is below a group, as ``zarr.consolidate_metadata`` gathers them.

    Zarr opens each array and group for it, which takes six times as long.
    """
    return {"kind": "inline", "must_understand": False, "metadata": metadata}
