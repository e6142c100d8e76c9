"""Pictures and texts at places of a figure whose units are pixels, gathered, then drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import holoviews as hv
import numpy as np

from ddp_tasks.figures.elements import element
from ddp_tasks.figures.notation import NEUTRAL
from ddp_tasks.figures.optimised_pictures import OptimisedPicture
from ddp_tasks.figures.style import GLYPH_FONT
from ddp_tasks.figures.thumbnails import Thumbnail, pictures

#: Side of an optimised image, and height of the lines of text below it.
OPTIMISED, LINE = 112, 14
#: Of a line below an optimised image.
_CHARACTERS = 21

RED = "#b3261e"
_INK = "#1d2329"
#: Colour of a position that is pointed at; it is on no scale and seen on most images.
_POINTED = "#e8b400"


def _looks(size: int, colour: str, align: str, **more: str) -> dict[str, str]:
    return {
        "text_font_size": f"{size}px",
        "text_color": colour,
        "text_align": align,
        "text_baseline": "top",
        **more,
    }


_STYLES: dict[str, dict[str, Any]] = {
    "Titles": _looks(14, _INK, "left", text_font_style="bold"),
    "Notes": _looks(12, NEUTRAL, "left"),
    "Small": _looks(11, NEUTRAL, "left"),
    "Centred": _looks(11, NEUTRAL, "center"),
    "Alarms": _looks(11, RED, "left", text_font_style="bold"),
}


@dataclass
class Marks:
    """Pictures and texts of a figure, gathered before they are drawn."""

    images: dict[tuple[str, int], list[tuple[Thumbnail, float, float, dict[str, str]]]] = field(
        default_factory=dict
    )
    texts: dict[str, list[tuple[float, float, str]]] = field(default_factory=dict)
    frames: list[tuple[float, float, float]] = field(default_factory=list)
    """left, bottom and side of pictures that failed."""
    positions: list[tuple[float, float, float, float]] = field(default_factory=list)
    """left, bottom, right and top of positions that are pointed at."""

    def picture(
        self, kind: str, drawn: Thumbnail, at: tuple[float, float], side: int, **tooltip: str
    ) -> None:
        """A picture in a square whose lower left corner is given."""
        self.images.setdefault((kind, side), []).append((drawn, *at, tooltip))

    def text(self, style: str, x: float, y: float, words: str) -> None:
        """Words in one of the styles of ``_STYLES``."""
        self.texts.setdefault(style, []).append((x, y, words))

    def optimised(self, one: OptimisedPicture, x: float, top: float, most: int = 4) -> None:
        """An optimised image with its measures of trust below it, or why it failed.

        Parameters
        ----------
        most
            lines of text.
        """
        bottom = top - OPTIMISED
        tip = {"optimised for": one.key, "trust": one.tooltip}
        self.picture("Optimised", one.thumbnail, (x, bottom), OPTIMISED, **tip)
        lines = [("Small", line) for line in (one.method, *one.trust)]
        if one.failed:
            self.frames.append((x, bottom, OPTIMISED))
            reason = wrap(one.failed, _CHARACTERS, max_lines=most - 1, placeholder=" …")
            lines = [("Alarms", "FAILED"), *(("Small", line) for line in reason)]
        for number, (style, line) in enumerate(lines[:most]):
            self.text(style, x, bottom - 3 - number * LINE, line)

    def elements(self) -> list[hv.Element]:
        """All of them as elements of HoloViews."""
        drawn: list[hv.Element] = []
        for (kind, side), images in self.images.items():
            thumbs, left, bottom, tips = zip(*images, strict=True)
            tooltips = {name: [tip[name] for tip in tips] for name in tips[0]}
            at = np.array(left), np.array(bottom)
            drawn.append(pictures(thumbs, *at, side, tooltips, group=kind))
        if self.frames:
            x, y, sides = (np.array(column) for column in zip(*self.frames, strict=True))
            corners = {"frame_x0": x, "frame_y0": y, "frame_x1": x + sides, "frame_y1": y + sides}
            red: dict[str, Any] = {"fill_color": RED, "line_color": RED, "fill_alpha": 0.12}
            drawn.append(element(hv.Rectangles, corners, 4, group="Failed", line_width=2, **red))
        if self.positions:
            names = ("position_x0", "position_y0", "position_x1", "position_y1")
            boxes = dict(zip(names, map(np.array, zip(*self.positions, strict=True)), strict=True))
            looks: dict[str, Any] = {"fill_alpha": 0, "line_color": _POINTED, "line_width": 2.5}
            drawn.append(element(hv.Rectangles, boxes, 4, group="Positions", **looks))
        for style, texts in self.texts.items():
            columns = zip(("text_x", "text_y", "text"), zip(*texts, strict=True), strict=True)
            words: dict[str, Any] = {name: list(values) for name, values in columns}
            fonts: dict[str, Any] = {"text_font": GLYPH_FONT, **_STYLES[style]}
            drawn.append(element(hv.Labels, words, 2, group=style, **fonts))
        return drawn
