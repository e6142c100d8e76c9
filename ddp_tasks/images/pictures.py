"""Preparing pictures for a network: decoding, resizing, standardising."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ddp_tasks.images.jpeg_headers import is_plain_jpeg
from schemas.parameters import TransformParameters

# torchvision.io.ImageReadMode.RGB. The operators are called directly, since the functions around
# them warn at every call that they will move to another package.
_RGB = 3


def decoded(encoded: Sequence[Tensor], device: torch.device) -> list[Tensor | None]:
    """Pictures in red, green and blue from the bytes of JPEG, PNG, WebP and GIF files.

    Grey, palettes and CMYK are converted, transparency is dropped. A CUDA device decodes all plain
    JPEG files at once (``is_plain_jpeg``); its decoder rounds differently from the processor's,
    which takes what it refuses.

    Parameters
    ----------
    encoded
        uint8, shape (bytes,), on the CPU; one per file.

    Returns
    -------
    uint8, shape (3, m, n), where they were decoded, on the processor channels last in memory; None
    for files that torchvision does not decode: other formats, 16 bits per channel, moving pictures,
    damaged files and the like
    """
    import torchvision.io  # noqa: F401 - loads the operators torch.ops.image

    pictures: list[Tensor | None] = [None] * len(encoded)
    if device.type == "cuda":
        jpeg = [i for i, file in enumerate(encoded) if is_plain_jpeg(file.numpy().tobytes())]
        on_device = _decoded_there([encoded[i] for i in jpeg], device)
        for i, picture in zip(jpeg, on_device, strict=True):
            pictures[i] = picture
    for i, file in enumerate(encoded):
        if pictures[i] is None:
            pictures[i] = _decoded_here(file)
    return pictures


def fitted(picture: Tensor, transform: TransformParameters) -> Tensor:
    """A picture or a block of pictures, changed to the size and channels of a transform.

    It is resized by its shorter side with antialiasing, then cropped about the centre (or padded
    with black), as torchvision does with uint8 tensors: within one level of PIL's resizing, which
    interpolates in the same two ways.

    Parameters
    ----------
    picture
        uint8, shape (..., c, m, n).

    Raises
    ------
    ValueError
        If its number of channels is not that of ``transform.mean``. But grey may become three
        channels, transparency beside three is dropped, and one mean fits any number.
    """
    channels, present = transform.channels, picture.shape[-3]
    if (present, channels) == (4, 3):
        picture, present = picture[..., :3, :, :], 3
    if channels not in (0, 1, present) and (present, channels) != (1, 3):
        raise ValueError(f"it has {present} channels; images.transform.mean has {channels}")
    if transform.resize is not None or transform.crop is not None:
        from torchvision.transforms.v2 import functional as transforms
    if transform.resize is not None:
        interpolation = transforms.InterpolationMode(transform.interpolation)
        picture = transforms.resize(picture, [transform.resize], interpolation, antialias=True)
    if transform.crop is not None:
        picture = transforms.center_crop(picture, [transform.crop])
    if channels > present:
        picture = picture.expand(*picture.shape[:-3], channels, -1, -1)
    return picture


def stacked(pictures: Sequence[Tensor], device: torch.device) -> Tensor:
    """One block of pictures of one shape, on the processor or, if any is there, on a device.

    Returns
    -------
    shape (k, c, m, n), channels last in memory if all are on the processor
    """
    first = pictures[0]
    if any(picture.device.type != "cpu" for picture in pictures):
        return torch.stack([copied(picture, device) for picture in pictures])
    if first.ndim != 3:
        return torch.stack(list(pictures))
    channels, height, width = first.shape
    # Decoders give channels last, which convolutions prefer, so these are plain copies.
    rows = torch.empty(
        (len(pictures), height, width, channels),
        dtype=first.dtype,
        pin_memory=device.type == "cuda",
    )
    block = rows.permute(0, 3, 1, 2)
    for row, picture in zip(block, pictures, strict=True):
        row.copy_(picture)
    return block


def copied(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels on a device; the copy to a GPU is under way when this returns.

    A GPU copies beside its other work only from pinned memory, which the system never moves.
    """
    if device.type == "cuda" and pixels.device.type == "cpu" and not pixels.is_pinned():
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True)


def standardised(pixels: Tensor, transform: TransformParameters, into: Tensor | None) -> Tensor:
    """Pictures scaled to [0, 1], minus the mean, divided by the standard deviation.

    It takes one multiplication and one addition, in place, on the device of the pixels.

    Parameters
    ----------
    pixels
        uint8, shape (k, c, m, n).
    into
        float32 of the same shape and layout, overwritten; None takes new memory, which on a
        processor costs several times as much as the arithmetic.

    Returns
    -------
    float32, shape (k, c, m, n)
    """
    result = torch.empty_like(pixels, dtype=torch.float32) if into is None else into
    mean, std = tuple(transform.mean or [0.0]), tuple(transform.std or [1.0])
    last = pixels.is_contiguous(memory_format=torch.channels_last)
    scale, offset = _affine(mean, std, tuple(pixels.shape[1:]), last, pixels.device)
    # Broadcast over the batch only: along channels it would be a loop of length three.
    return torch.addcmul(offset, result.copy_(pixels), scale, out=result)


def _decoded_here(file: Tensor) -> Tensor | None:
    try:
        picture: Tensor = torch.ops.image.decode_image(file, _RGB)
    except (RuntimeError, AttributeError):  # AttributeError: torchvision has no decoders
        return None
    return picture if picture.ndim == 3 and picture.dtype == torch.uint8 else None


def _decoded_there(files: list[Tensor], device: torch.device) -> list[Tensor | None]:
    """JPEG files decoded by nvJPEG; None for those that it refuses."""
    if not files:
        return []
    try:
        pictures: list[Tensor | None] = torch.ops.image.decode_jpegs_cuda(files, _RGB, device)
    except (RuntimeError, AttributeError):
        # One bad file fails the whole list, but must not change how its neighbours are decoded.
        halves = (files[: len(files) // 2], files[len(files) // 2 :])
        return [p for half in halves for p in _decoded_there(half, device)] if files[1:] else [None]
    return pictures


@lru_cache(maxsize=8)
def _affine(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    shape: tuple[int, int, int],
    channels_last: bool,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Factor and summand with (x / 255 - mean) / std = factor · x + summand for every pixel x."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    means, stds = (torch.tensor(v, dtype=torch.float64)[None, :, None, None] for v in (mean, std))
    both = (1 / (255 * stds), -means / stds)
    factor, summand = (
        v.float().expand(1, *shape).contiguous(memory_format=layout).to(device) for v in both
    )
    return factor, summand
