"""The optimised images of a store: which there are, and batches gathered into layers' groups."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from ddp_tasks.queries.visualization_targets import Wanted
from ddp_tasks.store import groups
from ddp_tasks.visualization.targets import Target
from ddp_tasks.workers import kept
from schemas.names import file_name, group_path
from schemas.visualization_parameters import VisualizationParameters

#: Groups of the layers' optimised images, and of batches that are not gathered into them yet.
GROUP, PARTS = "visualizations", "visualization_parts"


@dataclass(frozen=True)
class Batch:
    """Targets of one layer that a worker makes images of at once."""

    layer: str
    targets: tuple[Target, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def __str__(self) -> str:
        first = self.targets[0].key
        return f"{self.layer}: {first}" + f" and {len(self) - 1} more" * (len(self) > 1)


def settings_text(options: VisualizationParameters) -> str:
    """What a picture depends on beside its target, as it is stored with it."""
    steps = "steps by size" if options.steps is None else f"{options.steps} steps"
    return f"{steps}, {options.seeds} seeds, {options.precision}"


def without_stored(
    path: Path, batches: Sequence[Batch], options: VisualizationParameters
) -> list[Batch]:
    """Batches without the targets whose pictures are stored; those of nothing else are left out."""
    made = {layer: stored_targets(path, layer, options) for layer in {b.layer for b in batches}}
    left = [
        Batch(b.layer, tuple(t for t in b.targets if t.key not in made[b.layer])) for b in batches
    ]
    return [batch for batch in left if batch.targets]


def stored_targets(path: Path, layer: str, options: VisualizationParameters) -> set[str]:
    """Names of a layer's targets that have a picture, made in this way from the present cube."""
    return {
        name
        for dataset in _datasets(path, layer)
        for name, how in zip(
            dataset["target"].to_numpy().tolist(), dataset["settings"].to_numpy(), strict=True
        )
        if how == settings_text(options)
    }


def _datasets(path: Path, layer: str) -> Iterator[xr.Dataset]:
    """The layer's group and the batches not gathered into it, made from the present cube."""
    for group in (group_path(GROUP, layer), *_parts(path, layer)):
        if groups.is_recorded(path, group, kept.of_cube(path)):
            yield groups.read(path, group)


def part_of(batch: Batch, options: VisualizationParameters) -> str:
    """The group of a batch that is not gathered yet."""
    keys = "\n".join([*(target.key for target in batch.targets), settings_text(options)])
    return f"{_part_of_layer(batch.layer)}{hashlib.sha256(keys.encode()).hexdigest()[:16]}"


def _part_of_layer(layer: str) -> str:
    return f"{PARTS}/{file_name(layer)}~~"


def _parts(path: Path, layer: str) -> list[str]:
    beginning = _part_of_layer(layer).removeprefix(f"{PARTS}/")
    names = groups.names_below(path, PARTS)
    return [f"{PARTS}/{name}" for name in names if name.startswith(beginning)]


def remove_damaged(path: Path) -> Iterator[tuple[str, str]]:
    """Remove groups of optimised images that are damaged or made from another cube.

    Yields
    ------
    name of each group, and why it is removed
    """
    for parent in (GROUP, PARTS):
        for name in groups.names_below(path, parent):
            group = f"{parent}/{name}"
            if damages := groups.damages(path, group):
                groups.remove(path, group)
                if parent == GROUP:
                    yield name, damages[0]
            elif not groups.is_recorded(path, group, kept.of_cube(path)):
                groups.remove(path, group)
                yield name, "the signals of the images have changed"


def layers_with_parts(path: Path, layers: Iterable[str]) -> list[str]:
    """Layers with batches that are not gathered into their groups yet."""
    return [layer for layer in layers if _parts(path, layer)]


def gather(path: Path, layer: str) -> None:
    """Put a layer's batches into its group; a target made anew replaces the older picture."""
    datasets = [dataset.load() for dataset in _datasets(path, layer)]
    parts = _parts(path, layer)
    if datasets:
        latest: dict[str, tuple[int, int]] = {}
        for number, dataset in enumerate(datasets):
            for place, target in enumerate(dataset["target"].to_numpy().tolist()):
                latest[target] = number, place
        rows = [datasets[number].isel(target=[place]) for number, place in latest.values()]
        gathered = xr.concat(rows, dim="target", data_vars="minimal", coords="minimal")
        gathered = gathered.assign_attrs(layer=layer)
        groups.replace(path, group_path(GROUP, layer), gathered, kept.of_cube(path))
    for part in parts:
        groups.remove(path, part)


def remove_parts(path: Path) -> None:
    """Remove the group of batches, once all are gathered."""
    groups.remove(path, PARTS)


def counts(
    path: Path,
    layers: Sequence[str],
    wanted: Mapping[str, Sequence[Wanted]],
    options: VisualizationParameters,
) -> xr.Dataset:
    """The group ``visualized``: images asked for and made, by layer."""
    asked, made = [], []
    for layer in layers:
        keys = {t.key for one in wanted.get(layer, ()) for t in one.targets(options)}
        asked.append(len(keys))
        made.append(len(keys & stored_targets(path, layer, options)) if keys else 0)
    return xr.Dataset(
        {"asked": ("layer", np.array(asked)), "made": ("layer", np.array(made))},
        coords={"layer": np.array(layers, dtype=object)},
    )
