import holoviews as hv
import numpy as np
import pandas as pd
from ablation_groups import LAYERS, ablated

from ddp_tasks.figures.ablation_figures import selectivity_by_layer, single_vectors


def points(overlay, group):
    found = overlay.traverse(lambda x: x, [hv.Points])
    return {e.label: e for e in found if e.group == group}


def test_each_kind_of_removal_has_a_mark_in_each_layer():
    drawn = selectivity_by_layer(ablated(), "accuracy")
    marks = points(drawn, "Removals")
    assert list(marks) == ["random", "rotation", "channels", "matched", "singular"]
    assert len(marks["matched"]) == 0
    assert marks["singular"].dimension_values("selectivity_y").tolist() == [0.25, 0.25]
    np.testing.assert_allclose(marks["rotation"].dimension_values("selectivity_y"), 0.2)
    assert sorted(marks["singular"].dimension_values("layer")) == sorted(LAYERS)
    hv.renderer("bokeh").get_plot(drawn)


def test_single_vectors_are_told_apart_by_their_intervals():
    frame = pd.DataFrame(
        {
            "layer": ["a", "a", "b"],
            "singular_vector": [0, 1, 0],
            "target_class": ["cat", "dog", "cat"],
            "own_drop": [0.5, 0.2, 0.1],
            "other_drop": [0.1, 0.1, 0.1],
            "selectivity": [0.4, 0.1, 0.0],
            "low": [0.2, -0.1, -0.2],
            "high": [0.6, 0.3, 0.2],
        }
    )
    drawn = single_vectors(frame, ["a", "b"])
    marks = points(drawn, "Vectors")
    assert marks["selective"].dimension_values("vector").tolist() == ["v0"]
    assert marks["unsure"].dimension_values("hurt").tolist() == ["dog", "cat"]
    x = marks["unsure"].dimension_values("layer_x")
    assert 0 < x[0] < 0.5
    assert x[1] == 1
    hv.renderer("bokeh").get_plot(drawn)
