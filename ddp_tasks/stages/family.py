"""Superclasses, the family over (q, p) and the stability of findings, as Prefect tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import xarray as xr
from prefect import get_run_logger

from ddp_tasks.significance.superclasses import superclass_dataset
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups as store
from ddp_tasks.workers import kept
from ddp_tasks.workers.family import family_of_layer, judge_layer
from schemas.parameters import RunParameters


@stage("superclasses")
def group_classes(run: RunParameters, path: Path) -> None:
    """Compute the class tables over the run's groups of classes, unless the store has them.

    A run that names no groups leaves a store without the group ``superclasses``.
    """
    groups = run.significance.superclasses
    if not groups:
        return
    mark = kept.of_superclasses(run, path)
    if store.is_recorded(path, "superclasses", mark):
        return
    tables = superclass_dataset(store.read(path, "significance"), groups)
    store.write(path, "superclasses", tables, mark)


@stage("family")
def map_family(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers count the sizes of all hypergraphs over levels and percentages."""
    mark = kept.of_family(run, path)
    if store.is_recorded(path, "family", mark):
        get_run_logger().info("family: kept from before")
        return
    names = kept.layer_names(path)
    count = partial(family_of_layer, str(path), run.significance.all_percentages)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="family",
        description="family of each layer",
        total=len(names),
    ) as mapped:
        family = dict(mapped(count, names))
    store.write(path, "family", xr.concat([family[name] for name in names], dim="layer"), mark)


@stage("stability")
def judge_stability(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers measure the stability of each layer's findings by resampling images.

    Finished layers are kept. A run with neither resamples nor sample sizes leaves a store
    without these groups.
    """
    levels = run.significance
    if not levels.resamples and not levels.sample_sizes:
        return
    missing = kept.unjudged_layers(run, path)
    if not missing:
        get_run_logger().info("stability: kept from before")
        return
    judge = partial(judge_layer, str(path), levels)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="stability",
        description="stability of each layer",
        total=len(missing),
    ) as mapped:
        for _ in mapped(judge, missing):
            pass
