"""Tensors of pixels from pictures of PIL, NumPy or torch.

Pictures of 16 bits, also grey ones in files, are reduced to 8 bits by dropping the lower byte, as
PIL and libpng do with colours of 16 bits: 65,535 becomes 255. Nothing is clipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

_AS_THEY_ARE = ("L", "RGB", "RGBA")
_GREY = ("1", "LA", "La")
#: Modes of PIL whose pixels are one integer of 16 bits; mode I can hold more.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_CHANNELS = (1, 2, 3, 4)


def pixels(picture: Any) -> Tensor:
    """The pixels of a picture.

    Parameters
    ----------
    picture
        a PIL image of any mode; a NumPy array of integers, shape (m, n), (m, n, c) or, if no other
        meaning is possible, (c, m, n); a tensor; an array or a tensor of floats of any shape, which
        is kept as it is.

    Returns
    -------
    for pictures, uint8, shape (c, m, n), with transparency only beside three colours; floats and
    other values are kept as they are

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(picture, Image.Image):
        return _of_image(picture)
    if isinstance(picture, Tensor):
        return _of_tensor(picture.detach())
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    raise ValueError(
        f"a {type(picture).__module__}.{type(picture).__name__} is not a picture; a PIL image, a "
        "NumPy array or a tensor is needed"
    )


def colours(image: Image.Image) -> Tensor:
    """The pixels of a file opened by PIL, in red, green and blue: uint8, shape (3, m, n).

    Raises
    ------
    ValueError
        If its pixels are floats, or integers that do not fit in 16 bits.
    """
    if image.mode == "F":
        raise ValueError(
            "its pixels are floating-point numbers, whose black and white are not known; "
            "let the dataset return float tensors instead"
        )
    grey_or_rgb = pixels(image if image.mode in _SIXTEEN_BITS else _rgb(image))
    return grey_or_rgb.expand(3, -1, -1)


def _of_image(image: Image.Image) -> Tensor:
    if image.mode in _SIXTEEN_BITS:
        return _eight_bits(np.array(image))[None]
    if image.mode == "F":
        return torch.from_numpy(np.array(image))[None]
    if image.mode in _GREY:
        image = image.convert("L")
    elif image.mode not in _AS_THEY_ARE:
        image = _rgb(image)
    return _channels_first(torch.from_numpy(np.array(image)))


def _rgb(image: Image.Image) -> Image.Image:
    # Without RGBA in between PIL warns of transparent palettes; the colours are the same.
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _of_array(array: npt.NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"an array of {array.dtype} is not a picture")
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    if array.dtype.kind == "f":
        return torch.from_numpy(native)
    return _picture(native)


def _of_tensor(tensor: Tensor) -> Tensor:
    tensor = tensor.as_subclass(Tensor)
    if tensor.is_meta or tensor.layout != torch.strided:
        kind = "without data (device meta)" if tensor.is_meta else "that is sparse"
        raise ValueError(f"a tensor {kind} is not a picture")
    if tensor.dtype == torch.uint16:
        tensor = (tensor.to(torch.int32) >> 8).to(torch.uint8)
    elif tensor.dtype == torch.bool:
        tensor = tensor.to(torch.uint8) * 255
    return tensor[None] if tensor.dtype == torch.uint8 and tensor.ndim == 2 else tensor


def _picture(array: npt.NDArray[Any]) -> Tensor:
    """An array of integers as a picture, if it has the axes of one."""
    if array.dtype == np.uint16:
        picture = _eight_bits(array)
    elif array.dtype == np.bool_:
        picture = torch.from_numpy(array.astype(np.uint8) * 255)
    else:
        picture = torch.from_numpy(array)
    if picture.dtype != torch.uint8 or picture.ndim not in (2, 3):
        return picture
    last = picture.ndim == 2 or picture.shape[-1] in _CHANNELS
    return _channels_first(picture) if last else picture


def _channels_first(picture: Tensor) -> Tensor:
    return picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1)


def _eight_bits(array: npt.NDArray[Any]) -> Tensor:
    """The upper byte of pixels of 16 bits: uint8, same shape."""
    if array.size and (array.min() < 0 or array.max() > 0xFFFF):
        raise ValueError(
            f"its pixels are integers from {array.min()} to {array.max()}; 8 or 16 bits per "
            "channel are allowed"
        )
    return torch.from_numpy((array >> 8).astype(np.uint8))
