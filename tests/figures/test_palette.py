"""Colours as people see them who confuse some, and in grey."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from ddp_tasks.figures import (
    ablation_figures,
    class_heatmaps,
    comparison_figures,
    control_figures,
    description_figures,
    family_figures,
    misclassification_figures,
    pruning_figures,
)
from ddp_tasks.figures.notation import COLOURS
from ddp_tasks.figures.style import BLUES, DIVERGING, GREENS

#: What linear sRGB becomes where a kind of cone is missing: Machado, Oliveira and Fernandes 2009,
#: A physiologically-based model for simulation of color vision deficiency, severity 1.
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
#: IEC 61966-2-1: from linear sRGB to XYZ, and its white.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

#: Colours that one figure tells apart by nothing else.
ALONE = {
    "among rotations": tuple(control_figures.STANDING_COLOURS.values()),
    "vectors of several classes and of one": (family_figures.SEVERAL, family_figures.ALONE),
    "criteria of pruning": tuple(pruning_figures.LINES.values()),
    "bases compared": tuple(comparison_figures.LINES),
    "removals": (ablation_figures.SELECTIVE, ablation_figures.UNSURE),
    "descriptions": (description_figures.ABOVE, description_figures.BELOW),
    "own class, rival, image": (
        misclassification_figures.OWN,
        misclassification_figures.RIVAL,
        misclassification_figures.IMAGE,
    ),
}


def lab(colour, eye):
    """CIELAB (CIE 15:2004) of a colour such as #2385ff; lightness first, from 0 to 100."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    of_white = XYZ @ np.clip(EYES[eye] @ linear, 0, 1) / XYZ.sum(axis=1)
    cubic = of_white > (6 / 29) ** 3
    x, y, z = np.where(cubic, np.cbrt(of_white), of_white * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_difference(colours, eye):
    seen = [lab(colour, eye) for colour in colours]
    return min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))


def test_white_and_grey_are_what_they_are_to_everybody():
    for eye in EYES:
        assert lab("#ffffff", eye) == pytest.approx([100, 0, 0], abs=0.1)
        assert lab("#777777", eye) == pytest.approx([50.0, 0, 0], abs=0.2)


@pytest.mark.parametrize("eye", EYES)
def test_twelve_classes_are_told_apart(eye):
    # A difference of 2.3 is just seen side by side; lines far from each other need ten times that.
    assert least_difference(COLOURS, eye) > 20
    # Nor does a line vanish on white.
    assert all(lab(colour, eye)[0] < 72 for colour in COLOURS)


@pytest.mark.parametrize(
    "scale",
    [BLUES, GREENS, class_heatmaps.UNSURE],
    ids=["shares", "counts", "resamples"],
)
def test_a_scale_becomes_darker_with_its_values(scale):
    lightness = [lab(colour, "all cones")[0] for colour in scale]
    assert all(before - after > 3 for before, after in pairwise(lightness))
    for eye in EYES:
        assert least_difference(scale, eye) > 3


@pytest.mark.parametrize("eye", EYES)
def test_signs_differ_and_zero_is_lightest(eye):
    middle = len(DIVERGING) // 2
    lightness = [lab(colour, eye)[0] for colour in DIVERGING]
    for side in (lightness[: middle + 1], lightness[: middle - 1 : -1]):
        assert all(after - before > 10 for before, after in pairwise(side))
    for below, above in zip(DIVERGING[:middle], DIVERGING[:middle:-1], strict=True):
        assert least_difference((below, above), eye) > 20


@pytest.mark.parametrize("figure", ALONE)
def test_what_colours_alone_tell_apart_differs_in_grey_and_for_every_eye(figure):
    lightness = [lab(colour, "all cones")[0] for colour in ALONE[figure]]
    assert min(abs(a - b) for a, b in combinations(lightness, 2)) > 10
    for eye in EYES:
        assert least_difference(ALONE[figure], eye) > 20
