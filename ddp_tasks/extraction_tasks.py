"""What a faster pass costs in accuracy, and statistics beside the mean, as Prefect tasks."""

from __future__ import annotations

from pathlib import Path

from distributed import Client
from prefect import get_run_logger

from ddp_tasks import store
from ddp_tasks.shards import extraction_error
from ddp_tasks.tasks import stage
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
    relative = found["relative_error"]
    get_run_logger().info(
        "error of the signals on %d images: at most %.1e of a layer's root mean square (%s); "
        "%d predictions changed",
        found.attrs["images"],
        float(relative.max()),
        relative["layer"].to_numpy()[int(relative.argmax())],
        found.attrs["predictions_changed"],
    )
