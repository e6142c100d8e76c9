"""The removal of singular vectors from a finished run's layers, as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prefect import get_run_logger

from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.workers import ablation, stored_ablation
from ddp_tasks.workers.stored_run import StoredRun
from schemas.ablation_parameters import AblationParameters
from schemas.parameters import RunParameters


@stage("ablation")
def remove_vectors(
    run: RunParameters,
    path: Path,
    options: AblationParameters,
    layers: Sequence[str],
    scheduler: str,
) -> None:
    """Have the Dask workers remove the singular vectors of some layers, and judge it.

    Layers that are stored already, asked for in the same way, are kept.
    """
    log, stored = get_run_logger(), StoredRun.of(path, run)
    # Zarr would read what is gathered at the root with every array that is written.
    groups.unseal(path)
    groups.recover(path, stored_ablation.GROUP)
    for name in stored_ablation.remove_stale(path):
        log.warning("the removals of %s are damaged or of another run, and are removed", name)
    missing = stored_ablation.missing_layers(stored, options, layers)
    if len(missing) < len(layers):
        log.info("removals: %d of %d layers are stored", len(layers) - len(missing), len(layers))
    parts = {layer: ablation.parts_of(path, options, layer) for layer in missing}

    def calls(layer: str) -> list[partial[ablation.Removed]]:
        return [partial(ablation.take_out, stored, options, part) for part in parts[layer]]

    with over_workers(
        scheduler,
        run.shards.patience,
        key="ablation",
        description="removals of singular vectors",
        total=sum(len(of_layer) + 1 for of_layer in parts.values()),
        size=lambda layer: len(parts[layer]) + 1,
        whole_gpu=True,
    ) as mapped:
        write = partial(stored_ablation.write_layer, stored, options)
        for layer, removals in mapped(write, missing, parts=calls):
            log.info("%s: %d removals", layer, removals)
    stored_ablation.write_comparison(stored, options, layers)
