"""Removing the singular vectors of a finished run, and comparing that with other removals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow

from ddp_tasks.prepared_run import opened_once
from ddp_tasks.queries.ablation import check_removable
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.queries.layer_names import matching_layers
from ddp_tasks.stages import ablation
from flows.added_findings import report_with
from flows.clusters import check_cluster
from flows.forms import Finished, Opened, finished_of, shown_as
from flows.output_folder import RunFiles
from schemas.ablation_parameters import AblationParameters
from schemas.requests import Opening


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


@flow(name="ddp-ablate", flow_run_name="{out.name}")
def run_ablation(
    out: Finished,
    options: Annotated[
        AblationParameters, shown_as("Options", "what is removed, beside what, on which images")
    ] = AblationParameters(),  # noqa: B008 - frozen
    layers: Annotated[
        list[str], shown_as("Layers", "names and globs of the layers to remove from; * for all")
    ] = ["*"],  # noqa: B006 - Prefect copies it
    opening: Opened = Opening(),  # noqa: B008 - frozen
) -> Path:
    """Remove singular vectors from a finished run's layers, and write its report with findings.

    Layers that are stored already are kept; started again, the flow goes on with the others.

    Parameters
    ----------
    out
        the folder of the finished run.
    options
        which vectors are removed, beside what.
    layers
        names and globs of layers.
    opening
        how model and images are opened.

    Returns
    -------
    the report

    Raises
    ------
    RunError
        If the options do not fit the run, another run is at work in the folder, or a worker fails.
    """
    with opened_once():
        finished = finished_of(out, opening)
        chosen = layers_of(finished, layers)
        check(finished, options)

        def remove(store: Path, address: str) -> None:
            ablation.remove_vectors(finished.run, store, options, chosen, address)

        return report_with(finished.run, finished.store.parent, remove)


def layers_of(finished: FinishedRun, globs: Sequence[str]) -> list[str]:
    """Layers of a finished run that names and globs match, in forward order.

    Raises
    ------
    RunError
        If one of them matches no layer.
    """
    known = [str(name) for name in finished.layers["layer"].to_numpy()]
    return matching_layers(known, globs, finished.store)
