"""Elements made in short are those that HoloViews makes in its usual way."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pytest

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.style import GLYPH_FONT

COLUMNS = {"here": np.arange(3.0), "there": [4, 5, 6], "name": ["a", "b", "c"], "size": [1, 2, 3]}
OPTIONS = {"color": "name", "size": 7, "tools": ["hover"], "hover_tooltips": [("name", "@name")]}


def options(drawn: hv.Element | hv.Overlay) -> dict[str, object]:
    both = (hv.Store.lookup_options("bokeh", drawn, group) for group in ("plot", "style"))
    return {name: value for part in both for name, value in part.kwargs.items()}


def test_an_element_is_the_one_that_holoviews_makes() -> None:
    usual = hv.Points(
        tuple(COLUMNS.values()),
        ["here", ("there", "how far")],
        ["name", "size"],
        group="Circles",
        label="all",
    ).opts(**OPTIONS)
    drawn = element(
        hv.Points,
        COLUMNS,
        2,
        group="Circles",
        label="all",
        dimension_labels={"there": "how far"},
        **OPTIONS,
    )
    assert (drawn.group, drawn.label, drawn.dimensions()) == ("Circles", "all", usual.dimensions())
    assert [dim.pprint_label for dim in drawn.kdims] == ["here", "how far"]
    for name in COLUMNS:
        assert np.array_equal(drawn.dimension_values(name), usual.dimension_values(name))
    assert options(drawn) == options(usual)


def test_elements_of_one_kind_keep_their_own_options() -> None:
    red = element(hv.Labels, {"x": [0], "y": [0], "text": ["a"]}, 2, text_color="red")
    blue = element(hv.Labels, {"x": [0], "y": [0], "text": ["b"]}, 2, text_font=GLYPH_FONT)
    both = figure([red, blue], frame_width=70, title="two")
    assert options(red)["text_color"] == "red"
    assert "text_font" not in options(red)
    assert options(blue)["text_font"] == GLYPH_FONT
    assert (options(both)["frame_width"], options(both)["title"]) == (70, "two")
    assert list(both) == [red, blue]


def test_a_name_that_is_no_option_is_refused() -> None:
    with pytest.raises(ValueError, match="Labels has no option 'text_colour'"):
        element(hv.Labels, {"x": [0], "y": [0], "text": ["a"]}, 2, text_colour="red")
    with pytest.raises(ValueError, match="Overlay has no option 'frame_widht'"):
        figure([], frame_widht=3)
