"""The command ``ddp``: parse, validate, call a flow; nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from schemas.parameters import RunError
from schemas.run_files import load_run, load_zoo
from schemas.run_files import presets as known_presets

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Explain what an image classifier has learned from the singular vectors of its weights.",
)

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A preset's name (see ddp presets) or a YAML file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the run, such as images.per_class=20; the value is YAML. "
        "May be given more than once.",
    ),
]


@app.command()
def run(
    source: Run = "digits",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the results; default ddp-results/NAME of the run."
        ),
    ] = None,
    overrides: Set = None,
) -> None:
    """Carry out a run: decompose, extract signals, build hypergraphs, write the report.

    DIR receives store.zarr, report.html and hypergraphs/LAYER.hif.json. Started again on the
    same DIR, the run continues with what is missing.
    """
    started = _process_start()
    parameters = load_run(source, overrides or ())
    typer.echo(f"{parameters.name}: opening model and images", err=True)
    from flows import summary_text
    from flows.pipeline import check, run_pipeline

    imported = time.time()
    folder = out or Path("ddp-results") / parameters.name
    check(parameters, folder)
    checked = time.time()
    outcome = run_pipeline(parameters, folder)
    seconds = {"imports": imported - started, "checks": checked - imported, **outcome.seconds}
    total = time.time() - started
    seconds["Prefect's server and bookkeeping"] = total - sum(seconds.values())
    typer.echo(summary_text.closing_lines(outcome, seconds, total))


@app.command()
def presets() -> None:
    """List the presets."""
    for name, description in known_presets().items():
        typer.echo(f"{name:<16}{description}")


@app.command()
def layers(source: Run = "digits", overrides: Set = None) -> None:
    """List the linear layers that a run would analyse, with shapes and ranks."""
    parameters = load_run(source, overrides or ())
    from ddp_tasks.preparation import prepare
    from flows import summary_text

    typer.echo(summary_text.layer_lines(prepare(parameters)))


@app.command()
def capacity(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ZOO", help="A zoo's name (cifar10-resnets, torchvision) or a YAML file."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results; default ddp-results/NAME."),
    ] = None,
    overrides: Set = None,
) -> None:
    """Compute the capacity metric of a list of models with known accuracies (section 4.1).

    DIR receives capacity.zarr and capacity.html. A model that fails does not stop the others;
    it is named at the end, and the command then ends with status 1.
    """
    zoo = load_zoo(source, overrides or ())
    typer.echo(f"{zoo.name}: {len(zoo.models)} models", err=True)
    from flows import summary_text
    from flows.capacity import run_capacity

    outcome = run_capacity(zoo, out or Path("ddp-results") / zoo.name)
    typer.echo(summary_text.zoo_lines(outcome))
    if outcome.errors:
        raise SystemExit(1)


@app.command()
def steps(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a finished run.")],
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A layer of the run.")],
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
        typer.Option(metavar="FILE.html", help="The page; default DIR/steps-LAYER-IMAGE.html."),
    ] = None,
    overrides: Set = None,
) -> None:
    """Show each step of a layer's computation on one image, and what its weight does to a circle.

    Writes a page that opens without a network. --set tells where files lie that were moved since
    the run, such as images.kwargs.root=FOLDER.
    """
    from ddp_tasks import steps_page

    page = steps_page.write(
        folder, layer, image, vectors=vectors, out=out, overrides=overrides or ()
    )
    typer.echo(page)


def main() -> None:
    """Entry point: errors a person can act on end without a traceback, with status 2."""
    try:
        app()
    except RunError as error:
        typer.echo(f"ddp: {error}", err=True)
        raise SystemExit(2) from None


def _process_start() -> float:
    import psutil

    return psutil.Process().create_time()
