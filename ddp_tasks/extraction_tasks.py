"""What a faster pass costs in accuracy, and statistics beside the mean, as Prefect tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from distributed import Client
from prefect import get_run_logger

from ddp_tasks import spatial_cube, store
from ddp_tasks.bounded_futures import results
from ddp_tasks.shards import extraction_error, fill_spatial_shard
from ddp_tasks.signal_tasks import SHARD_RETRIES
from ddp_tasks.tasks import progress, stage
from schemas.parameters import RunParameters


@stage("extraction")
def measure_extraction(run: RunParameters, path: Path, scheduler: str) -> None:
    """Measure, on a sample of images, what the run's pass does to the signals, and store it.

    Raises
    ------
    RunError
        If the pass cannot be had as the run asks for it.
    """
    with Client(scheduler, set_as_default=False) as client:
        found = client.submit(
            extraction_error, str(path), run.model_dump_json(), pure=False
        ).result()
    store.write(path, "extraction", found)
    relative = found["relative_error"].to_numpy()
    get_run_logger().info(
        "error of the signals on %d images: at most %.1e of a layer's root mean square (%s); "
        "%d predictions changed",
        found.attrs["images"],
        float(relative.max()),
        found["layer"].to_numpy()[int(relative.argmax())],
        found.attrs["predictions_changed"],
    )


@stage("spatial")
def measure_positions(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers write statistics over positions, shard by shard.

    Raises
    ------
    RunError
        Naming the shard that failed, and why.
    """
    spatial_cube.create(path)
    missing = spatial_cube.missing_shards(path)
    get_run_logger().info("%d of %d shards to write", len(missing), len(store.shards(path)))
    fill = partial(fill_spatial_shard, str(path), run.model_dump_json())
    with (
        Client(scheduler, set_as_default=False) as client,
        progress("spatial", "statistics over positions", sum(map(len, missing))) as done,
    ):
        for _, images in results(
            client, fill, missing, retries=SHARD_RETRIES, patience=run.shards.patience
        ):
            done(images)
