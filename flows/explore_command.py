"""The command ``ddp explore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import freed_memory, stopping
from flows.commands import RunFile, Set, Trust, finished, path, without_dask
from flows.terminal import say


def explore(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR [DIR2]",
            parser=path,
            callback=finished,
            help="The folder of a finished run, or of two.",
        ),
    ],
    *,
    port: Annotated[
        int,
        typer.Option(metavar="PORT", min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the address in the browser.")
    ] = False,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Look at a finished run in the browser, and move its levels, or at two side by side.

    Prints an address that only this machine can open, and that nobody can guess; Ctrl-C ends it.
    Nothing is written. Similarity overlays open the run's network and images: --set, --run and
    --trust say where they are, as for ddp steps.
    """
    without_dask()
    freed_memory.give_back()
    from schemas.run_error import RunError

    if len(folders) > 2:
        raise RunError(f"{len(folders)} folders are given; one, or two to be seen side by side")
    from ddp_tasks.explorer import explore as serve
    from ddp_tasks.explorer.opened_runs import Opening

    def started(address: str) -> None:
        stopping.keep_watching()  # the server has set a handler of Ctrl-C of its own
        say(address)
        say("Ctrl-C ends it", err=True)
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(
        folders,
        port=port,
        opening=Opening(tuple(overrides or ()), trust=trust, run_file=run_file),
        started=started,
    )
