"""Figure 10: a singular vector that two images share, and where the images are alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from markupsafe import Markup
from torch import Tensor

from ddp_tasks.figures.class_figures import ClassPictures, Exemplar, class_rows
from ddp_tasks.figures.hypergraph_figures import hypergraph_figure
from ddp_tasks.figures.notation import ARBITRARY_FOOTNOTE, vector_names
from ddp_tasks.figures.optimised_pictures import in_colour, of_target, optimised_pictures
from ddp_tasks.figures.signal_overlays import COVER, VEIL
from ddp_tasks.figures.similarity_figures import Pointed, similarity_figure
from ddp_tasks.figures.style import DIVERGING
from ddp_tasks.figures.thumbnails import Thumbnail, Thumbnails, thumbnail
from ddp_tasks.queries.figure_subjects import SharedVectors
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.queries.images_in_layer import ImagesInLayer, images_in_layer
from ddp_tasks.queries.pictures import StoredPictures
from ddp_tasks.queries.visualizations import layer_visualizations
from ddp_tasks.report import page
from ddp_tasks.store import groups
from ddp_tasks.visualization.similarity_overlays import averaged, carried_vectors, similarity
from ddp_tasks.weights.signed_vectors import SignedVector
from schemas.shown import escaped

#: Rows of the table of shared vectors, and strongest images of the one shown.
_ROWS, _EXEMPLARS = 12, 5

#: Sides of the images that are pointed at, and of the exemplars, in pixels.
_LARGE, _SMALL = (224, 168), (96, 84)


@dataclass(frozen=True)
class Lacking:
    """Optimised images that a page lacks."""

    words: str
    layer: str
    vector: int | None = None
    """the singular vector whose image is lacking; None for those of equivalence classes."""


@dataclass(frozen=True)
class _Shown:
    """An image that similarity is shown in."""

    name: str
    what: str
    thumbnail: Thumbnail
    optimised: bool = False

    @property
    def pixels(self) -> bool:
        """Whether it is small, so that its pixels are kept sharp."""
        return self.thumbnail.uri.startswith("data:image/png")


def render(
    finished: FinishedRun,
    shared: SharedVectors,
    vector: int,
    positions: Sequence[int],
    context: Mapping[str, Any],
) -> tuple[str, Lacking | None]:
    """The page of figure 10.

    Parameters
    ----------
    vector
        that both images share.
    positions
        of the two images in the run.
    context
        what the pages of all figures say of the run and the layer.

    Returns
    -------
    the page, and the optimised image that it lacks

    Raises
    ------
    RunError
        If the model or images are not those of the store, or the layer's positions have more than
        two axes.
    """
    name = shared.layer.layer
    opened = images_in_layer(finished, name)
    images, inputs = _images(opened, positions)
    stored = layer_visualizations(finished.store, name)
    pictures = of_target(optimised_pictures(stored), [SignedVector(vector, 1)])
    if pictures and stored is not None:
        picture = stored["picture"].sel(target=pictures[0].key).to_numpy().astype(np.uint8)
        inputs = torch.cat([inputs, opened.inputs_of(picture[None])])
        drawn, what = (
            thumbnail(in_colour(picture), *_LARGE),
            f"for v{vector}; {pictures[0].tooltip}",
        )
        images.append(_Shown("the optimised image", what, drawn, optimised=True))
    whole = opened.activations(inputs)
    activations = averaged(whole)
    pointed = [_strongest(activations, i, vector) for i in range(len(images))]
    carried = carried_vectors(activations)
    plots = {
        "hypergraph": hypergraph_figure(shared.hypergraph, shared.layer),
        "vector": class_rows(
            ClassPictures(
                shared.layer, [SignedVector(vector, 1)], pictures, _exemplars(opened, name, vector)
            )
        ),
        "similarity": similarity_figure(
            [one.thumbnail for one in images], [one.name for one in images], pointed
        ),
    }
    both = shared.both
    names = vector_names(shared.layer)
    top = both[:_ROWS] if vector in both[:_ROWS] else np.append(both[: _ROWS - 1], vector)
    high, wide, dimensions = carried.vectors.shape[1:]
    content = page.rendered(
        "shared_vector.html.jinja",
        plots,
        **context,
        vector=vector,
        value=float(shared.layer.singular_values[vector]),
        quantile=shared.quantile,
        threshold=shared.threshold,
        both=len(both),
        strongest=vector == both[0],
        lacking=not pictures,
        images=images,
        rows=[
            {
                "name": names[v],
                "value": float(shared.layer.singular_values[v]),
                "signals": shared.signals[:, v].tolist(),
                "chosen": v == vector,
            }
            for v in top.tolist()
        ],
        high=high,
        wide=wide,
        averaged="" if whole.shape == activations.shape else _sides(whole),
        dimensions=dimensions,
        error=carried.greatest_error,
        vectors=Markup(_packed(carried.vectors, pointed[0])),
        footnote=ARBITRARY_FOOTNOTE if shared.layer.arbitrary.any() else "",
    )
    lacking = f"v{vector} has no optimised image yet"
    return content, None if pictures else Lacking(lacking, name, vector)


def vectors_drawn(finished: FinishedRun, layer: str) -> list[int]:
    """Singular vectors of a layer that have an optimised image of their own."""
    stored = layer_visualizations(finished.store, layer)
    if stored is None:
        return []
    positive = (stored["direction"] == "positive").to_numpy() & (stored["failed"] == "").to_numpy()
    members = stored["member"].to_numpy()[positive].astype(bool)
    single = members[members.sum(axis=1) == 1]
    return sorted({int(row.argmax()) for row in single})


def _images(opened: ImagesInLayer, positions: Sequence[int]) -> tuple[list[_Shown], Tensor]:
    """Two images of the run, and their input tensors."""
    images, signals = opened.prepared.images, opened.finished.signals
    inputs = opened.inputs(positions)
    ids = signals["image"].to_numpy()
    shown = []
    for position in positions:
        label = images.target_classes[int(signals["target"][position])]
        drawn = thumbnail(images.picture(position), *_LARGE)
        shown.append(_Shown(escaped(str(ids[position])), escaped(label), drawn))
    return shown, inputs


def _exemplars(opened: ImagesInLayer, layer: str, vector: int) -> list[Exemplar]:
    """The images with the greatest signals along a vector."""
    finished, images = opened.finished, opened.prepared.images
    at = {"layer": layer, "singular_vector": vector, "direction": "positive"}
    stored = groups.read(finished.store, "exemplars")[["image", "signal"]].sel(at)
    thumbnails = Thumbnails(StoredPictures(finished.store), *_SMALL)
    exemplars: list[Exemplar] = []
    for image, signal in zip(stored["image"].to_numpy(), stored["signal"].to_numpy(), strict=True):
        if not image or len(exemplars) == _EXEMPLARS:
            break
        position = finished.position(str(image))
        label = images.target_classes[int(finished.signals["target"][position])]
        exemplars.append(Exemplar(str(image), label, float(signal), thumbnails[str(image)]))
    return exemplars


def _strongest(activations: Tensor, image: int, vector: int) -> Pointed:
    """The position of an image with the greatest signal along a vector, and what is like it."""
    signal = activations[image, :, :, vector]
    row, column = divmod(int(signal.argmax()), signal.shape[1])
    cosines = similarity(activations, image, row, column)
    return Pointed(image, row, column, cosines.to(torch.float32).cpu().numpy())


def _sides(activations: Tensor) -> str:
    return f"{activations.shape[1]} × {activations.shape[2]}"


def _packed(vectors: npt.NDArray[np.float16], pointed: Pointed) -> str:
    """What the page's script needs, as JSON."""
    images, high, wide, dimensions = vectors.shape
    stops = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in DIVERGING]
    little_endian = np.ascontiguousarray(vectors, dtype="<f2")
    return json.dumps(
        {
            "images": images,
            "high": high,
            "wide": wide,
            "dimensions": dimensions,
            "stops": stops,
            "veil": VEIL,
            "cover": COVER,
            "pointed": [pointed.image, pointed.row, pointed.column],
            "data": base64.b64encode(little_endian.tobytes()).decode("ascii"),
        }
    )
