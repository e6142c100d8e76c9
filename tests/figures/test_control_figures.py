import holoviews as hv
import numpy as np
import pytest
from control_groups import LAYERS, controls

from ddp_tasks.figures.control_figures import measures_among_controls

WORDS = {"nodes": "significant vectors", "depth": "depth"}


@pytest.fixture(scope="module")
def drawn():
    return measures_among_controls(controls(), WORDS)


def parts(overlay, group):
    return [e for e in overlay.traverse(lambda x: x, [hv.Element]) if e.group == group]


def test_dots_are_sorted_by_where_they_stand(drawn):
    dots = {e.label: e for e in parts(drawn, "Singular")}
    names = {label: sorted(set(e.dimension_values("layer"))) for label, e in dots.items()}
    assert names == {
        "beyond the 95th percentile": ["special"],
        "between the 5th and the 95th": ["plain"],
        "below the 5th percentile": ["poor"],
        "no rotations": ["rank one"],
    }
    (special,) = (e for label, e in dots.items() if label.startswith("beyond"))
    assert special.dimension_values("value").tolist() == [21, 21]
    assert special.dimension_values("shown").tolist() == ["100", "100"]
    assert special.dimension_values("shown_variance").tolist() == ["0", "0"]
    hv.renderer("bokeh").get_plot(drawn)


def test_dots_lie_above_below_and_within_the_bars(drawn):
    bars = next(e for e in parts(drawn, "Bars") if e.label == "rotation")
    assert len(bars) == 2 * 3  # the layer of rank one has none
    low = dict(zip(bars.dimension_values("layer_x0"), bars.dimension_values("bar_y0"), strict=True))
    high = dict(
        zip(bars.dimension_values("layer_x0"), bars.dimension_values("bar_y1"), strict=True)
    )
    for label, side in (
        ("beyond the 95th percentile", 1),
        ("between the 5th and the 95th", 0),
        ("below the 5th percentile", -1),
    ):
        dot = next(e for e in parts(drawn, "Singular") if e.label == label)
        # The lower band is drawn last and overwrites the upper one in the tables above.
        x, y = dot.dimension_values("layer_x")[-1], dot.dimension_values("mark_y")[-1]
        (key,) = (k for k in low if abs(k - x) < 0.5)
        assert int(y > high[key]) - int(y < low[key]) == side


def test_every_layer_and_basis_is_drawn_within_its_band(drawn):
    for name in ("channels", "pca"):
        (marks,) = (e for e in parts(drawn, "Bases") if e.label == name)
        assert len(marks) == len(LAYERS) * len(WORDS)
        y = marks.dimension_values("mark_y")
        assert np.abs(y - np.round(y)).max() < 0.5


def test_values_that_are_all_equal_lie_in_the_middle():
    stored = controls()
    for name in ("value", "channels", "pca", "rotation", "variance_rotation"):
        stored[name] = stored[name] * 0
    drawn = measures_among_controls(stored, WORDS)
    y = np.concatenate([e.dimension_values("mark_y") for e in parts(drawn, "Singular")])
    assert set(y) == {0, -1}
    hv.renderer("bokeh").get_plot(drawn)


def test_a_run_without_rotations_is_drawn_too():
    stored = controls().isel(draw=slice(0, 0))
    stored["percentile"] = stored["percentile"] * np.nan
    drawn = measures_among_controls(stored, WORDS)
    assert [e.label for e in parts(drawn, "Singular")] == ["no rotations"]
    hv.renderer("bokeh").get_plot(drawn)
