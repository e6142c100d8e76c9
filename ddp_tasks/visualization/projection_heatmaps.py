"""Maps of a layer's signals over positions, where they are strongest, and patches of images there.

The signal of one position is uᵢᵀ(y - b) = sᵢ vᵢᵀψ (section 6.1); the mean of a map is the signal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

#: Longest side of a stored map, in positions, and of a stored patch, in pixels.
MAP_SIDE, PATCH_SIDE = 32, 48
#: Patches of each vector and direction, of as many images.
PATCHES = 4
_GREY = 200


def map_shape(positions: Sequence[int]) -> tuple[int, int]:
    """Height and width of a map of a layer's positions: (1, positions) unless they are a grid."""
    if len(positions) == 2:
        return positions[0], positions[1]
    return 1, math.prod(positions)


def reduced(maps: Tensor, side: int = MAP_SIDE) -> Tensor:
    """Maps made smaller by areas: the mean of each stays what it was.

    Parameters
    ----------
    maps
        shape (k, height, width).
    side
        longest side of the result; smaller maps stay as they are.

    Returns
    -------
    shape (k, at most side, at most side)
    """
    for axis in (1, 2):
        size = maps.shape[axis]
        if size > side:
            weights = _areas(size, side).to(maps)
            maps = torch.tensordot(maps, weights, dims=([axis], [1])).movedim(-1, axis)
    return maps


def _areas(size: int, fewer: int) -> Tensor:
    """The share that each of some positions has in each of fewer equal parts, (fewer, size)."""
    edges = np.arange(fewer + 1) * (size / fewer)
    low = np.maximum(edges[:-1, None], np.arange(size))
    high = np.minimum(edges[1:, None], np.arange(1, size + 1))
    return torch.from_numpy(np.maximum(high - low, 0) * (fewer / size))


@dataclass(frozen=True)
class Places:
    """Positions at which images have strong signals; equal shapes."""

    image: Integers
    """position in the run; -1 where there is none."""
    signal: Floats
    position: Integers
    """in the flattened map."""


@dataclass
class PatchSearch:
    """The strongest positions of one layer over some images, each of another image."""

    _image: list[int] = field(default_factory=list)
    _signal: list[Floats] = field(default_factory=list)
    _position: list[Integers] = field(default_factory=list)

    def add(self, image: int, signals: Tensor) -> None:
        """Look at one image's signals, shape (positions, r)."""
        greatest, least = signals.max(dim=0), signals.min(dim=0)
        self._image.append(image)
        self._signal.append(torch.stack([greatest.values, least.values]).cpu().numpy())
        self._position.append(torch.stack([greatest.indices, least.indices]).cpu().numpy())

    def found(self) -> Places:
        """The strongest of each direction and vector, shape (direction, r, patch)."""
        signal, position = np.stack(self._signal, axis=-1), np.stack(self._position, axis=-1)
        image = np.broadcast_to(np.array(self._image), signal.shape)
        return strongest_places(Places(image, signal, position))


def strongest_places(places: Places) -> Places:
    """The strongest along the last axis, of each direction (the first axis), at most four.

    Of equally strong ones the earlier image comes first.
    """
    sign = np.array([1, -1], dtype=np.float32).reshape(2, *[1] * (places.signal.ndim - 1))
    strength = np.where(places.image < 0, np.float32(-np.inf), sign * places.signal)
    order = np.lexsort((places.image, -strength), axis=-1)[..., :PATCHES]
    image, signal, position = (
        np.take_along_axis(array, order, axis=-1)
        for array in (places.image, places.signal, places.position)
    )
    lacking = PATCHES - image.shape[-1]
    wide = [(0, 0)] * (image.ndim - 1) + [(0, lacking)]
    return Places(
        np.pad(image, wide, constant_values=-1),
        np.pad(signal, wide, constant_values=np.nan),
        np.pad(position, wide),
    )


def patch_size(boxes: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Height and width of a layer's stored patches: those of the greatest box, scaled down.

    Parameters
    ----------
    boxes
        shape (4, ...), as ``receptive_fields`` gives them.
    """
    height, width = int((boxes[2] - boxes[0]).max()), int((boxes[3] - boxes[1]).max())
    scale = min(1.0, PATCH_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def patch(
    picture: npt.NDArray[np.uint8], box: Sequence[int], size: tuple[int, int], scale: float
) -> npt.NDArray[np.uint8]:
    """The part of a picture in a box, scaled down; grey to the right and below.

    Parameters
    ----------
    picture
        shape (m, n, 3).
    box
        top, left, bottom and right.
    size
        height and width of the patch; see ``patch_size``.
    scale
        of all patches of the layer, at most 1.
    """
    top, left, bottom, right = (int(side) for side in box)
    part = picture[top:bottom, left:right]
    if scale < 1 and part.size:
        sides = zip(part.shape[:2], size, strict=True)
        height, width = (max(1, min(most, round(side * scale))) for side, most in sides)
        smaller = Image.fromarray(part).resize((width, height), Image.Resampling.BOX)
        part = np.asarray(smaller)
    cut = np.full((*size, 3), _GREY, dtype=np.uint8)
    cut[: part.shape[0], : part.shape[1]] = part
    return cut
