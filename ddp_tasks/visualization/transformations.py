"""Random shifts, scales and rotations under which an optimised picture must keep its signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped


@dataclass(frozen=True)
class Extents:
    """How far pictures are transformed at most."""

    shift: float
    """in pixels, along each axis."""
    scale: float
    """of the side: 0.1 makes a picture up to 10 % larger or smaller."""
    rotation: float
    """in degrees."""


def drawn(extents: Extents, steps: int, generator: torch.Generator) -> Float64[Tensor, "steps 4"]:
    """Transformations of one picture at each step, uniformly distributed.

    Returns
    -------
    shifts along columns and rows in pixels, factor of the side, angle in radians
    """
    uniform = 2 * torch.rand(steps, 4, generator=generator, dtype=torch.float64) - 1
    most = uniform.new_tensor(
        [extents.shift, extents.shift, extents.scale, math.radians(extents.rotation)]
    )
    return uniform * most + uniform.new_tensor([0, 0, 1, 0])


def affine(
    transformations: Float64[Tensor, "... 4"], height: int, width: int
) -> Float64[Tensor, "... 2 3"]:
    """The maps from places in the transformed picture to places in the picture.

    Both are given as ``functional.grid_sample`` takes them: from -1 to 1 along each side.
    """
    right, down, side, angle = transformations.unbind(-1)
    cos, sin = torch.cos(angle) / side, torch.sin(angle) / side
    rows = [
        torch.stack([cos, -sin * height / width, -2 * right / width], dim=-1),
        torch.stack([sin * width / height, cos, -2 * down / height], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def transformed(pictures: Tensor, maps: Shaped[Tensor, "k 2 3"]) -> Tensor:
    """Pictures, each under its own affine map, mirrored at their borders.

    Parameters
    ----------
    pictures
        shape (k, c, m, n).
    maps
        as ``affine`` gives them.
    """
    grid = functional.affine_grid(maps, list(pictures.shape), align_corners=False)
    return functional.grid_sample(
        pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
