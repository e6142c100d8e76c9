"""Superclasses, the family over (q, p) and the stability of findings, as Prefect tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import xarray as xr

from ddp_tasks.significance.superclasses import superclass_dataset
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups as store
from ddp_tasks.workers import kept
from ddp_tasks.workers.family import family_of_layer, judge_layer
from schemas.parameters import RunParameters


def _has_superclasses(run: RunParameters, path: Path) -> str | None:
    if not run.significance.superclasses:
        return ""
    recorded = store.is_recorded(path, "superclasses", kept.of_superclasses(run, path))
    return "superclasses: kept from before" if recorded else None


@stage("superclasses", after=["significance"], unless=_has_superclasses)
def group_classes(run: RunParameters, path: Path) -> None:
    """Compute the class tables over the run's groups of classes, unless the store has them.

    A run that names no groups leaves a store without the group ``superclasses``.
    """
    groups = run.significance.superclasses
    assert groups is not None
    mark = kept.of_superclasses(run, path)
    tables = superclass_dataset(store.read(path, "significance"), groups)
    store.write(path, "superclasses", tables, mark)


def _has_family(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    recorded = store.is_recorded(path, "family", kept.of_family(run, path))
    return "family: kept from before" if recorded else None


@stage("family", after=["significance"], unless=_has_family)
def map_family(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers count the sizes of all hypergraphs over levels and percentages."""
    mark = kept.of_family(run, path)
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


def _has_stability(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    levels = run.significance
    if not levels.resamples and not levels.sample_sizes:
        return ""
    return None if kept.unjudged_layers(run, path) else "stability: kept from before"


@stage("stability", after=["hypergraphs"], unless=_has_stability)
def judge_stability(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers measure the stability of each layer's findings by resampling images.

    Finished layers are kept. A run with neither resamples nor sample sizes leaves a store
    without these groups.
    """
    levels = run.significance
    missing = kept.unjudged_layers(run, path)
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
