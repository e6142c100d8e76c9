"""The command ``ddp schema``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.terminal import say


def schema(
    kind: Annotated[
        Literal["run", "zoo", "cluster"],
        typer.Argument(
            metavar="KIND",
            help="run, for run files, zoo, for lists of models, or cluster, for cluster files.",
        ),
    ] = "run",
    *,
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the schema's file instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of run files, by which editors complete keys and check values.

    An editor with a YAML language server takes it from the first line of a file:
    "# yaml-language-server: $schema=PATH". Presets and files of ddp init have that line.
    """
    from schemas.json_schema import schema_path

    file = schema_path(kind)
    say(file if path else file.read_text("utf-8").rstrip("\n"))
