"""Figures as SVG: where the marks are, what they say and do, and what is refused."""

from xml.etree import ElementTree

import holoviews as hv
import numpy as np
import pytest

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.style import canvas, plain
from ddp_tasks.figures.svg import NotDrawnError, svg
from ddp_tasks.figures.thumbnails import Thumbnail, pictures

NAME = "{http://www.w3.org/2000/svg}"


def _parsed(drawn, label="what it shows", **action):
    return ElementTree.fromstring(svg(drawn, label, **action))


def _all(root, kind):
    return list(root.iter(f"{NAME}{kind}"))


def _boxes(**more):
    columns = {"x0": [10.0], "y0": [20.0], "x1": [40.0], "y1": [30.0], "name": ['a<b & "c"']}
    return element(hv.Rectangles, columns, 4, group="Boxes", color="white", **more)


def test_the_y_axis_points_up_and_units_are_pixels():
    root = _parsed(figure([_boxes()], **canvas(200, 100)))
    (box,) = _all(root, "rect")
    # Of a canvas 100 high, 20 to 30 from below are 70 to 80 from above.
    assert [float(box.get(k)) for k in ("x", "y", "width", "height")] == [10, 70, 30, 10]
    assert root.get("viewBox").split()[:2] == ["0", "0"]


def test_a_figure_that_does_nothing_is_one_picture_and_one_with_marks_is_a_group():
    said = {"tools": ["hover"], "hover_tooltips": [("name", "@name")]}
    drawn = figure([_boxes(**said)], **canvas(200, 100))
    assert _parsed(drawn).get("role") == "img"
    root = _parsed(drawn, action=lambda group, row: f"{group}:{row['name']}")
    assert (root.get("role"), root.get("aria-label")) == ("group", "what it shows")
    (mark,) = [g for g in _all(root, "g") if g.get("data-do")]
    assert mark.get("data-do") == 'Boxes:a<b & "c"'
    assert (mark.get("role"), mark.get("tabindex")) == ("button", "0")
    assert mark.find(f"{NAME}title").text == mark.get("aria-label") == 'name: a<b & "c"'


def test_a_mark_that_says_nothing_lets_what_lies_below_be_reached():
    root = _parsed(figure([_boxes()], **canvas(200, 100)))
    assert [g.get("pointer-events") for g in _all(root, "g")] == ["none"]


def test_shares_and_numbers_are_told_with_the_digits_of_their_tooltip():
    columns = {"x": [1.0], "y": [1.0], "part": [0.123], "n": [2.0]}
    tips = [("part", "@part{0.0 %}"), ("n", "@n{0.00}")]
    dots = element(hv.Points, columns, 2, tools=["hover"], hover_tooltips=tips, size=8)
    root = _parsed(figure([dots], **canvas(10, 10)))
    assert _all(root, "title")[0].text == "part: 12.3 %; n: 2.00"
    assert _all(root, "circle")[0].get("r") == "4.0"


def test_colours_of_a_column_and_of_a_scale_are_those_of_the_row():
    columns = {"x": [1.0, 2.0], "y": [1.0, 1.0], "colour": ["#111111", "#222222"]}
    dots = element(hv.Points, columns, 2, color="colour")
    shades = {"x": [1.0, 2.0], "y": [2.0, 2.0], "share": [0.0, 1.0]}
    scaled = element(hv.Points, shades, 2, color="share", cmap=["#000001", "#000002"])
    root = _parsed(figure([dots, scaled], **canvas(10, 10)))
    assert [c.get("fill") for c in _all(root, "circle")] == [
        *("#111111", "#222222", "#000001", "#000002")
    ]


