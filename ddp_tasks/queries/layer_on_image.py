"""One layer's computation on one image of a finished run, step by step (figures 5 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddp_tasks.networks.layers import LinearLayer, unfolded_weight
from ddp_tasks.prepared_run import Prepared
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.signals.layer_steps import (
    ProjectedCircle,
    Steps,
    capture,
    layer_steps,
    project_circle,
)
from ddp_tasks.store import groups
from ddp_tasks.weights.tensor_svd import TensorSVD
from ddp_tasks.weights.unfolding import linear_part
from schemas.names import group_path
from schemas.parameters import RunError


@dataclass(frozen=True)
class LayerOnImage:
    """Every array of a layer's computation on one image, and where they come from."""

    finished: FinishedRun
    prepared: Prepared
    layer: LinearLayer
    position: int
    """position of the image in the run."""
    svd: TensorSVD
    steps: Steps
    output: Tensor
    """Ȳ as the network itself computes it, shape (d, positions)."""
    circle: ProjectedCircle | None
    """None where the layer has a single singular vector or channel."""


def follow_layer(
    finished: FinishedRun, layer: str, position: int, vectors: tuple[int, int] | None = None
) -> LayerOnImage:
    """Show the run's network one of the run's images and follow one layer's computation.

    Parameters
    ----------
    position
        position of the image in the run.
    vectors
        the two singular vectors whose plane figure 8 shows; None takes the first two.

    Raises
    ------
    RunError
        If the model or images are not those of the store, or do not give the layer an input.
    """
    prepared = finished.prepared()
    finished.check_image(prepared.images, position)
    shown = prepared.images.batch(position, position + 1)
    try:
        followed = {linear.name: linear for linear in prepared.layers.linear}[layer]
        captured = capture(prepared.model, followed, shown, prepared.layers.convention)
        module: Any = prepared.model.get_submodule(followed.module)
        W = unfolded_weight(prepared.model, followed)
        svd = finished.decomposition(layer, W, followed.groups)
        steps = layer_steps(module, captured.X, svd)
    except (KeyError, ValueError) as error:
        raise RunError(f"layer {layer} cannot be followed on this image: {error}") from None
    output = captured.output.to(torch.float64)
    if vectors is None and min(svd.rank, len(svd.U)) > 1:
        vectors = (0, 1)
    return LayerOnImage(
        finished=finished,
        prepared=prepared,
        layer=followed,
        position=position,
        svd=svd,
        steps=steps,
        output=linear_part(module, output).transpose(0, 1).flatten(1),
        circle=project_circle(svd, vectors) if vectors else None,
    )


def check_kind(finished: FinishedRun, layer: str) -> None:
    """Refuse a layer whose steps figure 5 does not show.

    Raises
    ------
    RunError
        If it is neither Conv2d nor Linear, or was decomposed together with a BatchNorm.
    """
    kind = str(finished.layers["kind"].sel(layer=layer).item())
    if kind not in ("Conv2d", "Linear"):
        raise RunError(f"layer {layer!r} is a {kind}; steps are shown of Conv2d and Linear alone")
    folded = groups.group_attributes(finished.store, group_path("decomposition", layer)).get(
        "batch_norm"
    )
    if folded:
        raise RunError(
            f"layer {layer!r} was decomposed together with {folded}; steps are shown of layers "
            "decomposed alone"
        )


def check_vectors(finished: FinishedRun, layer: str, vectors: tuple[int, int] | None) -> None:
    """Refuse singular vectors that the layer does not have, or one given twice.

    Raises
    ------
    RunError
        Naming those that the layer has.
    """
    if vectors is None:
        return
    rank = int(finished.layers["rank"].sel(layer=layer))
    if vectors[0] == vectors[1] or not all(0 <= v < rank for v in vectors):
        raise RunError(
            f"vectors: {vectors[0]} {vectors[1]} is refused; layer {layer} has singular vectors "
            f"0 to {rank - 1}, and two different ones are needed"
        )
