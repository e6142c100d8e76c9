"""The command ``ddp describe``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import completion
from flows.commands import Folder, path, without_dask
from flows.terminal import say


def describe(
    folder: Folder,
    *,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="GLOB",
            help="Layers to describe, by name or glob; may be given more than once.",
            autocompletion=completion.layers,
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            parser=path,
            help="A table of image attributes, .csv or .parquet, with a column id.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A column of it; default: all. May be given more than once."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PLACE",
            parser=path,
            help="An existing folder for descriptions.html and descriptions.csv, or one file "
            "(.html, .csv or .parquet); default DIR.",
        ),
    ] = None,
) -> None:
    """Say what singular vectors mean, and test it on images that chose nothing.

    Each signed vector is described by the class, two classes, group of classes or attribute whose
    images have the greatest signals, on the images that choose, and scored on those that judge,
    beside the same search over random directions of the layer's outputs.
    """
    without_dask()
    from rich.console import Console
    from rich.text import Text

    from ddp_tasks.queries import descriptions, table_files
    from flows.texts.descriptions import description_lines

    files = _files(folder if out is None else out)
    for file in files:
        table_files.check_table_file(file, also=(".html",))
    with Console(stderr=True).status(Text("reading")) as status:
        found = descriptions.describe(
            folder,
            layers or ("*",),
            attributes,
            column or (),
            reading=lambda what: status.update(Text(f"describing {what}")),
        )
        lines = description_lines(found)
        for file in files:
            status.update(Text(f"writing {file.name}"))
            if file.suffix == ".html":
                from ddp_tasks.report import descriptions_page

                descriptions_page.write(found, file)
            else:
                table_files.write_table(found.table, file)
    say(lines)
    for file in files:
        say(file)


def _files(place: Path) -> tuple[Path, ...]:
    """The files to write: both in a folder, or the one that is named."""
    if place.expanduser().is_dir():
        return place / "descriptions.html", place / "descriptions.csv"
    return (place,)
