"""Significance, exemplars and hypergraphs of a finished cube, as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from distributed import Client
from prefect import get_run_logger

from ddp_tasks import exemplars, reductions, store
from ddp_tasks.bounded_futures import results
from ddp_tasks.cube import cube_size
from ddp_tasks.semantic_hierarchy import hierarchy_dataset
from ddp_tasks.significance import share, tables_dataset
from ddp_tasks.slabs import Slab, slabs
from ddp_tasks.stored_hypergraphs import built_hypergraph
from ddp_tasks.tasks import on_workers, progress, stage
from schemas.parameters import RunError, RunParameters

#: What a reduction of the whole cube leaves in its group's attributes.
_FINISHED = {"finished": "yes"}

#: Attempts after the first that a slab gets.
_RETRIES = 2

Result = TypeVar("Result")


@stage("significance")
def measure_significance(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compute thresholds and class tables at all quantile levels of the run.

    What was computed of the finished cube before is kept.
    """
    if _kept(path, "significance"):
        return
    layers = store.read(path, "layers").load()
    target_classes = store.read(path, "signals")["target_class"].to_numpy().tolist()
    quantiles, classes = run.significance.quantiles, len(target_classes)
    cube = cube_size(path)
    pieces, narrow = slabs(cube), reductions.fraction_slabs(cube, len(quantiles), classes)
    total = 2 * len(pieces) + len(narrow)
    with _over_workers(run, scheduler, "significance", "thresholds and fractions", total) as mapped:
        threshold = reductions.thresholds(path, pieces, quantiles, mapped)
        # An array of this shape may be larger than memory; only its shape is used.
        shape = (*threshold.shape[:2], classes, len(cube.ranks), max(cube.ranks))
        tables: dict[str, npt.NDArray[Any]] = {
            "threshold": threshold,
            "fraction": np.broadcast_to(np.float32(np.nan), shape),
            "images": np.zeros(classes, dtype=np.int64),
        }
        empty = tables_dataset(tables, layers, target_classes, quantiles)
        # The widest slab sets the width: each of them is then written to a file of its own.
        region = (*shape[:3], 1, max(slab.width for slab in narrow))
        store.write_template(path, "significance", empty, {"fraction": region})
        for found in reductions.significant_counts(path, narrow, threshold, classes, mapped):
            place = (slice(None), slice(None), slice(None), found.layer, found.vectors)
            fraction = share(found.significant, found.images)
            store.write_region(path, "significance", "fraction", place, fraction)
        store.write_region(path, "significance", "images", (slice(None),), found.images)
    store.record(path, "significance", _FINISHED)


@stage("exemplars")
def find_exemplars(run: RunParameters, path: Path, scheduler: str) -> None:
    """Find the strongest images of every singular vector.

    What was found in the finished cube before is kept.
    """
    if _kept(path, "exemplars"):
        return
    ids = store.read(path, "signals")["image"].to_numpy().tolist()
    layers = store.read(path, "layers").load()
    pieces = slabs(cube_size(path))
    with _over_workers(run, scheduler, "exemplars", "strongest images", len(pieces)) as mapped:
        places = min(run.exemplars, len(ids))
        strongest = reductions.strongest_images(path, pieces, places, mapped)
    store.write(path, "exemplars", exemplars.exemplars_dataset(strongest, layers, ids))
    store.record(path, "exemplars", _FINISHED)


def _kept(path: Path, group: str) -> bool:
    """Whether a reduction of the cube is finished; refuses a cube that is not."""
    if missing := store.missing_shards(path):
        raise RunError(f"{len(missing)} shards of {path} are not written yet")
    if kept := store.is_recorded(path, group, _FINISHED):
        get_run_logger().info("%s: kept from before", group)
    return kept


@contextmanager
def _over_workers(
    run: RunParameters, scheduler: str, key: str, description: str, total: int
) -> Iterator[reductions.Mapped]:
    """Map over slabs on the Dask workers, a worker's death costing only what it worked on."""
    with (
        Client(scheduler, set_as_default=False) as client,
        progress(key, description, total) as done,
    ):

        def mapped(
            function: Callable[[Slab], Result], pieces: Iterable[Slab], /
        ) -> Iterator[tuple[Slab, Result]]:
            for slab, result in results(
                client, function, pieces, retries=_RETRIES, patience=run.shards.patience
            ):
                done(1)
                yield slab, result

        yield mapped


@stage("hypergraphs")
def build_hypergraphs(run: RunParameters, path: Path, folder: Path, scheduler: str) -> None:
    """Have the Dask workers build each layer's hypergraph and semantic hierarchy.

    HIF files go to the folder, relations of classes and hierarchies to the store.
    """
    folder.mkdir(exist_ok=True)
    layers = store.read(path, "layers").load()
    names = [str(name) for name in layers["layer"].to_numpy()]
    build = partial(built_hypergraph, str(path), str(folder), run.name, run.significance)
    hierarchies = {}
    for layer, built in on_workers(
        run, scheduler, build, names, key="hypergraphs", description="hypergraphs of layers"
    ):
        if because := str(built.relations["empty"].item()):
            get_run_logger().warning("%s: %s", layer, because)
        store.write(path, f"hypergraphs/{layer}", built.relations)
        hierarchies[layer] = built.hierarchy
    sets = [exemplars.vector_sets(hierarchies[layer].singular_vectors) for layer in names]
    pieces = slabs(cube_size(path))
    signals = store.read(path, "signals")
    ids = signals["image"].to_numpy().tolist()
    target_classes = signals["target_class"].to_numpy().tolist()
    with _over_workers(
        run, scheduler, "class-exemplars", "exemplars of classes", len(pieces)
    ) as mapped:
        strongest = reductions.class_exemplars(path, pieces, sets, len(target_classes), mapped)
    for layer, best in zip(names, strongest, strict=True):
        of_layer = layers.sel(layer=layer)
        dataset = hierarchy_dataset(hierarchies[layer], of_layer, target_classes, best, ids)
        store.write(path, f"hierarchies/{layer}", dataset)
