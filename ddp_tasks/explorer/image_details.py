"""What a layer makes of one image: the vectors that it exceeds q for, and the images like it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from ddp_tasks.explorer.layer_samples import LayerSample
from ddp_tasks.explorer.node_details import ShownImage, shown_image
from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import address_of
from ddp_tasks.figures.notation import node_names
from ddp_tasks.figures.thumbnails import Thumbnail
from ddp_tasks.weights.signed_vectors import interleaved

_VECTORS, _NEAREST = 20, 10


@dataclass(frozen=True)
class VectorOfImage:
    """A vector that the image is strong along."""

    name: str
    does: str
    signal: float
    over: float
    """its signal over the threshold q."""
    node: bool
    """whether it is significant for a class too."""


@dataclass(frozen=True)
class ImageDetails:
    """Everything that is shown of an image."""

    id: str
    picture: Thumbnail
    kept: bool
    """whether the store keeps a picture of it."""
    target_class: str
    class_does: str
    predicted: str
    right: bool
    confidence: float
    vectors: list[VectorOfImage]
    vectors_in_all: int
    missed: str
    """why it has no signals here; empty where it has."""
    nearest: list[ShownImage]
    """with the cosine of their signals in place of a signal."""
    among: int
    """images that these were looked for in."""


def image_details(shown: Slice, image: str, sample: LayerSample) -> ImageDetails | None:
    """Gather what a layer makes of an image; None where the run has no such image."""
    run = shown.run
    if image not in run.position:
        return None
    position = run.position[image]
    wanted = np.zeros(len(run.signals.ids), dtype=np.bool_)
    wanted[position] = True
    signals = run.signals.signals(shown.layer, wanted)[0]
    predicted, confidence = run.predicted
    target, chosen = int(run.signals.target[position]), int(predicted[position])
    read = not np.isnan(signals[:1]).any()
    vectors, in_all = _vectors(shown, signals) if read else ([], 0)
    target_class = run.class_of(image)
    return ImageDetails(
        id=image,
        picture=run.thumbnails[image],
        kept=image in run.thumbnails,
        target_class=target_class,
        class_does=urlencode({"at": f"class:{target_class}"}),
        predicted=run.target_classes[chosen] if chosen >= 0 else "",
        right=chosen == target,
        confidence=float(confidence[position]),
        vectors=vectors,
        vectors_in_all=in_all,
        missed="" if read else "It could not be read, or does not reach this layer.",
        nearest=[
            shown_image(shown, run.signals.ids[place], cosine)
            for place, cosine in sample.nearest(position, signals, _NEAREST)
        ]
        if read
        else [],
        among=len(sample),
    )


def _vectors(shown: Slice, signals: npt.NDArray[np.float32]) -> tuple[list[VectorOfImage], int]:
    """The vectors whose signal exceeds q, by how far, in units of q."""
    table = shown.table
    signs = [1 if direction == "positive" else -1 for direction in table.directions]
    signed = interleaved([np.float64(sign) * signals for sign in signs])
    q = np.tile(np.array(table.thresholds), len(signals))
    over = signed / np.where(q > 0, q, np.nan)
    strong = np.flatnonzero(signed > q)
    order = strong[np.argsort(-(signed - q)[strong], kind="stable")]
    names, nodes = node_names(shown.nodes), table.significant.sum(axis=0)
    return [
        VectorOfImage(
            names[node],
            urlencode({"at": address_of(shown.nodes[node])}),
            float(signals[node // len(signs)]),
            float(over[node]),
            bool(node < len(nodes) and nodes[node]),
        )
        for node in order[:_VECTORS].tolist()
    ], len(strong)
