"""Maps of images and classes: where they are, which pictures are shown, and names."""

import numpy as np
import pytest

from ddp_tasks.figures.map_figures import class_map, image_map
from ddp_tasks.figures.svg import svg
from ddp_tasks.figures.thumbnails import Thumbnail
from ddp_tasks.significance.signal_maps import SignalMap

NAMES = ["ant", "bee", "cat"]


def _element(drawn, group):
    return next(one for one in drawn if one.group == group)


def _picture(number=0):
    return Thumbnail(f"pictures/1/{number}.png", 8, 8)


def test_pictures_cover_no_other_and_all_images_are_on_the_map():
    random = np.random.default_rng(0)
    plane = SignalMap(random.normal(size=(200, 2)), (0.6, 0.2))
    ids = [f"{i:03}" for i in range(200)]
    thumbs = {image: _picture() for image in ids[::2]}
    drawn = image_map(plane, ids, np.arange(200) % 3, NAMES, thumbs)
    shown = _element(drawn, "Pictures")
    left, bottom = shown.dimension_values("x0"), shown.dimension_values("y0")
    apart = np.maximum(np.abs(left[:, None] - left), np.abs(bottom[:, None] - bottom))
    assert apart[~np.eye(len(left), dtype=bool)].min() >= 30
    pictured = shown.dimension_values("image").tolist()
    dots = _element(drawn, "Images").dimension_values("image").tolist()
    assert set(pictured) <= set(thumbs)
    assert sorted(pictured + dots) == ids


def test_each_axis_keeps_its_order_and_fills_the_map():
    plane = SignalMap(np.array([[0.0, 5.0], [1.0, -5.0], [0.2, 0.0]]), None)
    drawn = image_map(plane, ["a", "b", "c"], np.array([0, 1, 2]), NAMES, {})
    dots = _element(drawn, "Images")
    x, y = dots.dimension_values("map_x"), dots.dimension_values("map_y")
    assert np.argsort(x).tolist() == [0, 2, 1]
    assert np.argsort(y).tolist() == [1, 2, 0]
    assert np.ptp(x) > np.ptp(y) > 400


def test_points_that_lie_on_each_other_are_drawn_in_the_middle():
    drawn = image_map(SignalMap(np.zeros((2, 2)), None), ["a", "b"], np.array([0, 0]), NAMES, {})
    assert np.isfinite(_element(drawn, "Images").dimension_values("map_x")).all()


@pytest.mark.parametrize(("classes", "sprites"), [(3, True), (200, False)])
def test_few_classes_have_pictures_and_all_have_a_place(classes, sprites):
    plane = SignalMap(np.random.default_rng(1).normal(size=(classes, 2)), (0.5, 0.3))
    names = [f"class {i}" for i in range(classes)]
    drawn = class_map(plane, names, np.arange(classes), [_picture(), *[None] * (classes - 1)])
    assert _element(drawn, "Classes").dimension_values("target_class").tolist() == names
    assert any(one.group == "Sprites" for one in drawn) == sprites
    assert 0 < len(_element(drawn, "Names")) <= classes
    told = svg(drawn, "map", lambda _, row: row.get("target_class"))
    assert told.count("data-do") == classes + sprites
