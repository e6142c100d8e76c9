"""Whether a store is whole: checked before a run continues it, or when a person asks.

A run writes damaged shards anew and recomputes damaged groups that it computes from the cube. The
decomposition and the coordinates cannot be replaced: the signals were made with them, and other
vectors, even if equally good, would not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddp_tasks.store import groups as store
from ddp_tasks.store import marks, shard_marks, shards
from ddp_tasks.store.identity import Identity
from schemas.names import file_name, group_path
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
            f"{path} has damage that a run cannot mend: {damaged[0].sentence}"
            f"{f', and {len(damaged) - 1} more' if len(damaged) > 1 else ''}. Remove {path}, or "
            "choose another folder"
        )


def damages_of_base(path: Path) -> list[Damage]:
    """Damages of what a store was created with: singular vectors and coordinates of images."""
    try:
        layers = _layers(path)
    except (RunError, SchemaError) as error:
        return [Damage("layers", str(error), _NOT_MENDED)]
    groups = ["layers", "signals", *(group_path("decomposition", layer) for layer in layers)]
    return [
        Damage(group, why, _NOT_MENDED) for group in groups for why in store.damages(path, group)
    ]


@dataclass(frozen=True)
class Damage:
    """A part of a store that is missing or not as it was written."""

    group: str
    what: str
    mended: str
    """how it is mended."""

    @property
    def sentence(self) -> str:
        """The place and the damage, in words."""
        return f"{self.group}: {self.what}"

    def __str__(self) -> str:
        return f"{self.sentence} ({self.mended})"


_SPATIAL = "spatial"
_COMPUTED = "the run, started again, computes it again"
_GATHERED = "the run, started again, gathers them again"
_WRITTEN = "the run, started again, writes it again"
_NOT_MENDED = "not mended: remove the store, or choose another folder"


def _unreported(_: str) -> None:
    """Report no part that is read."""


def check_folder(folder: Path, reading: Callable[[str], None] = _unreported) -> Iterator[Damage]:
    """All damages in the folder of a run or of a list of models.

    Parameters
    ----------
    reading
        is called with the name of each part of a store before the part is read.

    Raises
    ------
    RunError
        If the folder holds no store of this format.
    """
    run, zoo = folder / "store.zarr", folder / "capacity.zarr"
    if not run.is_dir() and not zoo.is_dir():
        raise RunError(f"{folder} holds no results: there is neither {run} nor {zoo}")
    if run.is_dir():
        damaged = list(check_store(run, reading))
        yield from damaged
        if not any(damage.mended == _NOT_MENDED for damage in damaged):
            names = [file_name(layer) for layer in _layers(run)]
            files = ["report.html", *(f"hypergraphs/{name}.hif.json" for name in names)]
            yield from _missing_files(folder, files)
    if zoo.is_dir():
        yield from check_zoo(zoo, reading)
        yield from _missing_files(folder, ["capacity.html"])


def _missing_files(folder: Path, names: list[str]) -> Iterator[Damage]:
    for name in names:
        if not (folder / name).is_file():
            yield Damage(name, "is missing", _WRITTEN)


def _layers(path: Path) -> list[str]:
    return [str(name) for name in store.read(path, "layers")["layer"].to_numpy()]


def check_store(path: Path, reading: Callable[[str], None] = _unreported) -> Iterator[Damage]:
    """All damages of a run's store; every file is read.

    Parameters
    ----------
    reading
        as in ``check_folder``.

    Raises
    ------
    RunError
        If there is no store of a run of this format at the path.
    """
    attributes = _whole_attributes(path, store.root_attributes)
    if isinstance(attributes, Damage):
        yield attributes
        return
    reading("layers and decomposition")
    if base := damages_of_base(path):
        yield from base
        return
    for shard in shards.shards(path):
        reading(str(shard))
        why = shard_marks.damage(path / "signals", shard.index)
        if why := why or shards.damaged_signals(path, shard):
            yield Damage(f"signals, {shard}", why, _WRITTEN)
    run = RunParameters.model_validate_json(attributes["run_parameters"])
    for group in _expected(path, run):
        reading(group)
        yield from (Damage(group, why, _COMPUTED) for why in store.damages(path, group))
    if run.spatial_statistics and not store.damages(path, _SPATIAL):
        for shard in shards.shards(path):
            if why := shard_marks.damage(path / _SPATIAL, shard.index):
                yield Damage(f"{_SPATIAL}, {shard}", why, _WRITTEN)
    yield from _gathered(path)


def check_zoo(path: Path, reading: Callable[[str], None] = _unreported) -> Iterator[Damage]:
    """All damages of the store of a list of models.

    Parameters
    ----------
    reading
        as in ``check_folder``.

    Raises
    ------
    RunError
        If there is no store of a list of this format at the path.
    """
    stored = _whole_attributes(path, store.zoo_attributes)
    if isinstance(stored, Damage):
        yield stored
        return
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
            reading(group)
            yield from (Damage(group, why, _COMPUTED) for why in store.damages(path, group))
    yield from _gathered(path)


def _whole_attributes(
    path: Path, attributes: Callable[[Path], dict[str, str]]
) -> dict[str, str] | Damage:
    """Attributes of a store's root, or their damage."""
    try:
        return attributes(path)
    except marks.DamagedStoreError as error:
        return Damage("/", str(error), _NOT_MENDED)


def _expected(path: Path, run: RunParameters) -> list[str]:
    """Groups of a finished run, but for the cube and the groups that the cube was made with."""
    layers, levels = _layers(path), run.significance
    by_layer = ["hypergraphs", "hierarchies", "projections"]
    if levels.resamples or levels.sample_sizes:
        by_layer.append("stability")
    wanted_by_group = {
        "extraction": not run.extraction.plain,
        "capacity": bool(run.capacity),
        "significance": True,
        "superclasses": bool(levels.superclasses),
        _SPATIAL: run.spatial_statistics,
        "exemplars": True,
        "visualized": run.visualizations.targets != "none",
        "pictures": True,
        "family": True,
        "controls": True,
    }
    return [
        *(group for group, wanted in wanted_by_group.items() if wanted),
        *(group_path(parent, layer) for parent in by_layer for layer in layers),
        *(f"visualizations/{name}" for name in store.names_below(path, "visualizations")),
        *(f"ablation/{name}" for name in store.names_below(path, "ablation")),
        *(["ablated"] if (path / "ablated").is_dir() else []),
    ]


def _gathered(path: Path) -> Iterator[Damage]:
    """Differences between the metadata that ``store.seal`` gathered and those of the groups."""
    gathered = json.loads((path / "zarr.json").read_bytes()).get("consolidated_metadata")
    if not isinstance(gathered, dict) or not isinstance(gathered.get("metadata"), dict):
        yield Damage("/", "its metadata are not gathered", _GATHERED)
        return
    if gathered != {"kind": "inline", "must_understand": False, "metadata": gathered["metadata"]}:
        yield Damage("/", "the metadata gathered are not as they were written", _GATHERED)
    own = store.metadata_below(path, _metadata)
    for name in sorted({*own, *gathered["metadata"]}):
        written = own.get(name)
        copy = gathered["metadata"].get(name)
        if written is None or not isinstance(copy, dict):
            yield Damage(name, "its metadata are missing or cannot be read", _GATHERED)
        elif {**copy, **written} != copy:
            yield Damage(name, "its metadata differ from those gathered at the root", _GATHERED)


def _metadata(file: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