def test_dots_of_one_colour_that_say_nothing_are_one_line():
    dots = element(hv.Points, {"x": [1.0, 2.0], "y": [3.0, 4.0]}, 2, color="#E4E8EC", size=6)
    root = _parsed(figure([dots], **canvas(10, 10)))
    (line,) = _all(root, "path")
    assert line.get("d") == "M1.0 7.0h0M2.0 6.0h0"
    # As wide as a circle of that size with its line.
    assert (line.get("stroke"), line.get("stroke-width")) == ("#e4e8ec", "7")
    ringed = element(hv.Points, {"x": [1.0], "y": [3.0]}, 2, color="#e4e8ec", line_color="#000000")
    assert len(_all(_parsed(figure([ringed], **canvas(10, 10))), "circle")) == 1


def test_colours_are_written_in_one_way_so_that_a_dark_page_can_replace_them():
    text = element(hv.Labels, {"x": [1], "y": [1], "t": ["é <b>"]}, 2, text_color="#1d2329")
    (found,) = _all(_parsed(figure([text], **canvas(10, 10))), "text")
    assert (found.text, found.get("fill")) == ("é <b>", "#1d2329")
    (box,) = _all(_parsed(figure([_boxes()], **canvas(10, 10))), "rect")
    assert box.get("fill") == "#ffffff"


def test_lines_and_outlines_go_through_their_points():
    path = hv.Path([{"x": [0, 10], "y": [0, 10]}], kdims=["x", "y"]).opts(line_dash="dashed")
    outline = hv.Polygons([{"u": [0, 10, 10], "v": [0, 0, 10]}], kdims=["u", "v"])
    root = _parsed(figure([path, outline], **canvas(10, 10)))
    (line,), (polygon,) = _all(root, "polyline"), _all(root, "polygon")
    assert line.get("points") == "0.0,10.0 10.0,0.0"
    assert line.get("stroke-dasharray") == "6 4"
    assert polygon.get("points") == "0.0,10.0 10.0,10.0 10.0,0.0"


def test_pictures_are_at_their_places_and_small_ones_keep_their_pixels():
    thumbs = [Thumbnail("pictures/1/0.png", 8, 4), Thumbnail("pictures/1/1.webp", 100, 100)]
    drawn = pictures(thumbs, np.array([0, 20]), np.array([0, 0]), 10, {"image": ["a", "b"]})
    images = _all(_parsed(figure([drawn], **canvas(40, 20))), "image")
    assert [i.get("href") for i in images] == ["pictures/1/0.png", "pictures/1/1.webp"]
    # 8 × 4 pixels in a square of 10: 10 × 5, in its middle.
    assert [float(images[0].get(k)) for k in ("x", "y", "width", "height")] == [0, 12.5, 10, 5]
    assert [i.get("style") for i in images] == ["image-rendering:pixelated", None]


def test_names_of_a_table_stand_at_its_rows_and_columns():
    dots = element(hv.Points, {"x": [0], "y": [0]}, 2)
    axes = {"xaxis": "top", "xticks": [(0, "left"), (1, "right")], "yticks": [(0, "row")]}
    drawn = figure([dots], **plain(40, 20, "title", xlim=(-0.5, 1.5), ylim=(-0.5, 0.5), **axes))
    texts = {t.text: t for t in _all(_parsed(drawn), "text")}
    assert set(texts) == {"title", "left", "right", "row"}
    assert float(texts["right"].get("x")) - float(texts["left"].get("x")) == 20
    assert float(texts["row"].get("x")) < float(texts["left"].get("x"))


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (lambda: figure([hv.Curve([1, 2])], **canvas(10, 10)), "Curve"),
        (lambda: hv.Overlay([hv.Points([(1, 2)])]), "fixed size"),
        (lambda: figure([hv.Points([(1, 2)])], **canvas(10, 10) | {"xaxis": "bottom"}), "bottom"),
        (lambda: figure([hv.Points([(1, 2)]).opts(colorbar=True)], **canvas(10, 10)), "scale"),
    ],
)
def test_what_cannot_be_drawn_is_refused(drawn, words):
    with pytest.raises(NotDrawnError, match=words):
        svg(drawn(), "")
