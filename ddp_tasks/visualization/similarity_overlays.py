"""Similarity overlays: how alike the activation at one position is to that at every other.

Fong et al. 2021, Interactive Similarity Overlays; figure 10 of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs

if TYPE_CHECKING:
    from jaxtyping import Float

#: Greatest side of a map of positions; larger ones are averaged down.
LARGEST_SIDE = 28

#: Rows of a matrix of cosines at a time.
_BLOCK = 1024


def spatial_activations(
    model: nn.Module,
    layer: LinearLayer,
    convention: CallingConvention,
    images: Tensor,
    U: Float[Tensor, "d r"] | None = None,
) -> Float[Tensor, "n high wide k"]:
    """A layer's output less its bias, a vector at every position, for some images.

    Without the bias it is W̄ψ, which lies in the span of U whatever the rank. So lengths and
    angles, and the cosines of ``similarity``, are the same in the basis of channels and in that of
    the singular vectors. With the bias they would differ where the rank is below d.

    Parameters
    ----------
    images
        input tensors, shape (n, ...), on the network's device.
    U
        left singular vectors: the activations are given in their basis; None gives channels.

    Returns
    -------
    k is d or r; a layer with a single position, such as a fully connected one, gives 1 × 1 of them,
    and one with a line of positions 1 × that many

    Raises
    ------
    ValueError
        If the positions have more than two axes, or the network does not lead all images there.
    """

    def kept(output: LayerOutput) -> Tensor:
        values = output.values()
        if len(output.positions) > 2:
            raise ValueError(
                f"layer {layer.name} has positions of {len(output.positions)} axes; overlays "
                "show two"
            )
        high, wide = (1, 1, *output.positions)[-2:]
        return values.reshape(len(values), high, wide, values.shape[-1])

    with torch.no_grad(), layer_outputs(model, [layer], convention, kept) as outputs:
        activations = outputs(images)[layer.name]
    return activations if U is None else activations.to(U.dtype) @ U


def averaged(activations: Float[Tensor, "n high wide k"]) -> Float[Tensor, "n h w k"]:
    """Activations at no more than 28 × 28 positions; where there are more, neighbours' means."""
    high, wide = activations.shape[1:3]
    sides = (min(high, LARGEST_SIDE), min(wide, LARGEST_SIDE))
    if sides == (high, wide):
        return activations
    return adaptive_avg_pool2d(activations.movedim(-1, 1), sides).movedim(1, -1)


def similarity(
    activations: Float[Tensor, "n high wide k"], image: int, row: int, column: int
) -> Float[Tensor, "n high wide"]:
    """Cosine of the activation at one position of an image and at every position of all images.

    Where an activation is zero, it is like nothing: 0.

    Returns
    -------
    from -1 to 1
    """
    units = _units(activations)
    return units @ units[image, row, column]


@dataclass(frozen=True)
class CarriedVectors:
    """Unit activations in few dimensions, as a page carries them."""

    vectors: npt.NDArray[np.float16]
    """shape (n, high, wide, dimensions); their products are nearly the cosines."""
    greatest_error: float
    """of a cosine computed from them."""


def carried_vectors(
    activations: Float[Tensor, "n high wide k"], most_bytes: int = 1 << 18
) -> CarriedVectors:
    """Unit activations in as many dimensions as fit, so that a browser can compute the cosines.

    Of all bases, that of the right singular vectors of the activations keeps most of their length
    in the first dimensions.

    Parameters
    ----------
    most_bytes
        of the float16 numbers; at least one dimension is kept.
    """
    n, high, wide, k = activations.shape
    units = _units(activations).to(torch.float64).reshape(-1, k)
    dimensions = min(k, len(units), max(1, most_bytes // (2 * len(units))))
    _, basis = torch.linalg.eigh(units.T @ units)  # ascending
    small = (units @ basis.flip(1)[:, :dimensions]).to(torch.float16)
    kept = small.to(torch.float64)
    error = max(
        float((rows @ units.T - few @ kept.T).abs().max())
        for rows, few in zip(units.split(_BLOCK), kept.split(_BLOCK), strict=True)
    )
    return CarriedVectors(small.reshape(n, high, wide, dimensions).cpu().numpy(), error)


def _units(activations: Float[Tensor, "n high wide k"]) -> Float[Tensor, "n high wide k"]:
    length = activations.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, activations / length, torch.zeros_like(activations))
