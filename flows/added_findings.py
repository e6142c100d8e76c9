"""Adding findings to a finished run, and writing its report anew with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddp_tasks.prepared_run import opened_once
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.stages import report
from ddp_tasks.store import run_lock
from flows import prefect_server
from flows.agreement import agreed
from flows.clusters import scheduler
from flows.labels import labelled
from flows.output_folder import RunFiles
from schemas.parameters import RunParameters


def report_with(run: RunParameters, out: Path, find: Callable[[Path, str], object]) -> Path:
    """Carry out a stage on a finished run's store, and write the run's report with its findings.

    Parameters
    ----------
    run
        as the store records it, with the present places of model and images.
    out
        the folder of the finished run.
    find
        the stage; called with the path of the store and the address of the Dask scheduler.

    Returns
    -------
    the report

    Raises
    ------
    RunError
        If another run is at work in the folder, or a worker fails.
    """
    files = RunFiles.of(out)
    with (
        run_lock.held(out),
        prefect_server.cancelled_when_stopped(),
        labelled(run),
        opened_once(),
        scheduler(run.cluster) as address,
        agreed(run.cluster, address, out, run),
    ):
        find(files.store, address)
        summary = read_summary(run, files.store)
        report.write_report(run, summary, files.store, files.report, address)
        return prefect_server.left(files.report)
