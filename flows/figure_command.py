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
    kind: Annotated[
        str,
        typer.Argument(
            metavar="FIGURE",
            help="6, 7, 9 or 10 of the paper; or a figure of the report, such as hypergraph, "
            "hierarchy, significance, spectrum or controls: a wrong name lists them all.",
            autocompletion=completion.figures,
        ),
    ],
    folder: Folder,
    *,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="A layer of the run; by default one as deep as the paper's, and for a figure of "
            "the report that of the vector with the greatest η².",
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
            metavar="FILE",
            parser=path,
            help="Of a figure of the paper a page, by default DIR/figure-N-LAYER.html; of the "
            "others a .svg or .png, by default DIR/FIGURE-LAYER.svg.",
        ),
    ] = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Draw a figure of a finished run: of the paper as a page, of the report as SVG or PNG.

    Figures 6 and 7: a hypergraph and its hierarchy with optimised and natural images and, for a
    convolution, the signals at all positions. Figure 9: part of a deep layer's hierarchy. Figure
    10: a singular vector that two images share, and where the images are alike. Writes a page
    that opens without a network. Optimised images are those that ddp run and ddp visualize made.
    A store may name any code. Only the code of presets is run, unless --run names your run file or
    --trust allows all of it.
    """
    if not kind.lstrip("-").isdecimal():
        _draw(kind, folder, layer, out, given=vector is not None or images is not None)
        return
    from ddp_tasks.report import figure_pages

    number = int(kind)
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


def _draw(kind: str, folder: Path, layer: str | None, out: Path | None, *, given: bool) -> None:
    """Draw a figure of the report, which takes neither a vector nor images."""
    from ddp_tasks.workers import figure_files
    from schemas.run_error import RunError

    if given:
        raise RunError(f"figure: {kind} takes neither --vector nor --images; leave them out")
    say(figure_files.write(folder, kind, layer, out))
