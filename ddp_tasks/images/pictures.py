"""Pictures on their way into a network: decoded, brought to one size, standardised."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from schemas.parameters import TransformParameters

# torchvision.io.ImageReadMode.RGB. The operators are called rather than the functions around
# them, which warn at every call that they will one day be another package's.
_RGB = 3
_JPEG = bytes.fromhex("ffd8ff")


def decoded(encoded: Sequence[Tensor], device: torch.device) -> list[Tensor | None]:
    """Pictures from the bytes of JPEG, PNG, WebP and GIF files, in red, green and blue.

    Grey, palettes and CMYK are converted, transparency is dropped. On a CUDA device JPEG files
    are decoded there, all at once; its decoder rounds otherwise than the processor's.

    Parameters
    ----------
    encoded
        uint8, shape (bytes,), on the CPU; one a file.

    Returns
    -------
    uint8, shape (3, m, n), channels last in memory; None for what torchvision does not decode,
    such as other formats, 16 bits a channel, moving pictures and damaged files
    """
    import torchvision.io  # noqa: F401 - loads the operators torch.ops.image

    pictures: list[Tensor | None] = [None] * len(encoded)
    if device.type == "cuda":
        jpeg = [i for i, file in enumerate(encoded) if bytes(file[:3].numpy()) == _JPEG]
        there = _decoded_there([encoded[i] for i in jpeg], device)
        for i, picture in zip(jpeg, there, strict=True):
            pictures[i] = picture
    for i, file in enumerate(encoded):
        if pictures[i] is None and (picture := _decoded_here(file)) is not None:
            pictures[i] = picture.to(device)
    return pictures


def fitted(picture: Tensor, transform: TransformParameters) -> Tensor:
    """A picture, or a block of pictures, of the size and channels that a transform asks for.

    Resized by its shorter side with antialiasing, then cropped about the centre (or padded with
    black), as torchvision does it to uint8 tensors: within one level of what PIL's resizing gives.

    Parameters
    ----------
    picture
        uint8, shape (..., c, m, n).

    Raises
    ------
    ValueError
        If it has not as many channels as ``transform.mean``; grey may become three, transparency
        beside three is dropped, and one mean is for all.
    """
    channels, found = transform.channels, picture.shape[-3]
    if (found, channels) == (4, 3):
        picture, found = picture[..., :3, :, :], 3
    if channels not in (0, 1, found) and (found, channels) != (1, 3):
        raise ValueError(f"it has {found} channels; images.transform.mean has {channels}")
    if transform.resize is not None or transform.crop is not None:
        from torchvision.transforms.v2 import functional as transforms
    if transform.resize is not None:
        picture = transforms.resize(picture, [transform.resize], antialias=True)
    if transform.crop is not None:
        picture = transforms.center_crop(picture, [transform.crop])
    if channels > found:
        picture = picture.expand(*picture.shape[:-3], channels, -1, -1)
    return picture


def stacked(pictures: Sequence[Tensor], device: torch.device) -> Tensor:
    """One block of pictures of one shape, on their way to a device.

    Returns
    -------
    shape (k, c, m, n), channels last in memory; pinned where the device is a GPU's
    """
    first = pictures[0]
    if first.device.type != "cpu" or first.ndim != 3:
        return torch.stack(list(pictures))
    channels, height, width = first.shape
    # Decoders leave pictures with channels last, as convolutions like them: plain copies.
    rows = torch.empty(
        (len(pictures), height, width, channels),
        dtype=first.dtype,
        pin_memory=device.type == "cuda",
    )
    block = rows.permute(0, 3, 1, 2)
    for row, picture in zip(block, pictures, strict=True):
        row.copy_(picture)
    return block


def standardised(pixels: Tensor, transform: TransformParameters, into: Tensor | None) -> Tensor:
    """Pictures scaled to [0, 1], less the mean, over the standard deviation.

    One multiplication and one addition, in place, on the device where the pixels are.

    Parameters
    ----------
    pixels
        uint8, shape (k, c, m, n).
    into
        float32 of the same shape and layout, overwritten; None takes new memory, which on a
        processor costs several times what the arithmetic does.

    Returns
    -------
    float32, shape (k, c, m, n)
    """
    result = torch.empty_like(pixels, dtype=torch.float32) if into is None else into
    mean, std = tuple(transform.mean or [0.0]), tuple(transform.std or [1.0])
    last = pixels.is_contiguous(memory_format=torch.channels_last)
    scale, offset = _affine(mean, std, tuple(pixels.shape[1:]), last, pixels.device)
    # Broadcasting over the batch alone: along channels it would be a loop of length three.
    return torch.addcmul(offset, result.copy_(pixels), scale, out=result)


def _decoded_here(file: Tensor) -> Tensor | None:
    try:
        picture: Tensor = torch.ops.image.decode_image(file, _RGB)
    except (RuntimeError, AttributeError):  # AttributeError: a torchvision without decoders
        return None
    return picture if picture.ndim == 3 and picture.dtype == torch.uint8 else None


def _decoded_there(files: list[Tensor], device: torch.device) -> list[Tensor | None]:
    """JPEG files decoded by nvJPEG, None for those that it refuses."""
    if not files:
        return []
    try:
        found: list[Tensor | None] = torch.ops.image.decode_jpegs_cuda(files, _RGB, device)
    except (RuntimeError, AttributeError):
        # One file refuses the whole list; which neighbours it has must not change a picture.
        halves = (files[: len(files) // 2], files[len(files) // 2 :])
        return [p for half in halves for p in _decoded_there(half, device)] if files[1:] else [None]
    return found


@lru_cache(maxsize=8)
def _affine(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    shape: tuple[int, int, int],
    channels_last: bool,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Factor and summand of every pixel: x / 255 less the mean over std is factor · x + summand."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    means, stds = (torch.tensor(v, dtype=torch.float64)[None, :, None, None] for v in (mean, std))
    both = (1 / (255 * stds), -means / stds)
    factor, summand = (
        v.float().expand(1, *shape).contiguous(memory_format=layout).to(device) for v in both
    )
    return factor, summand
