"""A finished run opened for its signals: images by id, layers, classes; no network is opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.queries.significance import StoredSignificance, open_significance
from ddp_tasks.store import groups
from ddp_tasks.store.cube import open_cube, rows_of_layer
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.names import group_path
from schemas.parameters import RunError, RunParameters
from schemas.run_files import nearest


@dataclass(frozen=True)
class RunSignals:
    """What a run stored of its images, read where it is used."""

    store: Path
    stored: StoredSignificance
    ids: tuple[str, ...]
    """of the images, in the order of the run."""
    target: npt.NDArray[np.int64]
    """shape (image,); -1 for an image that could not be read."""
    target_classes: tuple[str, ...]
    content: npt.NDArray[np.uint64]
    """shape (image, 2); size and digest of the bytes of each image."""
    accuracy: float
    """over the images that were read."""
    chooses: npt.NDArray[np.bool_]
    """shape (image,); images that choose thresholds and vectors."""
    judges: npt.NDArray[np.bool_]
    """shape (image,); images that judge them: the others, or all where the run splits none."""

    @property
    def run(self) -> RunParameters:
        """As recorded."""
        return self.stored.run

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions of the signed vectors that are nodes of the run's hypergraphs."""
        return tuple(self.run.significance.directions)

    @cached_property
    def layers(self) -> dict[str, LayerVectors]:
        """The run's layers by name, in forward order."""
        dataset = self.stored.layers
        names = map(str, dataset["layer"].to_numpy())
        return {name: LayerVectors.of(dataset.isel(layer=i)) for i, name in enumerate(names)}

    def check_layer(self, layer: str) -> None:
        """Refuse a layer that the run does not have.

        Raises
        ------
        RunError
            Naming the nearest, and all of them.
        """
        if layer not in self.layers:
            raise RunError(
                f"layer {layer!r} is not in {self.store}{nearest(layer, list(self.layers))}; "
                f"layers: {', '.join(self.layers)}"
            )

    def signals(self, layer: str, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Signals of one layer for some of the images.

        Parameters
        ----------
        wanted
            shape (image,).

        Returns
        -------
        shape (wanted images, rank); NaN for images that do not reach the layer

        Raises
        ------
        DamagedStoreError
            If what is read is not as it was written.
        """
        position = list(self.layers).index(layer)
        within_rank = slice(0, self.layers[layer].rank)
        return rows_of_layer(open_cube(self.store), position, within_rank, wanted)

    def left_vectors(self, layer: str) -> npt.NDArray[np.float64]:
        """Left singular vectors of a layer, shape (d, rank)."""
        U = groups.read(self.store, group_path("decomposition", layer))["U"].to_numpy()
        return U[:, : self.layers[layer].rank].astype(np.float64)


def open_run_signals(folder: Path) -> RunSignals:
    """Open a finished run for its signals.

    Raises
    ------
    RunError
        If there is no store of a run of this format in the folder, or it is not finished.
    """
    stored = open_significance(folder)
    path = folder.expanduser() / "store.zarr"
    signals = groups.read(path, "signals")
    read = signals["error"].to_numpy() == ""
    target = np.where(read, signals["target"].to_numpy(), -1).astype(np.int64)
    right = signals["predicted"].to_numpy()[read] == target[read]
    chooses, judges = _parts(stored.significance, len(target))
    content = [signals[name].to_numpy() for name in ("content_size", "content_digest")]
    return RunSignals(
        store=path,
        stored=stored,
        ids=tuple(map(str, signals["image"].to_numpy())),
        target=target,
        target_classes=tuple(map(str, signals["target_class"].to_numpy())),
        content=np.stack([column.astype(np.uint64) for column in content], axis=1),
        accuracy=float(right.mean()) if len(right) else float("nan"),
        chooses=chooses,
        judges=judges,
    )


def _parts(
    significance: xr.Dataset, images: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    every = np.ones(images, dtype=np.bool_)
    if significance.sizes["split"] == 1:
        return every, every
    part = significance["part"].to_numpy()
    return part == 0, part == 1
