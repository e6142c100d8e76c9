"""The command ``ddp``: parse, validate, call a flow or a query."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Import little before signals are watched: Ctrl-C during an import gives a traceback.
from flows import completion, garbage, stopping
from flows.ablate_command import ablate
from flows.check_command import check
from flows.cluster_command import cluster
from flows.commands import Commands, Folder, RunFile, Set, Trust, ZooSet, path, without_dask
from flows.compare_command import compare
from flows.describe_command import describe
from flows.explore_command import explore
from flows.figure_command import figure
from flows.init_command import init
from flows.misclassified_command import misclassified
from flows.nightly_command import nightly
from flows.prune_command import prune
from flows.quick_exit import leave, quick_exit
from flows.schema_command import schema
from flows.terminal import counted, say
from flows.visualize_command import visualize

if TYPE_CHECKING:
    from schemas.parameters import RunParameters

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"ddp {version('ddp-flows')}")
        raise typer.Exit


@app.callback()
def about(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Explain what an image classifier has learned from the singular vectors of its weights."""
    del version  # its callback has shown it


Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A preset's name (see ddp presets) or a YAML file.",
        autocompletion=completion.runs,
    ),
]
Layer = Annotated[
    str,
    typer.Argument(metavar="LAYER", help="A layer of the run.", autocompletion=completion.layers),
]
Quantile = Annotated[
    float | None,
    typer.Option(help="Any quantile level between 0 and 1; by default the layer's own."),
]
Percentage = Annotated[
    float | None, typer.Option(help="p, above 0 and at most 100; by default the layer's own.")
]
Direction = Annotated[
    str | None,
    typer.Option(help="positive, negative or both; default: the directions of the run."),
]
Superclasses = Annotated[
    bool,
    typer.Option("--superclasses", help="Use the run's groups of classes instead of classes."),
]


@app.command()
def run(
    source: Run = "digits",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=path,
            help="Folder for the results; default ddp-results/NAME of the run.",
        ),
    ] = None,
    overrides: Set = None,
) -> None:
    """Carry out a run: decompose, extract signals, build hypergraphs, write the report.

    DIR receives store.zarr, report.html and hypergraphs/LAYER.hif.json. Started again on the
    same DIR, the run continues with what is missing; where nothing is, all files are checked.
    """
    from flows.output_folder import RunFiles
    from schemas.names import file_name
    from schemas.run_files import load_run

    started = _process_start()
    parameters = load_run(source, overrides or ())
    say(f"{parameters.name}: opening model and images", err=True)
    folder = out or Path("ddp-results") / file_name(parameters.name)
    RunFiles.of(folder)  # refused before anything is imported
    if not (folder / "report.html").is_file() or not _is_finished(parameters, folder, started):
        _carry_out(parameters, folder, started)


def _is_finished(parameters: RunParameters, folder: Path, started: float) -> bool:
    """Whether a run is finished in its folder; its findings are then shown, and nothing is done."""
    with garbage.paused():
        from flows.started_again import finished_before
        from flows.texts import run as run_texts
    imported = time.time()
    outcome = finished_before(parameters, folder)
    if outcome is None:
        return False
    say(
        f"{parameters.name}: finished before; store and hypergraphs are as they were written",
        err=True,
    )
    ended = time.time()
    seconds = {"imports": imported - started, "checks": ended - imported}
    say(run_texts.closing_lines(outcome, seconds, ended - started))
    return True


