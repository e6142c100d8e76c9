"""Pages on wrong predictions: of a whole run, and of one image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ddp_tasks.figures.misclassification_figures import margin_chart, score_chart, shift_chart
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE
from ddp_tasks.figures.thumbnails import thumbnail
from ddp_tasks.files.whole import write_whole
from ddp_tasks.queries.image_margins import ImageMargins, LayerMargin
from ddp_tasks.queries.misclassification import Misclassification
from ddp_tasks.queries.pictures import open_pictures
from ddp_tasks.report import page
from ddp_tasks.significance.misclassification_scores import ALONE
from ddp_tasks.store import groups

_SUSPECTS = 40


def write_scores(found: Misclassification, file: Path) -> None:
    """Write how well each score tells a run's wrong predictions from right ones.

    Parameters
    ----------
    file
        the page, in an existing folder.
    """
    table = found.table()
    alone = table["score"].str.startswith(ALONE)
    reference = float(table["auroc"].iloc[0])
    plots = {
        "scores": score_chart(table[~alone], reference),
        "layers": score_chart(table[alone], reference),
    }
    suspects = found.by_image()
    suspects = suspects[suspects["part"] == "estimation"].head(_SUSPECTS)
    images = found.images
    content = page.rendered(
        "misclassification.html.jinja",
        plots,
        scores=table[~alone].to_dict("records"),
        found=found,
        level=f"{100 * found.confidence:g} %",
        counts={
            name: (int((part & images.wrong).sum()), int(part.sum()))
            for name, part in (("choose", images.choosing), ("judge", ~images.choosing))
        },
        suspects=suspects.to_dict("records"),
        last=found.layers[-1],
        **_made(images.path),
    )
    write_whole(file.expanduser(), content)


def write_image(folder: Path, found: ImageMargins, file: Path) -> None:
    """Write in which layer and along which singular vectors an image left its class.

    Parameters
    ----------
    folder
        of the run.
    file
        the page, in an existing folder.
    """
    shown = _layers_shown(found)
    plots = {"margins": margin_chart(found)}
    plots |= {f"shifts {one.layer}": shift_chart(one) for one in shown}
    pictures = open_pictures(folder)
    content = page.rendered(
        "image_margins.html.jinja",
        plots,
        found=found,
        shown=shown,
        footnote=ARBITRARY_FOOTNOTE if found.names_arbitrary() else "",
        thumbnail=thumbnail(pictures[found.image]) if found.image in pictures else None,
        **_made(folder.expanduser() / "store.zarr"),
    )
    write_whole(file.expanduser(), content)


def _layers_shown(found: ImageMargins) -> list[LayerMargin]:
    """The layer in which the image left its class, the one before, and the last."""
    last = len(found.layers) - 1
    place = last if found.departure is None else found.departure
    return [found.layers[i] for i in sorted({max(place - 1, 0), place, last})]


def _made(path: Path) -> dict[str, Any]:
    """What the page says of how it was made."""
    attributes = groups.root_attributes(path)
    return {
        "attributes": attributes,
        "versions": json.loads(attributes["software_versions"]),
        "parameters": json.dumps(json.loads(attributes["run_parameters"]), indent=2),
        "run_name": json.loads(attributes["run_parameters"])["name"],
    }
