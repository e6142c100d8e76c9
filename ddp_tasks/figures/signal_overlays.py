"""Maps of signals as pictures to lay over an image: blue is negative, white zero, red positive."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddp_tasks.figures.style import diverging_colours
from ddp_tasks.figures.thumbnails import Thumbnail

#: Shades of the scale, 31 on each side of zero: few, so that a page stays small.
_SHADES = 63
#: How much of the image a zero covers, and the greatest magnitude, from 0 to 1.
VEIL, COVER = 0.38, 0.92


def overlay(
    values: npt.NDArray[np.float32],
    limit: float,
    over: Thumbnail | None = None,
    *,
    whole: bool = False,
) -> Thumbnail:
    """A map of signals as a picture through which an image is seen.

    Parameters
    ----------
    values
        shape (h, w); stretched over the image that the signals belong to. NaN is transparent.
    limit
        magnitude at which the colours end; the same for all maps that are compared.
    over
        the image, whose shape the overlay takes; None takes that of the map.
    whole
        cover the image: nothing of it is seen.
    """
    middle = _SHADES // 2
    scaled = np.clip(np.nan_to_num(values / (limit or 1.0)), -1, 1)
    shade = np.rint(middle + middle * scaled).astype(np.uint8)
    shade[np.isnan(values)] = _SHADES
    colours = [int(c[i : i + 2], 16) for c in diverging_colours(_SHADES) for i in (1, 3, 5)]
    strength = np.abs(np.linspace(-1, 1, _SHADES))
    alpha = np.ones(_SHADES) if whole else VEIL + (COVER - VEIL) * strength
    picture = Image.fromarray(shade, "P")
    picture.putpalette([*colours, 255, 255, 255])
    file = io.BytesIO()
    transparency = bytes([*np.rint(255 * alpha).astype(int).tolist(), 0])
    picture.save(file, "png", transparency=transparency, optimize=True)
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    wide, high = (picture.width, picture.height) if over is None else (over.width, over.height)
    return Thumbnail(f"data:image/png;base64,{encoded}", wide, high)


def limit_of(*maps: npt.NDArray[np.float32]) -> float:
    """The greatest magnitude of several maps, where their common scale ends."""
    greatest = max((float(np.nanmax(np.abs(m), initial=0.0)) for m in maps if m.size), default=0.0)
    return greatest or 1.0
