"""What the figure of described vectors holds."""

import numpy as np
import pandas as pd

from ddp_tasks.figures import description_figures as figures


def elements(overlay, group, label=""):
    return [e for e in overlay if e.group == group and (not label or e.label == label)]


def drawn():
    table = pd.DataFrame(
        {
            "layer": ["fc", "conv", "fc", "fc"],
            "singular_vector": [2, 0, 0, 1],
            "vector": ["v2⁺", "v0⁻", "v0⁺", "v1⁺"],
            "description": ["cats", "dogs", "birds", "cats"],
            "estimation": [0.9, 0.7, 0.6, 0.45],
            "percentile": [99.0, np.nan, 50.0, 95.0],
        }
    )
    percentiles = pd.DataFrame(
        {
            "layer": ["conv", "conv", "fc", "fc"],
            "control": ["random", "varied"] * 2,
            "low": [np.nan, np.nan, 0.5, 0.55],
            "middle": [np.nan, np.nan, 0.6, 0.65],
            "high": [np.nan, np.nan, 0.8, 0.85],
        }
    )
    return figures.described_layers(table, percentiles, 95.0)


def test_dots_are_vectors_by_layer_and_number_blue_above_the_percentile():
    (dots,) = elements(drawn(), "Vectors")
    assert dots.dimension_values("area").tolist() == [0.9, 0.7, 0.6, 0.45]
    place = dots.dimension_values("layer")
    assert np.floor(place).tolist() == [1, 0, 1, 1]
    # Within a layer in the order of their numbers.
    assert place[2] < place[3] < place[0]
    assert dots.dimension_values("colour").tolist() == [figures.ABOVE, *[figures.BELOW] * 3]
    assert dots.dimension_values("percentile").tolist() == ["99.0", "–", "50.0", "95.0"]


def test_bars_are_of_layers_that_have_random_directions():
    overlay = drawn()
    for label, low, high in (("random", 0.5, 0.8), ("varied", 0.55, 0.85)):
        (bar,) = elements(overlay, "Bars", label)
        assert bar.dimension_values("bar_y0").tolist() == [low]
        assert bar.dimension_values("bar_y1").tolist() == [high]
        (middle,) = elements(overlay, "Medians", label)
        assert low < middle.dimension_values("median_y0")[0] < high
        assert 0.5 < bar.dimension_values("bar_x0")[0] < 1
    (half,) = elements(overlay, "Chance")
    assert half.dimension_values("half_y0").tolist() == [0.5]
    options = overlay.opts.get("plot").kwargs
    assert options["xticks"] == [(0, "conv"), (1, "fc")]
    assert options["ylim"][0] < 0.45
    assert options["ylim"][1] > 0.9
