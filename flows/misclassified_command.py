"""The command ``ddp misclassified``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import Folder, path, without_dask
from flows.terminal import say


def misclassified(
    folder: Folder,
    *,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The id of an image: in which layer did it leave its class?"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path,
            help="Write a page to FILE.html, or all rows to FILE.csv or FILE.parquet, as well.",
        ),
    ] = None,
) -> None:
    """Show how well the layers' signals tell wrong predictions from right ones.

    Each layer's signals are scored by Gaussians with the classes' means and a shared covariance
    (Lee et al. 2018). The margin of the predicted class, layer by layer, is combined with
    max-softmax, fitted on one half of the images and judged on the other, beside max-softmax alone
    and a control on the last layer. With --image: the margin of one image in every layer, the
    layer from which on it is on another class's side, and the singular vectors that moved it there.
    """
    without_dask()
    from ddp_tasks.queries import table_files

    if out is not None:
        table_files.check_table_file(out, also=(".html",))
    from flows.texts import misclassification as texts

    if image is None:
        from ddp_tasks.queries.misclassification import misclassification

        found = misclassification(folder)
        say(texts.score_lines(found))
        frame = found.by_image
    else:
        from ddp_tasks.queries.image_margins import image_margins

        of_image = image_margins(folder, image)
        say(texts.image_lines(of_image))
        frame = of_image.table
    if out is None:
        return
    if out.suffix != ".html":
        table_files.write_table(frame(), out)
    else:
        from ddp_tasks.report import misclassification_page

        if image is None:
            misclassification_page.write_scores(found, out)
        else:
            misclassification_page.write_image(folder, of_image, out)
    say(out)
