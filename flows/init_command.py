"""The command ``ddp init``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import path
from flows.terminal import say


def init(
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="FACTORY", help="The network: module:callable, or path/to/file.py:callable."
        ),
    ],
    images: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            parser=path,
            help="Pictures, a folder for each class; or the root of a data set of torchvision.",
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A checkpoint, or the name of torchvision's weights."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml", parser=path, help="The run file; default NETWORK.yaml here."
        ),
    ] = None,
) -> None:
    """Write a commented run file from your network and a folder of pictures.

    Looks at the folder, some pictures and the checkpoint, fills in what it finds, and names every
    other key in a comment. The file runs as it is. Your network's code is run.
    """
    from flows.new_run import write_run_file

    file = write_run_file(model, images, weights, out)
    say(file)
    say(f"carry it out: {shlex.join(['ddp', 'run', str(file)])}", err=True)