def _carry_out(parameters: RunParameters, folder: Path, started: float) -> None:
    """Carry a run out and show its findings."""
    with ExitStack() as stack:
        with garbage.paused():
            from flows import worker_processes

            # Workers and a temporary server start while model and images are opened.
            worker_processes.load_workers_of(parameters)
            from flows import prefect_server

            server = stack.enter_context(prefect_server.served())
            from ddp_tasks.prepared_run import opened_once
            from flows.pipeline import check, run_pipeline, standing
            from flows.texts import run as run_texts
        imported = time.time()
        with opened_once():
            with garbage.paused():  # factories import libraries too
                check(parameters, folder)
            checked = time.time()
            with server.used(), stopping.described_by(lambda: standing(folder)):
                outcome = prefect_server.carry_out(run_pipeline, parameters, folder)
    seconds = {"imports": imported - started, "checks": checked - imported, **outcome.seconds}
    total = time.time() - started
    seconds["Prefect's server and bookkeeping"] = total - sum(seconds.values())
    say(run_texts.closing_lines(outcome, seconds, total))


@app.command()
def presets() -> None:
    """List the presets."""
    from schemas.run_files import presets as known_presets

    known = known_presets()
    width = max(map(len, known)) + 2
    for name, description in known.items():
        say(f"{name:<{width}}{description}")


@app.command()
def layers(source: Run = "digits", overrides: Set = None) -> None:
    """List the linear layers that a run would analyse, with shapes and ranks."""
    from schemas.run_files import load_run

    parameters = load_run(source, overrides or ())
    from ddp_tasks.prepared_run import prepare
    from flows.texts import run as run_texts

    say(run_texts.layer_lines(prepare(parameters)))


@app.command()
def capacity(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ZOO",
            help="A zoo's name (cifar10-resnets, torchvision) or a YAML file.",
            autocompletion=completion.zoos,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=path, help="Folder for the results; default ddp-results/NAME."
        ),
    ] = None,
    overrides: ZooSet = None,
) -> None:
    """Compute the capacity metric of a list of models with known accuracies (figures 3 and 4).

    DIR receives capacity.zarr and capacity.html. A model that fails does not stop the others;
    it is named at the end, and the command ends with status 1.
    """
    from schemas.names import file_name
    from schemas.run_files import load_zoo

    zoo = load_zoo(source, overrides or ())
    say(f"{zoo.name}: {len(zoo.models)} models", err=True)
    from flows.zoo_files import check_contents, check_zoo_files

    folder = out or Path("ddp-results") / file_name(zoo.name)
    if missing := check_zoo_files(zoo, folder):
        say(missing, err=True)
    with counted("opening models", len(zoo.models)) as looked:
        unfit = check_contents(zoo, looked)
    if unfit:
        say(unfit, err=True)
    from flows import prefect_server

    with prefect_server.served() as server:
        from flows.capacity import check, run_capacity, standing
        from flows.texts import run as run_texts

        check(zoo, folder)
        with server.used(), stopping.described_by(lambda: standing(zoo, folder)):
            outcome = prefect_server.carry_out(run_capacity, zoo, folder)
    say(run_texts.zoo_lines(outcome))
    if outcome.errors:
        raise typer.Exit(1)


