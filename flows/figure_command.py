"""The command ``ddp figure``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows import completion
from flows.commands import Folder, RunFile, Set, Trust, path
from flows.terminal import say


def figure(
    number: Annotated[int, typer.Argument(metavar="N", help="6, 7, 9 or 10.")],
    folder: Folder,
    *,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="A layer of the run; by default one as deep as the paper's.",
            autocompletion=completion.layers,
        ),
    ] = None,
    vector: Annotated[
        int | None,
        typer.Option(
            metavar="I",
            help="Figure 10: a singular vector that both images share. Others: show its "
            "equivalence class and those above and below it.",
        ),
    ] = None,
    images: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Ids of the two images of figure 10; by default two dogs, or two of another "
            "class.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", parser=path, help="The page; default DIR/figure-N-LAYER.html."
        ),
    ] = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Remake figure 6, 7, 9 or 10 of the paper from a finished run.

    Figures 6 and 7: a hypergraph and its hierarchy with optimised and natural images and, for a
    convolution, the signals at all positions. Figure 9: part of a deep layer's hierarchy. Figure
    10: a singular vector that two images share, and where the images are alike. Writes a page
    that opens without a network. Optimised images are those that ddp run and ddp visualize made.
    A store may name any code. Only the code of presets is run, unless --run names your run file or
    --trust allows all of it.
    """
    from ddp_tasks.report import figure_pages

    page, lacking = figure_pages.write(
        folder,
        number,
        layer=layer,
        vector=vector,
        images=images,
        out=out,
        overrides=overrides or (),
        trust=trust,
        run_file=run_file,
    )
    if lacking is not None:
        vector_of = "" if lacking.vector is None else f" --vector {lacking.vector}"
        made_by = shlex.join(["ddp", "visualize", str(folder), "--layer", lacking.layer])
        say(f"{lacking.words}: {made_by}{vector_of}", err=True)
    say(page)
