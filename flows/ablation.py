"""Removing the singular vectors of a finished run, and comparing that with other removals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from ddp_tasks.queries.ablation import check_removable
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.stages import ablation
from flows.added_findings import report_with
from flows.clusters import check_cluster
from flows.output_folder import RunFiles
from schemas.ablation_parameters import AblationParameters
from schemas.parameters import RunParameters


def check(finished: FinishedRun, options: AblationParameters) -> None:
    """Refuse a run whose vectors cannot be removed, before any work.

    Raises
    ------
    RunError
        If model, images or cluster cannot be used or are not those of the store, its images are
        not split, or a quantile level is not stored.
    """
    check_removable(finished, options)
    check_cluster(finished.run.cluster)
    RunFiles.of(finished.store.parent)
    finished.prepared()


@flow(name="ddp-ablate", flow_run_name="{run.name}", validate_parameters=False)
def run_ablation(
    run: RunParameters, out: Path, options: AblationParameters, layers: Sequence[str]
) -> Path:
    """Remove singular vectors from some layers, and write the run's report with the findings.

    Layers that are stored already are kept; stopped, the same command goes on with the others.

    Parameters
    ----------
    run
        as the store records it, with the present places of model and images.
    out
        the folder of the finished run.
    options
        which vectors are removed, beside what.
    layers
        names of layers, in forward order.

    Returns
    -------
    the report

    Raises
    ------
    RunError
        If another run is at work in the folder, or a worker fails.
    """

    def remove(store: Path, address: str) -> None:
        ablation.remove_vectors(run, store, options, layers, address)

    return report_with(run, out, remove)
