"""One layer's computation on one image of a finished run, laid out as a page (figures 5 and 8)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddp_tasks.figures.map_grids import WIDTH
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE
from ddp_tasks.figures.step_figures import circle_figure, step_figures
from ddp_tasks.figures.style import DIVERGING
from ddp_tasks.figures.thumbnails import thumbnail
from ddp_tasks.files.whole import may_be_folder, may_write_to, write_whole
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.layer_on_image import LayerOnImage, check_kind, check_vectors, follow_layer
from ddp_tasks.report import page
from ddp_tasks.weights.layer_vectors import LayerVectors
from schemas.names import LONGEST, file_name
from schemas.parameters import RunError

#: Operation that gives each array from the one before.
_OPERATIONS = {
    "Psi": "unfold",
    "projection": "Vᵀ ·",
    "signal": "S ·",
    "B": "+",
    "activation": "ReLU",
    "activation_projection": "Uᵀ ·",
}


def write(
    folder: Path,
    layer: str,
    image: str,
    *,
    vectors: tuple[int, int] | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    run_file: str | None = None,
) -> Path:
    """Write the page of one layer and one image of a finished run.

    Parameters
    ----------
    folder
        folder that the run was written to.
    vectors
        the two singular vectors whose plane figure 8 shows; None takes the first two.
    out
        the page; None takes ``steps-LAYER-IMAGE.html`` in the folder.
    overrides, trust, run_file
        as in ``open_finished``.

    Returns
    -------
    the file of the page

    Raises
    ------
    RunError
        If the store has no such layer, image or singular vectors, if the page cannot be written
        there, or if the model or images are not those of the store.
    """
    finished = open_finished(folder, overrides, trust=trust, run_file=run_file)
    finished.check_layer(layer)
    check_kind(finished, layer)
    position = finished.position(image)
    check_vectors(finished, layer, vectors)
    file = out.expanduser() if out else finished.store.parent / _file_name(layer, image)
    if file.is_dir() or not may_be_folder(file.parent):
        raise RunError(f"out: {str(file)!r} is not a file in an existing folder")
    if not may_write_to(file.parent):
        raise RunError(f"out: {str(file)!r}: no permission to write to {str(file.parent)!r}")
    content = render(follow_layer(finished, layer, position, vectors))
    write_whole(file, content)
    return file.resolve()


def render(shown: LayerOnImage) -> str:
    """One self-contained HTML page.

    Raises
    ------
    RunError
        If the image cannot be read.
    """
    images, name = shown.prepared.images, shown.layer.name
    arrays = step_figures(shown.steps, shown.svd)
    plots = {array.key: array.element for array in arrays}
    if shown.circle is not None:
        plots["circle"] = circle_figure(shown.circle)
    of_image = shown.finished.signals.isel(image=shown.position)
    predicted = int(of_image["predicted"])
    split = next(i for i, array in enumerate(arrays) if array.key == "Y")
    attributes = shown.finished.attributes
    return page.rendered(
        "steps.html.jinja",
        plots,
        attributes=attributes,
        versions=json.loads(attributes["software_versions"]),
        parameters=json.dumps(json.loads(attributes["run_parameters"]), indent=2),
        run=shown.finished.run,
        layer=shown.layer,
        shape=" × ".join(map(str, shown.layer.shape)),
        matrix=f"{len(shown.svd.U)} × {len(shown.steps.Psi)}",
        rank=shown.svd.rank,
        image=images.ids[shown.position],
        thumbnail=thumbnail(images.picture(shown.position)),
        target_class=images.target_classes[images.target[shown.position]],
        predicted=_class_name(images.target_classes, predicted),
        confidence=float(of_image["confidence"]),
        lines=[arrays[:split], arrays[split:]],
        operations=_OPERATIONS,
        colours=", ".join(DIVERGING),
        width=WIDTH + 2,
        off_output=_relative_difference(shown.steps.Y.flatten(1).numpy(), shown.output.numpy()),
        off_signal=_relative_difference(
            shown.steps.signal.mean(dim=(1, 2)).numpy(),
            of_image["signal"].sel(layer=name).to_numpy()[: shown.svd.rank],
        ),
        circle=shown.circle,
        footnote=_footnote(shown),
    )


def _file_name(layer: str, image: str) -> str:
    """Name of the page's file. Image ids may be paths; a hyphen ends the layer's name."""
    escaped = file_name(layer)
    if len(hyphenless := escaped.replace("-", "%2D")) <= LONGEST:
        escaped = hyphenless
    return f"steps-{escaped}-{file_name(image)}.html"


def _class_name(names: Sequence[str], predicted: int) -> str:
    if predicted < 0:
        return "a class in none of the groups"
    # A network may have more classes than the images.
    return names[predicted] if 0 <= predicted < len(names) else str(predicted)


def _relative_difference(ours: Any, theirs: Any) -> float:
    """Greatest difference over the greatest magnitude."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300))


def _footnote(shown: LayerOnImage) -> str:
    vectors = LayerVectors.of(shown.finished.layers.sel(layer=shown.layer.name))
    return ARBITRARY_FOOTNOTE if vectors.arbitrary.any() else ""
