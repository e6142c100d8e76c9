"""Matrices as grids of small heat maps on one diverging colour scale, white at zero."""

from __future__ import annotations

from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ddp_tasks.figures.notation import NEUTRAL
from ddp_tasks.figures.style import GLYPH_FONT, diverging_colours

#: Greatest side of a map in the page; larger maps are averaged down.
_LARGEST_SIDE = 64
_LONGEST_STRIP = 256
#: Smaller maps repeat their entries, so that the space between maps stays narrow.
_SMALLEST_SIDE = 12

#: Width of a grid in pixels: four and the arrows between them fill the page.
WIDTH = 284
_GREATEST_SIDE = 136
_LABEL_HEIGHT = 18
#: More single cells than this have no space between them.
_CELLS_APART = 144


def is_strip(high: int, wide: int) -> bool:
    """Whether a map is so wide that it takes a whole line."""
    return wide >= 8 * high


def averaged_down(maps: Tensor) -> Tensor:
    """Maps of at most 64 × 64 entries (strips of 256), float32, by averaging.

    Parameters
    ----------
    maps
        shape (maps, h, w).
    """
    high, wide = maps.shape[1:]
    longest = _LONGEST_STRIP if is_strip(high, wide) else _LARGEST_SIDE
    sides = (min(high, _LARGEST_SIDE), min(wide, longest))
    small = maps if sides == (high, wide) else adaptive_avg_pool2d(maps[None], sides)[0]
    return small.to(torch.float32)


@dataclass(frozen=True)
class MapGrid:
    """Where the maps of an array stand, line by line; ``of`` lays them out."""

    maps: int
    columns: int
    repeat: tuple[int, int]
    """how often each entry of a map is repeated, down and across."""
    inner: tuple[int, int]
    """entries of a map after repeating."""
    space: tuple[int, int]
    """entries between maps, down and across."""
    above: int
    """entries above the first line, where numbers stand."""
    pixel: float
    """side of an entry, in pixels."""

    @classmethod
    def of(cls, maps: int, high: int, wide: int, *, numbered: bool) -> MapGrid:
        """Lay out maps of equal size in lines, as nearly square as possible.

        Parameters
        ----------
        maps, high, wide
            number of maps, and their sides in entries.
        numbered
            leave room for a number above each map.
        """
        repeat = (-(-_SMALLEST_SIDE // high), -(-_SMALLEST_SIDE // wide))
        inner = (high * repeat[0], wide * repeat[1])
        if high == wide == 1 and numbered:
            inner = repeat = (10, 16)  # flat, since the numbers take room too
        columns = 1 if is_strip(high, wide) else int(np.ceil(np.sqrt(maps)))
        across = 0 if high == wide == 1 and maps > _CELLS_APART else max(1, round(inner[1] / 12))
        entries = columns * inner[1] + (columns - 1) * across
        pixel = min(WIDTH / entries, _GREATEST_SIDE / inner[1] if columns < 4 else np.inf)
        if is_strip(high, wide):
            pixel = WIDTH / entries
        down = max(across, int(np.ceil(_LABEL_HEIGHT / pixel))) if numbered else across
        above = down if numbered else 0
        return cls(maps, columns, repeat, inner, (down, across), above, float(pixel))

    @property
    def _lines(self) -> int:
        return -(-self.maps // self.columns)

    @property
    def _entries(self) -> tuple[int, int]:
        """Entries of the whole grid, down and across."""
        down, across = self.space
        high = self.above + self._lines * (self.inner[0] + down) - down
        return high, self.columns * self.inner[1] + (self.columns - 1) * across

    @property
    def width(self) -> float:
        """Width of the grid, in pixels."""
        return self._entries[1] * self.pixel

    @property
    def height(self) -> float:
        """Height of the grid, in pixels."""
        return self._entries[0] * self.pixel

    def _corners(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Entry of each map's upper left corner: from the top, and from the left."""
        line, column = np.divmod(np.arange(self.maps), self.columns)
        top = line * (self.inner[0] + self.space[0]) + self.above
        return top, column * (self.inner[1] + self.space[1])

    def image(self, maps: npt.NDArray[np.float32], limit: float) -> hv.Image:
        """All maps in one image; the space between them is NaN and transparent.

        Parameters
        ----------
        maps
            shape (maps, h, w).
        limit
            greatest magnitude of the colour scale, on both sides of zero.
        """
        whole = np.full(self._entries, np.nan, dtype=np.float32)
        large = maps.repeat(self.repeat[0], axis=1).repeat(self.repeat[1], axis=2)
        for values, top, left in zip(large, *self._corners(), strict=True):
            whole[top : top + self.inner[0], left : left + self.inner[1]] = values
        image = hv.Image(
            whole,
            bounds=(0, 0, self.width, self.height),
            kdims=["map_x", "map_y"],
            vdims=["value"],
        )
        return image.opts(
            cmap=diverging_colours(),
            clim=(-limit, limit),
            clipping_colors={"NaN": "rgba(0, 0, 0, 0)"},
            colorbar=False,
        )

    def frames(self, tooltips: dict[str, list[str]]) -> hv.Rectangles:
        """An outline of each map; hovering shows these texts: by label, one for each map."""
        top, left = self._corners()
        data = {
            "x0": left * self.pixel,
            "y0": self.height - (top + self.inner[0]) * self.pixel,
            "x1": (left + self.inner[1]) * self.pixel,
            "y1": self.height - top * self.pixel,
            **tooltips,
        }
        frames = hv.Rectangles(data, kdims=["x0", "y0", "x1", "y1"], vdims=list(tooltips))
        return frames.opts(
            fill_alpha=0,
            line_color="#b9c1c9",
            line_width=1 if self.space[1] else 0.3,
            tools=["hover"],
            hover_tooltips=[(label, f"@{{{label}}}") for label in tooltips],
        )

    def labels(self, texts: list[str]) -> hv.Labels:
        """A number above each map."""
        top, left = self._corners()
        x = (left + self.inner[1] / 2) * self.pixel
        y = self.height - top * self.pixel + 2
        labels = hv.Labels((x, y, texts), kdims=["map_x", "map_y"], vdims=["text"])
        return labels.opts(
            text_font=GLYPH_FONT,
            text_font_size="11px" if self.inner[1] * self.pixel > 30 else "10px",
            text_color=NEUTRAL,
            text_align="center",
            text_baseline="bottom",
        )
