"""Making optimised images for a finished run: some vectors of a layer, or all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.queries.visualization_targets import (
    Wanted,
    wanted_by_run,
    wanted_of_layer,
)
from ddp_tasks.stages import visualizations
from flows.added_findings import report_with
from flows.clusters import check_cluster
from flows.output_folder import RunFiles
from schemas.parameters import RunParameters
from schemas.visualization_parameters import VisualizationParameters


@dataclass(frozen=True)
class Request:
    """Which optimised images a person asks for."""

    layer: str | None = None
    """None for all layers."""
    vectors: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    """target classes, or equivalence classes by one of their singular vectors."""
    negative: bool = False
    """the opposite direction of everything asked for."""
    everything: bool = False
    """every singular vector in both directions, and every equivalence class."""


def wanted_by(request: Request, finished: FinishedRun) -> dict[str, list[Wanted]]:
    """The targets of a request, by layer.

    Raises
    ------
    RunError
        If a layer, vector or class does not exist; it names those that there are.
    """
    if request.layer is not None:
        finished.check_layer(request.layer)
    if request.everything:
        options = finished.run.visualizations.model_copy(update={"targets": "all"})
        run = finished.run.model_copy(update={"visualizations": options})
        wanted = wanted_by_run(run, finished.store)
        return {k: v for k, v in wanted.items() if request.layer in (None, k)}
    assert request.layer is not None
    return {
        request.layer: wanted_of_layer(
            finished.run,
            finished.store,
            request.layer,
            vectors=request.vectors,
            classes=request.classes,
            negative=request.negative,
        )
    }


def check(finished: FinishedRun) -> None:
    """Refuse a run whose model, images or cluster cannot be used, before any work.

    Raises
    ------
    RunError
        If they are not those of the store, or the images are no pictures.
    """
    check_cluster(finished.run.cluster)
    RunFiles.of(finished.store.parent)
    visualizations.check_pictures(finished.prepared())


@flow(name="ddp-visualize", flow_run_name="{run.name}", validate_parameters=False)
def run_visualization(
    run: RunParameters,
    out: Path,
    wanted: Mapping[str, Sequence[Wanted]],
    options: VisualizationParameters,
) -> Path:
    """Make the optimised images of some targets, and write the run's report with them.

    Images that are stored already are kept; stopped, the same command makes the others.

    Parameters
    ----------
    run
        as the store records it, with the present places of model and images.
    out
        the folder of the finished run.
    wanted
        targets, by layer.
    options
        how they are optimised.

    Returns
    -------
    the report

    Raises
    ------
    RunError
        If another run is at work in the folder, or a worker fails.
    """

    def make(store: Path, address: str) -> None:
        visualizations.visualize(run, store, wanted, options, address)

    return report_with(run, out, make)
