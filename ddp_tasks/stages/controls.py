"""Controls of every layer's findings, as a Prefect task."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from prefect import get_run_logger

from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.workers import kept
from ddp_tasks.workers.controls import controls_of_layer
from schemas.parameters import RunParameters


def _has_controls(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    recorded = groups.is_recorded(path, "controls", kept.of_controls(run, path))
    return "controls: kept from before" if recorded else None


@stage("controls", after=["significance"], unless=_has_controls)
def measure_controls(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers measure each layer in other bases, and under permuted labels.

    Controls that were measured of the same significance, with the same draws, are kept.
    """
    log, mark = get_run_logger(), kept.of_controls(run, path)
    names = kept.layer_names(path)
    measure = partial(controls_of_layer, str(path), run.significance, run.controls)
    with over_workers(
        scheduler,
        run.shards.patience,
        key="controls",
        description="controls of each layer",
        total=len(names),
    ) as mapped:
        by_layer = dict(mapped(measure, names))
    controls = xr.concat([by_layer[name] for name in names], dim="layer")
    for sentence in spared(controls):
        log.info("%s", sentence)
    draws = {
        "seed": run.significance.seed,
        "rotations": run.controls.rotations,
        "permutations": run.controls.permutations,
    }
    groups.write(path, "controls", controls.assign_attrs(draws), mark)


def spared(controls: xr.Dataset) -> list[str]:
    """Which layers have fewer controls than were asked for, in sentences.

    Parameters
    ----------
    controls
        the group ``controls``.
    """
    sentences = []
    at = controls.sel(measure="nodes")
    for name, words in (
        ("rotation", "random rotations"),
        ("variance_rotation", "random rotations that keep variances"),
    ):
        for layer, there in zip(
            at["layer"].to_numpy(), np.isfinite(at[name].to_numpy()).sum(axis=1), strict=True
        ):
            if there < at.sizes["draw"]:
                sentences.append(f"{layer}: {there} of {at.sizes['draw']} {words}")
    for rival in controls["rival"].to_numpy() if "rival" in controls.coords else ():
        left_out = at["layer"][np.isnan(at["rivals"].sel(rival=rival).to_numpy())].to_numpy()
        if len(left_out):
            sentences.append(f"{rival}: left out in {', '.join(left_out)}, which are too large")
    return sentences
