"""Significance, exemplars and hypergraphs of a finished cube, as Prefect tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prefect import get_run_logger

from ddp_tasks.significance.significance import ClassFractions, tables_dataset
from ddp_tasks.significance.splits import Split
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups, regions, shards
from ddp_tasks.store.cube import cube_size
from ddp_tasks.store.slabs import slabs
from ddp_tasks.visualization import exemplars
from ddp_tasks.workers import kept, reductions
from ddp_tasks.workers.hypergraphs import build_hypergraph
from ddp_tasks.workers.opened import run_parts
from schemas.parameters import RunError, RunParameters


def _has_significance(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    return _kept(path, "significance", kept.of_significance(run, path))


@stage("significance", after=["signals"], unless=_has_significance)
def measure_significance(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compute thresholds and class tables at all quantile levels of the run.

    Results that were computed from the same cube are kept.
    """
    split = Split.of(run.significance)
    layers = groups.read(path, "layers").load()
    target_classes = groups.read(path, "signals")["target_class"].to_numpy().tolist()
    quantiles, classes = run.significance.quantiles, len(target_classes)
    cube = cube_size(path)
    pieces, narrow = (
        slabs(cube),
        reductions.fraction_slabs(cube, len(quantiles), classes, len(split.names)),
    )
    total = 2 * len(pieces) + len(narrow)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="significance",
        description="thresholds and fractions",
        total=total,
    ) as mapped:
        threshold = reductions.thresholds(path, pieces, quantiles, split, mapped)
        # An array of this shape may be larger than memory; only the shape is used.
        parts, ranks = len(split.names), (len(cube.ranks), max(cube.ranks))
        shape = (parts, *threshold.shape[:2], classes, *ranks)
        none_yet = ClassFractions(
            fraction=np.broadcast_to(np.float32(np.nan), shape),
            images=np.zeros((parts, classes), dtype=np.int64),
            reached=np.zeros((parts, classes, len(cube.ranks)), dtype=np.int64),
            eta_squared=np.broadcast_to(np.float32(np.nan), (parts, *ranks)),
        )
        part = run_parts(path, split)
        empty = tables_dataset(
            threshold,
            none_yet,
            part,
            layers=layers,
            target_classes=target_classes,
            quantiles=quantiles,
        )
        # The widest slab sets the width, so that each slab is written to a file of its own.
        region = (*shape[:4], 1, max(slab.width for slab in narrow))
        regions.write_template(
            path,
            "significance",
            empty,
            {"fraction": region},
            within={"fraction": (1, 1, 1, *region[3:])},
        )
        small: dict[str, npt.NDArray[Any]] = {
            "images": none_yet.images,
            "reached": none_yet.reached,
            "eta_squared_of_signals": np.full((parts, *ranks), np.nan, dtype=np.float32),
        }
        write = partial(reductions.write_fractions, path, classes, split)
        for slab, counts in mapped(write, narrow):
            small["images"][:] = counts.images
            small["reached"][:, :, slab.layer] = counts.reached
            small["eta_squared_of_signals"][:, slab.layer, slab.vectors] = counts.eta_squared
        for name, array in small.items():
            regions.write_region(path, "significance", name, (slice(None),), array)
    images = int(small["images"].sum())
    missed = images - small["reached"].sum(axis=(0, 1))
    for layer in np.flatnonzero(missed):
        get_run_logger().warning(
            "%s: %d of %d images do not reach it; none of its vectors is significant for them",
            layers["layer"].to_numpy()[layer],
            missed[layer],
            images,
        )
    groups.record(path, "significance", kept.of_significance(run, path))


def _has_exemplars(_run: RunParameters, path: Path, _scheduler: str) -> str | None:
    return _kept(path, "exemplars", kept.of_cube(path))


@stage("exemplars", after=["signals"], unless=_has_exemplars)
def find_exemplars(run: RunParameters, path: Path, scheduler: str) -> None:
    """Find the strongest images of every singular vector, overall and of each target class.

    Exemplars that were found in the same cube are kept.
    """
    signals, layers = groups.read(path, "signals"), groups.read(path, "layers").load()
    target_classes = signals["target_class"].to_numpy().tolist()
    classes, places = len(target_classes), min(run.exemplars, signals.sizes["image"])
    bands = reductions.exemplar_bands(cube_size(path), places, classes)
    region = (2, bands[0].layers, bands[0].width)
    regions.write_template(
        path,
        "exemplars",
        exemplars.exemplars_template(layers, places, target_classes),
        {
            "image": (*region, places),
            "signal": (*region, places),
            "class_image": (*region, classes),
            "class_signal": (*region, classes),
        },
    )
    with over_workers(
        scheduler,
        run.shards.patience,
        key="exemplars",
        description="strongest images",
        total=len(bands),
    ) as mapped:
        find = partial(reductions.write_exemplars, path, places, classes)
        for _ in mapped(find, bands):
            pass
    groups.record(path, "exemplars", kept.of_cube(path))


def _kept(path: Path, group: str, mark: dict[str, str]) -> str | None:
    """Whether a reduction of the cube is finished; refuses a cube that is not."""
    if missing := shards.missing_shards(path):
        raise RunError(f"{len(missing)} shards of {path} are not written yet")
    return f"{group}: kept from before" if groups.is_recorded(path, group, mark) else None


def _has_hypergraphs(run: RunParameters, path: Path, folder: Path, _scheduler: str) -> str | None:
    folder.mkdir(exist_ok=True)
    missing = kept.unbuilt_layers(run, path, folder)
    return None if missing else "hypergraphs: kept from before"


@stage("hypergraphs", after=["significance", "superclasses", "exemplars"], unless=_has_hypergraphs)
def build_hypergraphs(run: RunParameters, path: Path, folder: Path, scheduler: str) -> None:
    """Have the Dask workers build each layer's hypergraph and semantic hierarchy.

    HIF files go to the folder, relations of classes and hierarchies to the store. Hypergraphs that
    were built from the same significance are kept.
    """
    missing = kept.unbuilt_layers(run, path, folder)
    build = partial(build_hypergraph, str(path), str(folder), run)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="hypergraphs",
        description="hypergraphs of layers",
        total=len(missing),
    ) as mapped:
        for layer, empty in mapped(build, missing):
            if empty:
                get_run_logger().warning("%s: %s", layer, empty)
