"""Superclasses, the family over (q, p) and the stability of findings, as Prefect tasks."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from prefect import get_run_logger

from ddp_tasks import cube, store
from ddp_tasks.hypergraph_family import family_dataset
from ddp_tasks.layer_stability import layer_stability, made_with
from ddp_tasks.significance_tables import superclass_dataset
from ddp_tasks.tasks import progress, stage
from schemas.parameters import RunParameters


@stage("superclasses")
def group_classes(run: RunParameters, path: Path) -> None:
    """Compute the class tables over the run's groups of classes; what was kept is kept.

    A run that names no groups leaves a store without the group ``superclasses``.
    """
    groups = run.significance.superclasses
    asked = {"superclasses": json.dumps(groups)}
    if not groups or store.is_recorded(path, "superclasses", asked):
        return
    store.write(path, "superclasses", superclass_dataset(store.read(path, "significance"), groups))
    store.record(path, "superclasses", asked)


@stage("family")
def map_family(run: RunParameters, path: Path) -> None:
    """Count the sizes of all hypergraphs over quantile levels and percentages."""
    percentages = run.significance.all_percentages
    asked = {"percentages": ", ".join(f"{p:g}" for p in percentages)}
    if store.is_recorded(path, "family", asked):
        get_run_logger().info("family: kept from before")
        return
    significance = store.read(path, "significance")
    grids = 1
    for dimension in ("direction", "quantile", "layer"):
        grids *= significance.sizes[dimension]
    with progress("family", "sizes over quantile levels and percentages", grids) as done:
        store.write(path, "family", family_dataset(significance, percentages, done))
    store.record(path, "family", asked)


@stage("stability")
def judge_stability(run: RunParameters, path: Path) -> None:
    """Judge each layer's findings by resampling its images; layers judged before are kept.

    A run with neither resamples nor sample sizes leaves a store without these groups.
    """
    levels = run.significance
    if not levels.resamples and not levels.sample_sizes:
        return
    layers = store.read(path, "layers").load()
    significance = store.read(path, "significance")
    names = [str(name) for name in layers["layer"].to_numpy()]
    with progress("stability", "stability of layers", len(names)) as done:
        for position, layer in enumerate(names):
            group, asked = f"stability/{layer}", made_with(levels, layer)
            if not store.is_recorded(path, group, asked):
                quantile, percentage = levels.of_layer(layer)
                rank = int(layers["rank"].to_numpy()[position])
                judged = layer_stability(
                    partial(cube.layer_parts, path, position, rank),
                    significance.sel(layer=layer),
                    store.read(path, f"hierarchies/{layer}").load(),
                    percentage,
                    quantile,
                    resamples=levels.resamples,
                    sample_sizes=levels.sample_sizes,
                )
                store.write(path, group, judged)
                store.record(path, group, asked)
            done(1)
