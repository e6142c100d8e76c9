"""The command ``ddp visualize``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows import completion, garbage, stopping
from flows.commands import Cluster, Folder, RunFile, Set, Trust
from flows.terminal import say


def visualize(
    folder: Folder,
    *,
    layer: Annotated[
        str | None,
        typer.Option(metavar="LAYER", help="A layer of the run.", autocompletion=completion.layers),
    ] = None,
    vector: Annotated[
        list[int] | None,
        typer.Option(metavar="I", help="A singular vector; may be given more than once."),
    ] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="An equivalence class by one of its vectors, such as v14; or a target class, "
            "whose significant vectors become one target. May be given more than once.",
            autocompletion=completion.classes,
        ),
    ] = None,
    negative: Annotated[
        bool, typer.Option("--negative", help="Minimise the signals instead of maximising them.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every singular vector in both directions and every equivalence class, of all "
            "layers or of LAYER.",
        ),
    ] = False,
    objective: Annotated[
        Literal["mean", "density", "both"],
        typer.Option(help="mean: of the signal over positions; density: its soft maximum."),
    ] = "mean",
    method: Annotated[
        Literal["fourier", "maco"],
        typer.Option(help="fourier, or maco: phases alone, with natural magnitudes."),
    ] = "fourier",
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Seeds tried for each image.")
    ] = 2,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100_000, help="Steps; by default by size."),
    ] = None,
    diverse: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=16, help="Images of each target, pushed apart."),
    ] = 1,
    precision: Annotated[
        Literal["float32", "float64"],
        typer.Option(help="float64 gives the same bits in any batch and on any worker."),
    ] = "float32",
    cluster: Cluster = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Make optimised images of singular vectors of a finished run, and write its report anew.

    Without --vector and --class: all equivalence classes of LAYER. Images that are stored are
    kept, so the same command continues what was stopped. A store may name any code. Only the
    code of presets is run, unless --run names your run file or --trust allows all of it.
    """
    from schemas.parameters import RunError

    if everything and (vector or class_):
        raise RunError("--all and --vector or --class exclude each other; keep one of them")
    if layer is None and not everything:
        raise RunError("a layer is needed: --layer LAYER, or --all for every layer")
    from flows import prefect_server

    with prefect_server.served() as server, garbage.paused():
        from ddp_tasks.prepared_run import opened_once
        from flows.forms import finished_of
        from flows.visualization import check, run_visualization, wanted_by
        from schemas.requests import Opening, VisualizationRequest
        from schemas.visualization_parameters import VisualizationParameters

        opening = Opening(run_file=run_file, changes=overrides or [], trust=trust, cluster=cluster)
        finished = finished_of(folder, opening)
        request = VisualizationRequest(
            layer=layer, vectors=vector or [], classes=class_ or [], negative=negative
        )
        options = VisualizationParameters(
            targets="all" if everything else "equivalence_classes",
            seconds=None,
            objectives=["mean", "density"] if objective == "both" else [objective],
            parametrization=method,
            seeds=seeds,
            steps=steps,
            diverse=diverse,
            precision=precision,
        )
        wanted = wanted_by(request, options, finished)
        with opened_once():
            check(finished)
            with server.used(), stopping.described_by(_standing):
                page = prefect_server.carry_out(
                    run_visualization, finished.store.parent, request, options, opening
                )
    from ddp_tasks.queries.visualizations import has_pictures
    from flows.texts import visualizations as texts

    say(texts.lines(finished.store, wanted, options))
    from ddp_tasks.report import contact_sheet_page

    for of_layer in wanted:
        if has_pictures(finished.store, of_layer):
            say(contact_sheet_page.write(finished.store.parent, of_layer))
    say(page)


def _standing() -> str:
    """The end of a sentence: the command that continues."""
    return f"; finished batches are stored. The same command continues: {stopping.this_command()}"
