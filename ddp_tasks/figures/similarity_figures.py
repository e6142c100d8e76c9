"""Similarity overlays as small multiples: where images are like one position of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.elements import figure
from ddp_tasks.figures.notation import cut
from ddp_tasks.figures.picture_marks import Marks
from ddp_tasks.figures.signal_overlays import overlay
from ddp_tasks.figures.style import canvas
from ddp_tasks.figures.thumbnails import Thumbnail

_IMAGE, _PITCH, _GAP, _HEADING = 180, 192, 28, 24


@dataclass(frozen=True)
class Pointed:
    """A position of one image, and the cosines of its activation with all others."""

    image: int
    row: int
    column: int
    similarity: npt.NDArray[np.float32]
    """shape (images, high, wide), from -1 to 1."""


def similarity_figure(
    thumbnails: Sequence[Thumbnail], names: Sequence[str], pointed: Sequence[Pointed]
) -> hv.Overlay:
    """A row for each position: its image with the position outlined, then all images overlaid.

    White is the mean cosine of all positions in a row, red more and blue less alike; the darkest
    red is a cosine of 1. Around zero most layers would be red everywhere, since few activations
    are at right angles.

    References
    ----------
    Praggastis et al. 2022, figure 10; Fong et al. 2021.
    """
    marks = Marks()
    columns, rows = len(thumbnails) + 1, len(pointed)
    wide = columns * _PITCH + _GAP - (_PITCH - _IMAGE)
    high = float(rows * _PITCH + _HEADING)
    lefts = [column * _PITCH + _GAP * (column > 0) for column in range(columns)]
    headings = ["pointed at", *(f"like it in {name}" for name in names)]
    for left, heading in zip(lefts, headings, strict=True):
        marks.text("Notes", left, high - 2, cut(heading, _IMAGE, 12))
    for row, one in enumerate(pointed):
        bottom = high - _HEADING - row * _PITCH - _IMAGE
        _, tall, across = one.similarity.shape
        marks.picture(
            "Pointed",
            thumbnails[one.image],
            (lefts[0], bottom),
            _IMAGE,
            image=names[one.image],
            position=f"row {one.row}, column {one.column} of {tall} × {across}",
        )
        x0, y0, wide_here, high_here = _fitted(thumbnails[one.image], lefts[0], bottom)
        step_x, step_y = wide_here / across, high_here / tall
        x, y = x0 + one.column * step_x, y0 + high_here - (one.row + 1) * step_y
        marks.positions.append((x, y, x + step_x, y + step_y))
        mean = float(one.similarity.mean())
        for place, cosines in enumerate(one.similarity):
            at = (lefts[place + 1], bottom)
            best = np.unravel_index(int(cosines.argmax()), cosines.shape)
            tip = {
                "image": names[place],
                "greatest cosine": f"{cosines.max():.2f} at row {best[0]}, column {best[1]}",
            }
            veil = overlay(cosines - mean, max(1 - mean, 1e-6), thumbnails[place])
            marks.picture("Under", thumbnails[place], at, _IMAGE)
            marks.picture("Overlays", veil, at, _IMAGE, **tip)
    return figure(marks.elements(), **canvas(wide, high))


def _fitted(drawn: Thumbnail, left: float, bottom: float) -> tuple[float, float, float, float]:
    """Where a picture lies in its square: left, bottom, width and height."""
    scale = _IMAGE / max(drawn.width, drawn.height)
    wide, high = drawn.width * scale, drawn.height * scale
    return left + (_IMAGE - wide) / 2, bottom + (_IMAGE - high) / 2, wide, high
