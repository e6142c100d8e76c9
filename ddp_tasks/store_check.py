"""Whether a store is whole: before a run continues it, and for whoever asks.

What a run computes from the cube it computes again where it is damaged, damaged shards it writes
anew. The decomposition and the coordinates are what the signals were made with; other vectors, be
they as good, would not fit them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddp_tasks import shard_marks, spatial_cube, store
from ddp_tasks.identity import Identity
from schemas.names import group_path
from schemas.parameters import RunError, RunParameters
from schemas.variables import SchemaError
from schemas.zoo import ZooParameters


def check_continuable(path: Path, identity: Identity) -> None:
    """Refuse a store that was made with other parameters, weights or images.

    Raises
    ------
    RunError
        Naming the store and what differs.
    """
    if refusal := identity.refusal(store.root_attributes(path)):
        raise RunError(f"{path} was made by another run: {refusal}", change=("out",))
    if damaged := damages_of_base(path):
        raise RunError(
            f"{path} is damaged where a run cannot mend it: {damaged[0]}"
            f"{f', and {len(damaged) - 1} more' if len(damaged) > 1 else ''}. Remove {path}, or "
            "run into another folder"
        )


def damages_of_base(path: Path) -> list[str]:
    """What is wrong with what a store was created with: weights' vectors, images' coordinates."""
    try:
        layers = store.read(path, "layers")["layer"].to_numpy().tolist()
    except (RunError, SchemaError) as error:
        return [str(error)]
    groups = ["layers", "signals", *(group_path("decomposition", layer) for layer in layers)]
    return [f"{group}: {why}" for group in groups for why in store.damages(path, group)]


@dataclass(frozen=True)
class Damage:
    """A part of a store that is missing or not as it was written."""

    group: str
    what: str
    mended: str
    """what mends it."""

    def __str__(self) -> str:
        return f"{self.group}: {self.what} ({self.mended})"


_COMPUTED = "the run, started again, computes it anew"
_WRITTEN = "the run, started again, writes it anew"
_NOT_MENDED = "not mended: remove the store, or run into another folder"


def check_store(path: Path) -> Iterator[Damage]:
    """Everything of a run's store that is not whole; every file is read.

    Raises
    ------
    RunError
        If there is no store of a run of this format at the path.
    """
    attributes = store.root_attributes(path)
    base = damages_of_base(path)
    yield from (Damage("base", why, _NOT_MENDED) for why in base)
    if base:
        return
    for shard in store.shards(path):
        why = shard_marks.damage(path / "signals", shard.index)
        if why := why or store.damaged_signals(path, shard):
            yield Damage(f"signals, {shard}", why, _WRITTEN)
    run = RunParameters.model_validate_json(attributes["run_parameters"])
    for group in _expected(path, run):
        yield from (Damage(group, why, _COMPUTED) for why in store.damages(path, group))
    if run.spatial_statistics and not store.damages(path, spatial_cube.GROUP):
        for shard in spatial_cube.missing_shards(path):
            yield Damage(f"{spatial_cube.GROUP}, {shard}", "is not as it was written", _WRITTEN)
    yield from _gathered(path)


def check_zoo(path: Path) -> Iterator[Damage]:
    """Everything of a list's store that is not whole.

    Raises
    ------
    RunError
        If there is no store of a list of this format at the path.
    """
    stored = store.zoo_attributes(path)
    zoo = ZooParameters.model_validate_json(stored["zoo_parameters"])
    failed: set[str] = set()
    for why in store.damages(path, "zoo"):
        yield Damage("zoo", why, _COMPUTED)
    if not store.damages(path, "zoo"):
        table = store.read(path, "zoo")
        failed = {
            str(name)
            for name, error in zip(
                table["model"].to_numpy(), table["error"].to_numpy(), strict=True
            )
            if error
        }
    for model in zoo.models:
        if model.name not in failed:
            group = group_path("capacity", model.name)
            yield from (Damage(group, why, _COMPUTED) for why in store.damages(path, group))
    yield from _gathered(path)


def _expected(path: Path, run: RunParameters) -> list[str]:
    """Groups that a finished run leaves beside its cube and what that was made with."""
    layers = [str(name) for name in store.read(path, "layers")["layer"].to_numpy()]
    levels = run.significance
    by_layer = ["hypergraphs", "hierarchies"]
    if levels.resamples or levels.sample_sizes:
        by_layer.append("stability")
    asked = {
        "extraction": not run.extraction.plain,
        "capacity": bool(run.capacity),
        "significance": True,
        "superclasses": bool(levels.superclasses),
        spatial_cube.GROUP: run.spatial_statistics,
        "exemplars": True,
        "family": True,
    }
    return [
        *(group for group, wanted in asked.items() if wanted),
        *(group_path(parent, layer) for parent in by_layer for layer in layers),
    ]


def _gathered(path: Path) -> Iterator[Damage]:
    """The metadata that ``store.seal`` gathers at the root must be those of the groups."""
    gathered = json.loads((path / "zarr.json").read_bytes()).get("consolidated_metadata")
    if gathered is None:
        yield Damage("/", "its metadata are not gathered", "the run, started again, ends with that")
        return
    for name, copy in gathered["metadata"].items():
        own = _metadata(path / name / "zarr.json")
        if own is None or any(copy.get(key) != value for key, value in own.items()):
            yield Damage("/", f"the metadata gathered of {name} are not its own", _COMPUTED)


def _metadata(file: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
