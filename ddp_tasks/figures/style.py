"""Looks that the figures share: fonts, sizes, and what is left out of Bokeh's defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
from bokeh.core.properties import value

from ddp_tasks.figures.elements import element
from ddp_tasks.figures.notation import NEUTRAL

hv.extension("bokeh", logo=False)

FONT = "Helvetica, Arial, sans-serif"
#: For glyphs, where Bokeh takes a plain string for the name of a column.
GLYPH_FONT = value(FONT)

#: Sequential scales: one for shares, one for counts and levels.
BLUES = ("#ffffff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c")
#: Diverging scale, at equal distances: blue is negative, zero white, red positive.
DIVERGING = ("#08306b", "#2171b5", "#7fb4da", "#ffffff", "#f4937b", "#cb181d", "#67000d")
GREENS = ("#ffffff", "#edf6ec", "#d5ebd3", "#b3d9b2", "#86c088", "#58a663", "#33884a", "#1a6a35")
#: Shade, from 0 to 1, above which the text in a cell is white.
_DARK = 0.68

_PLAIN_BOKEH = {
    # Bokeh warns about HoloViews' "fixed" where only the frame's size is given.
    "plot.sizing_mode": None,
    "plot.outline_line_color": None,
    "plot.title.text_font": FONT,
    "plot.title.text_font_style": "normal",
    "plot.title.text_color": NEUTRAL,
}
PLAIN_AXES = {
    **_PLAIN_BOKEH,
    "plot.axis.axis_label_text_font": FONT,
    "plot.axis.axis_label_text_font_style": "normal",
    "plot.axis.major_label_text_font": FONT,
    "plot.axis.axis_label_text_color": NEUTRAL,
    "plot.axis.axis_line_color": "#c4cad0",
    "plot.axis.major_tick_line_color": "#c4cad0",
    "plot.axis.minor_tick_line_color": None,
}
TABLE_AXES = {**PLAIN_AXES, "plot.axis.axis_line_color": None}


def plain(width: int, height: int, title: str = "", **options: Any) -> dict[str, Any]:
    """Options that every figure of a fixed size shares; width and height in pixels."""
    return {
        "frame_width": width,
        "frame_height": height,
        "title": title,
        "default_tools": [],
        "toolbar": None,
        "shared_axes": False,
        "fontsize": {"title": "12px", "labels": "12px", "ticks": "11px", "legend": "11px"},
        "fontscale": 1,
        "backend_opts": _PLAIN_BOKEH,
        **options,
    }


def canvas(width: float, height: float, title: str = "", **options: Any) -> dict[str, Any]:
    """Options of a figure without axes whose units are pixels, its origin at the lower left."""
    return plain(
        int(np.ceil(width)),
        int(np.ceil(height)),
        title,
        xlim=(0, width),
        ylim=(0, height),
        xaxis=None,
        yaxis=None,
        border=0,
        **{"show_legend": False, **options},
    )


def framed(width: int, height: int, title: str = "", **options: Any) -> dict[str, Any]:
    """Options of a figure with axes whose frame has a given size in pixels."""
    looks = {**PLAIN_AXES, "plot.grid.grid_line_color": "#eceff2"}
    return plain(width, height, title, show_grid=True, **options) | {"backend_opts": looks}


def with_axes(**options: Any) -> dict[str, Any]:
    """Options of a figure with axes, two of which fit beside each other."""
    shared = plain(0, 0, **options)
    del shared["frame_width"], shared["frame_height"]
    return {
        **shared,
        "width": 615,
        "height": 300,
        "backend_opts": {
            **{key: style for key, style in PLAIN_AXES.items() if key != "plot.sizing_mode"},
            "plot.xgrid.grid_line_color": None,
        },
        "show_grid": True,
        "legend_position": "top_right",
    } | ({"show_legend": False} if options.get("show_legend") is False else {})


def cell_texts(
    texts: tuple[Any, Any, Sequence[str]],
    shade: npt.NDArray[np.float64],
    kdims: Sequence[str],
    group: str = "Texts",
    **style: Any,
) -> hv.Labels:
    """Texts in the cells of a map, white where a cell is dark.

    Parameters
    ----------
    texts
        x, y and text of each label.
    shade
        shade of each cell, from 0 to 1.
    style
        looks beside these.
    """
    colour = np.where(shade > _DARK, "#ffffff", "#1d2329").astype(object)
    columns = dict(zip((*kdims, "text", "colour"), (*texts, colour), strict=True))
    looks = {"text_font": GLYPH_FONT, "text_font_size": "10px", "text_color": "colour", **style}
    return element(hv.Labels, columns, 2, group=group, **looks)


def shown_of(shown: int, total: int, things: str, order: str) -> str:
    """Words of a title that shows only some things; empty if all are shown."""
    return f"Shown: {shown} of {total} {things}, {order} first.  " if shown < total else ""


def diverging_colours(number: int = 255) -> list[str]:
    """Colours of the diverging scale; the middle one of an odd number is white."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in DIVERGING], dtype=float)
    at = np.linspace(0, len(stops) - 1, number)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), channel) for channel in stops.T], axis=1)
    return ["#{:02x}{:02x}{:02x}".format(*(round(c) for c in colour)) for colour in mixed]
