"""Finished runs opened to be looked at: each part of a store is read when it is first shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.explorer.linked_pictures import LinkedPictures
from ddp_tasks.figures.optimised_pictures import OptimisedPicture, optimised_pictures
from ddp_tasks.queries.layer_levels import LayerLevels
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.run_signals import RunSignals, open_run_signals
from ddp_tasks.queries.visualizations import layer_visualizations
from ddp_tasks.store import groups
from schemas.names import group_path
from schemas.run_error import RunError

#: Layers whose signals and figures are kept, the last that were looked at.
_LAYERS_KEPT = 2


@dataclass(frozen=True)
class Opening:
    """How the network and the images of a run are opened, where a view needs them."""

    overrides: Sequence[str] = ()
    trust: bool = False
    run_file: str | None = None


@dataclass
class OpenedRun:
    """One finished run. Nothing in it grows with what was looked at, or with the images."""

    number: int
    """1, or 2 of two runs."""
    folder: Path
    signals: RunSignals
    opening: Opening
    beside: bool = False
    """whether another run is open, of which its number tells it."""
    _levels: OrderedDict[str, LayerLevels] = field(default_factory=OrderedDict)

    @property
    def store(self) -> Path:
        """The path of its store."""
        return self.signals.store

    @property
    def name(self) -> str:
        """As the run file calls it, with its number where two are open."""
        name = self.signals.run.name
        return f"{self.number}: {name}" if self.beside else name

    @cached_property
    def layers(self) -> list[str]:
        """Names of its layers, in forward order."""
        return list(self.signals.layers)

    @property
    def target_classes(self) -> list[str]:
        """Names of its classes, in their order."""
        return list(self.signals.target_classes)

    def levels(self, layer: str) -> LayerLevels:
        """A layer at any levels; the last ones that were asked for are kept."""
        if layer not in self._levels:
            while len(self._levels) >= _LAYERS_KEPT:
                self._levels.popitem(last=False)
            stored = self.signals.stored
            self._levels[layer] = LayerLevels(self.store, stored.significance, stored.layers, layer)
        self._levels.move_to_end(layer)
        return self._levels[layer]

    @cached_property
    def pictures(self) -> StoredPictures:
        """Small copies of the images that the run's pages show; 64 MiB at most."""
        return StoredPictures(self.store)

    @cached_property
    def thumbnails(self) -> LinkedPictures:
        """The same as addresses below that of the page."""
        return LinkedPictures(self.pictures, f"pictures/{self.number}")

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Position of each image in the run, by its id."""
        return {image: place for place, image in enumerate(self.signals.ids)}

    def class_of(self, image: str) -> str:
        """Name of an image's class; empty where it could not be read."""
        target = int(self.signals.target[self.position[image]])
        return self.target_classes[target] if target >= 0 else ""

    @cached_property
    def exemplars(self) -> xr.Dataset:
        """The group ``exemplars``."""
        return groups.read(self.store, "exemplars")

    @cached_property
    def controls(self) -> xr.Dataset:
        """The group ``controls``."""
        return groups.read(self.store, "controls").load()

    @cached_property
    def predicted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The class that the network chose for each image, and how sure it was."""
        stored = groups.read(self.store, "signals")
        return stored["predicted"].to_numpy().astype(np.int64), stored["confidence"].to_numpy()

    def of_layer(self, parent: str, layer: str) -> xr.Dataset | None:
        """A group of one layer, such as ``projections``; None where the store has none."""
        group = group_path(parent, layer)
        return groups.read(self.store, group) if groups.is_marked(self.store, group) else None

    def optimised(self, layer: str) -> list[OptimisedPicture]:
        """The optimised images of a layer, those to trust first."""
        return optimised_pictures(layer_visualizations(self.store, layer))


def open_runs(folders: Sequence[Path], opening: Opening | None = None) -> list[OpenedRun]:
    """Open one finished run, or two to be seen side by side.

    Raises
    ------
    RunError
        If a folder holds no finished run of this format, or two runs share no class.
    """
    runs = [
        OpenedRun(number, folder, open_run_signals(folder), opening or Opening(), len(folders) > 1)
        for number, folder in enumerate(folders, start=1)
    ]
    check_shared({run.folder: run.target_classes for run in runs})
    return runs


def check_shared(classes: Mapping[Path, Sequence[str]]) -> None:
    """Refuse runs that cannot be seen side by side.

    Parameters
    ----------
    classes
        names of each run's classes, by its folder.

    Raises
    ------
    RunError
        If no class is in all of them.
    """
    if not set.intersection(*map(set, classes.values())):
        named = " and ".join(
            f"{folder} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
            for folder, names in classes.items()
        )
        raise RunError(f"{named} share no class")