@app.command()
def steps(
    folder: Folder,
    layer: Layer,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The id of an image of the run.")],
    *,
    vectors: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="I J", help="Singular vectors that span the plane of the circle; default 0 1."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            parser=path,
            help="The page; default DIR/steps-LAYER-IMAGE.html.",
        ),
    ] = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Show each step of a layer's computation on one image, and a circle (figures 5 and 8).

    Writes a page that opens without a network. Use --set to name files that were moved since the
    run, such as images.kwargs.root=FOLDER. A store may name any code. Only the code of presets is
    run, unless --run names your run file or --trust allows all of it.
    """
    from ddp_tasks.report import steps_page

    page = steps_page.write(
        folder,
        layer,
        image,
        vectors=vectors,
        out=out,
        overrides=overrides or (),
        trust=trust,
        run_file=run_file,
    )
    say(page)


for command in (
    *(visualize, ablate, figure, compare, misclassified, prune, describe, check, schema),
    *(init, explore, cluster, nightly),
):
    app.command()(command)


@app.command()
def table(
    folder: Folder,
    layer: Layer,
    *,
    quantile: Quantile = None,
    percentage: Percentage = None,
    direction: Direction = None,
    superclasses: Superclasses = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path,
            help="Write every row to FILE.csv or FILE.parquet instead.",
        ),
    ] = None,
) -> None:
    """Show which singular vectors of a layer are significant for which classes, and how surely.

    Prints the pairs that are significant. A file receives all pairs, with exact intervals that
    hold together.
    """
    without_dask()
    from ddp_tasks.queries import significance, table_files
    from flows.texts import significance as significance_texts

    if out is not None:
        table_files.check_table_file(out)
    stored = significance.open_significance(folder, superclasses)
    frame = stored.table(layer, quantile, percentage, direction)
    if out is None:
        place = stored.place(layer, quantile, percentage, direction)
        confidence = stored.run.significance.confidence
        say(significance_texts.table_lines(frame, place, confidence, split=stored.split))
    else:
        table_files.write_table(frame, out)
        say(out)


@app.command()
def hypergraph(
    folder: Folder,
    layer: Layer,
    *,
    quantile: Quantile = None,
    percentage: Percentage = None,
    direction: Direction = None,
    superclasses: Superclasses = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            parser=path,
            help="Write it as HIF JSON to FILE.json instead.",
        ),
    ] = None,
) -> None:
    """Show one hypergraph of a layer's family over (q, p): its equivalence classes, in order.

    A file receives the hypergraph itself, as HyperNetX, XGI and others read it.
    """
    without_dask()
    from ddp_tasks.queries import significance, table_files

    if out is not None:
        table_files.check_file(out, (".json",))
    stored = significance.open_significance(folder, superclasses)
    if out is None:
        from flows.texts import significance as significance_texts

        findings = stored.findings(layer, quantile, percentage, direction)
        say(significance_texts.hypergraph_lines(findings))
    else:
        from ddp_tasks.queries.hypergraphs import write_stored_hypergraph

        write_stored_hypergraph(
            stored,
            out.expanduser(),
            layer,
            quantile=quantile,
            percentage=percentage,
            direction=direction,
        )
        say(out)


@app.command()
def distinguish(
    folder: Folder,
    a: Annotated[
        str,
        typer.Argument(
            metavar="CLASS_A",
            help="A target class of the run.",
            autocompletion=completion.classes,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(metavar="CLASS_B", help="Another.", autocompletion=completion.classes),
    ],
    *,
    layer: Annotated[
        str,
        typer.Option(metavar="GLOB", help="Layers to look at.", autocompletion=completion.layers),
    ] = "*",
    direction: Direction = None,
    superclasses: Superclasses = False,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Vectors to show.")] = 20,
) -> None:
    """Show what distinguishes one class from another: singular vectors, the surest first.

    Compares the shares of their images for which a vector is significant, at the run's own
    quantile levels, on images that chose nothing. The intervals of all differences hold together.
    """
    without_dask()
    from ddp_tasks.queries.significance import open_significance
    from flows.texts import significance as significance_texts

    stored = open_significance(folder, superclasses)
    frame = stored.distinguishing(a, b, layer, direction)
    confidence = stored.run.significance.confidence
    say(significance_texts.distinguishing_lines(frame, a, b, top, confidence))


def main() -> None:
    """Entry point: no error ends in a traceback.

    A refusal, which a person can act on, ends with status 2. An unexpected error ends with status
    70 and the path of a log.
    """
    quick_exit()
    stopping.watch()
    from flows.refusals import refusal_text, unexpected_text
    from schemas.run_error import RunError

    try:
        app(prog_name="ddp")
    except SystemExit as ended:
        leave(ended.code)
    except RunError as error:
        say(f"ddp: {refusal_text(error)}", err=True)
        leave(2)
    except Exception as error:  # noqa: BLE001 - any other error is logged to a file
        say(f"ddp: {unexpected_text(error)}", err=True)
        leave(70)


def _process_start() -> float:
    import psutil

    return psutil.Process().create_time()
