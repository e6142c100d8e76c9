"""The error of a faster pass, and statistics over positions, as Prefect tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import get_run_logger

from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups, shards, spatial_cube
from ddp_tasks.workers.signals import extraction_error, fill_spatial_shard
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import RunParameters


def _is_plain(run: RunParameters, _path: Path, _scheduler: str) -> str | None:
    return "" if run.extraction.plain else None


@stage("extraction", after=["decompose"], unless=_is_plain)
def measure_extraction(run: RunParameters, path: Path, scheduler: str) -> None:
    """Measure the error that the run's pass makes in the signals of a sample of images; store it.

    Raises
    ------
    RunError
        If the pass cannot be made as the run asks.
    """
    with over_workers(
        scheduler,
        run.shards.patience,
        key="extraction",
        description="error of the signals",
        total=1,
        named=lambda _: "the sample of images",
    ) as mapped:
        ((_, errors),) = mapped(extraction_error, [StoredRun.of(path, run)])
    groups.write(path, "extraction", errors)
    relative = errors["relative_error"].to_numpy()
    get_run_logger().info(
        "error of the signals on %d images: at most %.1e of a layer's root mean square (%s); "
        "%d predictions changed",
        errors.attrs["images"],
        float(relative.max()),
        errors["layer"].to_numpy()[int(relative.argmax())],
        errors.attrs["predictions_changed"],
    )


def _has_positions(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    if not run.spatial_statistics:
        return ""
    missing = not spatial_cube.is_created(path) or shards.missing_shards(path, spatial_cube.GROUP)
    return None if missing else "statistics over positions: kept from before"


@stage("spatial", after=["significance"], unless=_has_positions)
def measure_positions(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers write statistics over positions, shard by shard.

    Raises
    ------
    RunError
        If a shard fails; the message names it and the reason.
    """
    spatial_cube.create(path)
    missing = shards.missing_shards(path, spatial_cube.GROUP)
    get_run_logger().info("%d of %d shards to write", len(missing), len(shards.shards(path)))
    fill = partial(fill_spatial_shard, StoredRun.of(path, run))
    with over_workers(
        scheduler,
        run.shards.patience,
        key="spatial",
        description="statistics over positions",
        total=sum(map(len, missing)),
        size=len,
    ) as mapped:
        for _ in mapped(fill, missing):
            pass
