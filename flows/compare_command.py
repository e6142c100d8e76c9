"""The command ``ddp compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import completion
from flows.commands import finished, path, without_dask
from flows.terminal import say


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", parser=path, callback=finished, help="The folders of finished runs."
        ),
    ],
    *,
    layers: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="LAYER LAYER2",
            help="Compare a layer of the first run with one of the second, or with another of the "
            "same run.",
        ),
    ] = None,
    layer: Annotated[
        str,
        typer.Option(metavar="GLOB", help="Layers to compare.", autocompletion=completion.layers),
    ] = "*",
    images: Annotated[
        int, typer.Option(metavar="N", min=10, help="Compare on at most N common images.")
    ] = 2000,
    out: Annotated[Path, typer.Option(metavar="FILE.html", parser=path, help="The page.")] = Path(
        "comparison.html"
    ),
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path, help="Write pairs of layers to FILE.csv or FILE.parquet."
        ),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path,
            help="Write sets of classes, and in how many runs each is found, to FILE.csv or "
            "FILE.parquet.",
        ),
    ] = None,
) -> None:
    """Compare what networks have learned: seeds, checkpoints, layers or architectures.

    Joins the runs' images by id. Tells how alike layers are (CKA, angles), which singular vectors
    match one to one, and in how many runs each finding holds, beside what chance gives. Whether two
    runs gave the same results bit for bit is another question: ddp check DIR DIR2.
    """
    without_dask()
    from rich.console import Console
    from rich.text import Text

    from ddp_tasks.queries import comparison_tables, model_comparison, table_files
    from flows.texts import comparison as texts

    table_files.check_file(out, (".html",))
    for file in (table, findings):
        if file is not None:
            table_files.check_table_file(file)
    with Console(stderr=True).status(Text("comparing")) as status:
        compared = model_comparison.compare_models(
            folders, layers, layer, images, reading=lambda what: status.update(Text(what))
        )
        from ddp_tasks.report import comparison_page

        status.update(Text("drawing"))
        page = comparison_page.write(compared, out.expanduser())
    say(texts.comparison_lines(compared))
    if table is not None:
        table_files.write_table(comparison_tables.layers_frame(compared), table)
        say(table)
    if findings is not None:
        table_files.write_table(comparison_tables.findings_frame(compared), findings)
        say(findings)
    say(page)
