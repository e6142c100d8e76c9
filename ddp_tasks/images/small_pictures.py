"""Small copies of a run's images, as a store keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.images.input_pictures import input_picture

#: Bytes of all small copies of a run together.
MOST_BYTES = 1 << 26

#: Longest side of a copy in pixels: at most, and at least if there are many.
_LARGEST, _SMALLEST = 224, 32
_GREY = 200


def small_size(shape: tuple[int, int], images: int) -> tuple[int, int]:
    """Height and width of the copies of images, as large as so many may be.

    Parameters
    ----------
    shape
        height and width of the images; they are never enlarged.
    images
        number of copies, at least one.
    """
    longest = max(shape)
    for side in range(min(_LARGEST, longest), min(_SMALLEST, longest) - 1, -1):
        size = max(1, round(shape[0] * side / longest)), max(1, round(shape[1] * side / longest))
        if images * _bytes(size) <= MOST_BYTES:
            return size
    return size


def most_pictures(shape: tuple[int, int]) -> int:
    """How many copies of images a store keeps at most."""
    return MOST_BYTES // _bytes(small_size(shape, MOST_BYTES))


def _bytes(size: tuple[int, int]) -> int:
    return 3 * size[0] * size[1]


def picture_shape(images: ImageSet) -> tuple[int, int]:
    """Height and width of every picture of a set; see ``ImageSet.picture``."""
    height, width, _ = images.picture(images.first_readable).shape
    return height, width


def small_pictures(
    images: ImageSet, positions: Sequence[int], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Copies of some images: shape (image, height, width, 3); grey where one cannot be read.

    Parameters
    ----------
    positions
        of the images in the run.
    size
        height and width of the copies.
    """
    copies = np.full((len(positions), *size, 3), _GREY, dtype=np.uint8)
    for copy, tensor in zip(copies, images.read_at(positions), strict=True):
        if isinstance(tensor, str):
            continue
        picture = input_picture(tensor)
        if picture.shape != copy.shape:
            resized = Image.fromarray(picture).resize(size[::-1], Image.Resampling.LANCZOS)
            picture = np.asarray(resized)
        copy[:] = picture
    return copies
