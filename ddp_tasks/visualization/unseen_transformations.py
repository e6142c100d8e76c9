"""Eight changes of a picture that it was not optimised for, the same for every picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ddp_tasks.visualization.transformations import Extents, affine, drawn, transformed

if TYPE_CHECKING:
    from jaxtyping import Shaped

UNSEEN = 8
"""number of changes that ``unseen`` makes."""

#: Of the four affine maps and of the noise; no picture's optimisation uses it.
_SEED = 0x5EE0
_AFFINE = 4
#: Their extents: in sides, relative to the side, in degrees.
_SHIFT, _SCALE, _ROTATION = 1 / 32, 0.05, 5.0
#: Standard deviation of a Gaussian blur, in sides, and at least and at most in pixels.
_BLUR = 1 / 64
_NARROWEST, _WIDEST = 0.5, 2.0
_BRIGHTER = 0.05
_CONTRAST = 0.85
_NOISE = 0.03


def unseen(pixels: Tensor) -> Shaped[Tensor, "changes k c m n"]:
    """Pictures under each of the changes.

    Four affine maps (shifts of up to 1/32 of the side, scales of up to 5 %, rotations of up to 5
    degrees) from a generator of their own, a blur of 1/64 of the side (0.5 to 2 pixels), 5 % more
    brightness, 85 % of the contrast, and noise of 3 %.

    Parameters
    ----------
    pixels
        from 0 to 1, shape (k, c, m, n).
    """
    height, width = pixels.shape[-2:]
    side = math.sqrt(height * width)
    generator = torch.Generator().manual_seed(_SEED)
    extents = Extents(shift=_SHIFT * side, scale=_SCALE, rotation=_ROTATION)
    maps = affine(drawn(extents, _AFFINE, generator), height, width).to(pixels)
    noise = torch.randn(pixels.shape[1:], generator=generator, dtype=torch.float64).to(pixels)
    middle = pixels.mean(dim=(2, 3), keepdim=True)
    changed = [
        *(transformed(pixels, one.expand(len(pixels), -1, -1)) for one in maps),
        _blurred(pixels, min(max(_BLUR * side, _NARROWEST), _WIDEST)),
        pixels + _BRIGHTER,
        middle + _CONTRAST * (pixels - middle),
        pixels + _NOISE * noise,
    ]
    return torch.stack(changed).clamp(0, 1)


def _blurred(pixels: Tensor, deviation: float) -> Tensor:
    """Pictures under a Gaussian of this standard deviation in pixels, mirrored at the borders."""
    blurred = pixels
    for axis in (2, 3):
        radius = min(math.ceil(3 * deviation), pixels.shape[axis] - 1)
        places = torch.arange(-radius, radius + 1, device=pixels.device, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (places / deviation) ** 2)
        kernel = (kernel / kernel.sum()).to(pixels)
        shape, padding = [1, 1, 1, 1], [0, 0, 0, 0]
        shape[axis] = len(kernel)
        padding[2 * (3 - axis)] = padding[2 * (3 - axis) + 1] = radius
        channels = pixels.shape[1]
        weight = kernel.reshape(shape).expand(channels, -1, -1, -1)
        padded = functional.pad(blurred, padding, mode="reflect")
        blurred = functional.conv2d(padded, weight, groups=channels)
    return blurred
