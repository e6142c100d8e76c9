"""Making optimised images for a finished run: some vectors of a layer, or all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow

from ddp_tasks.prepared_run import opened_once
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.queries.visualization_targets import (
    Wanted,
    wanted_by_run,
    wanted_of_layer,
)
from ddp_tasks.stages import visualizations
from flows.added_findings import report_with
from flows.clusters import check_cluster
from flows.forms import Finished, Opened, finished_of, shown_as
from flows.output_folder import RunFiles
from schemas.requests import Opening, VisualizationRequest
from schemas.run_error import RunError
from schemas.visualization_parameters import VisualizationParameters

#: What a person asks for is made whole.
NO_LIMIT = VisualizationParameters(seconds=None)


def wanted_by(
    request: VisualizationRequest, options: VisualizationParameters, finished: FinishedRun
) -> dict[str, list[Wanted]]:
    """The targets of a request, by layer.

    Raises
    ------
    RunError
        If a layer, vector or class does not exist, which names those that there are; or if
        something of a layer is asked for without a layer.
    """
    of_layer = {"vectors": request.vectors, "classes": request.classes}
    named = [key for key, values in of_layer.items() if values]
    if request.layer is None:
        if named or request.negative:
            key = (named or ["negative"])[0]
            raise RunError(f"{key}: they are those of a layer; name one in layer")
    else:
        finished.check_layer(request.layer)
        if named or options.targets == "equivalence_classes":
            wanted = wanted_of_layer(
                finished.run,
                finished.store,
                request.layer,
                vectors=request.vectors,
                classes=request.classes,
                negative=request.negative,
            )
            return {request.layer: wanted}
    if options.targets == "none":
        raise RunError("targets: none asks for no image; equivalence_classes or all")
    run = finished.run.model_copy(update={"visualizations": options})
    wanted_of_all = wanted_by_run(run, finished.store)
    return {k: v for k, v in wanted_of_all.items() if request.layer in (None, k)}


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


@flow(name="ddp-visualize", flow_run_name="{out.name}")
def run_visualization(
    out: Finished,
    request: Annotated[
        VisualizationRequest, shown_as("Targets", "of which singular vectors images are made")
    ],
    options: Annotated[
        VisualizationParameters, shown_as("Options", "how many images are made, and how")
    ] = NO_LIMIT,
    opening: Opened = Opening(),  # noqa: B008 - frozen
) -> Path:
    """Make optimised images of singular vectors of a finished run, and write its report with them.

    Images that are stored already are kept; started again, the flow makes the others.

    Parameters
    ----------
    out
        the folder of the finished run.
    request
        targets: a layer's vectors or classes, or all.
    options
        how many there are and how they are optimised.
    opening
        how model and images are opened.

    Returns
    -------
    the report

    Raises
    ------
    RunError
        If the request does not fit the run, another run is at work in the folder, or a worker
        fails.
    """
    with opened_once():
        finished = finished_of(out, opening)
        wanted = wanted_by(request, options, finished)
        check(finished)

        def make(store: Path, address: str) -> None:
            visualizations.visualize(finished.run, store, wanted, options, address)

        return report_with(finished.run, finished.store.parent, make)
