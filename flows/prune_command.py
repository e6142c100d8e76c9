"""The command ``ddp prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import completion
from flows.commands import Folder, RunFile, Set, Trust, path
from flows.terminal import say


def prune(
    folder: Folder,
    *,
    parameters: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Shares of the network's parameters to keep, such as 0.75,0.5; default: those of "
            "0.9,0.75,0.5,0.25 that can be reached.",
        ),
    ] = None,
    criterion: Annotated[
        Literal["singular_value", "signal_energy", "both"],
        typer.Option(help="By what singular vectors are chosen."),
    ] = "both",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Layers to prune; may be given more than once.",
            autocompletion=completion.layers,
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            metavar="N", min=2, help="Judge on at most N images; estimate BatchNorms on as many."
        ),
    ] = 2000,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", parser=path, help="The results; default DIR/pruned."),
    ] = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Prune a finished run's network to fewer singular vectors, and judge what is left (section 7).

    Each pruned layer becomes two. FOLDER receives pruning.html, pruning.csv and for each network
    its weights and a run file that ddp run takes as it is. Accuracy stands beside that of random
    vectors, with BatchNorms as trained and estimated again. A store may name any code. Only the
    code of presets is run, unless --run names your run file or --trust allows all of it.
    """
    from rich.console import Console
    from rich.text import Text

    from ddp_tasks.interventions.pruning import CRITERIA
    from ddp_tasks.queries import prunable_network, pruned_files, pruning, table_files
    from ddp_tasks.queries.finished_run import open_finished
    from ddp_tasks.workers.devices import best_device
    from flows.output_folder import made_folder, output_folder
    from flows.texts.pruning import pruning_lines

    asked = None if parameters is None else _shares(parameters)
    place = output_folder(out or folder.expanduser() / "pruned")
    criteria = CRITERIA if criterion == "both" else (criterion,)
    with Console(stderr=True).status(Text("opening model and images")) as status:
        finished = open_finished(folder, overrides or (), trust=trust, run_file=run_file)
        pruned_files.check_folder(place, ["pruning.html", "pruning.csv"])
        network = prunable_network.open_prunable(finished, layers or ["*"])
        shares = pruning.check_shares(network, asked)
        pruned_files.check_folder(place, _files(criteria, shares))
        made_folder(place)
        found = pruning.prune(
            network,
            shares,
            criteria,
            most_images=images,
            device=best_device(),
            reading=lambda what: status.update(Text(what)),
            made=lambda one, model: pruned_files.write_network(finished.run, one, model, place),
        )
        from ddp_tasks.report import pruning_page

        status.update(Text("drawing"))
        pruning_page.write(found, place / "pruning.html")
        table_files.write_table(found.table, place / "pruning.csv")
    say(pruning_lines(found))
    for name in ("pruning.html", "pruning.csv", *_files(criteria, shares)[1::2]):
        say(place / name)


def _files(criteria: tuple[str, ...], shares: list[float]) -> list[str]:
    """Names of the files of all networks, weights before the run file of each."""
    from ddp_tasks.queries.pruned_files import network_name

    names = [network_name(criterion, share) for share in shares for criterion in criteria]
    return [f"{name}{ending}" for name in names for ending in (".pt", ".yaml")]


def _shares(text: str) -> list[float]:
    """Shares of the parameters as a person writes them: numbers with commas between.

    Raises
    ------
    RunError
        If one is no number above 0 and below 1.
    """
    from schemas.run_error import RunError
    from schemas.shown import shown

    shares = []
    for part in text.split(","):
        try:
            share = float(part)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            raise RunError(
                f"--parameters {shown(repr(text))}: {shown(repr(part.strip()))} is no share; "
                "numbers above 0 and below 1 are allowed, such as 0.75,0.5"
            )
        shares.append(share)
    return shares
