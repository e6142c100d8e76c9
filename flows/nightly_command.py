"""The command ``ddp nightly``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import completion, garbage
from flows.commands import Set, path
from flows.terminal import say


def nightly(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=path, help="The folder of checkpoints.")
    ],
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A preset's name or a YAML file, for everything but the weights.",
            autocompletion=completion.runs,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", parser=path, help="Receives a folder for the run of each checkpoint."
        ),
    ],
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Names of checkpoints; default *.pt, *.pth, *.ckpt and *.safetensors. May be "
            "given more than once.",
        ),
    ] = None,
    settled: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="A checkpoint changed later than this long ago may still be written, and is left.",
        ),
    ] = 60.0,
    compare: Annotated[
        bool, typer.Option(help="Compare the newest checkpoint with the one before.")
    ] = True,
    overrides: Set = None,
) -> None:
    """Analyse the checkpoints of a folder that are new, and compare the newest with the one before.

    Checkpoints whose weights are analysed already are known by their digest. One that fails does
    not stop the others; it is named at the end, and the command ends with status 1.
    """
    from schemas.run_files import load_run

    run = load_run(source, overrides or ())
    from flows import prefect_server

    with prefect_server.served() as server:
        with garbage.paused():
            from flows.checkpoint_folder import PATTERNS
            from flows.nightly import NightError, run_nightly
            from flows.texts.nightly import night_lines
        patterns = pattern or list(PATTERNS)
        with server.used():
            try:
                night = prefect_server.carry_out(
                    run_nightly,
                    folder,
                    run,
                    out,
                    patterns=patterns,
                    settled=settled,
                    compare=compare,
                )
            except NightError as error:
                night = error.night
    say(night_lines(night))
    if night.failed:
        raise typer.Exit(1)
