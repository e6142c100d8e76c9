"""What the figures of pruned networks hold."""

import pandas as pd
import pytest

from ddp_tasks.figures.pruning_figures import AXES, LINES, accuracy_curves


def table():
    rows = [("original", 1.0, 1000, 1.0, 0, 0.9, 1.0)]
    for criterion, accuracies in (("signal_energy", (0.8, 0.5)), ("random", (0.3, 0.1))):
        for asked, accuracy, time in zip((0.75, 0.25), accuracies, (0.9, 0.95), strict=True):
            rows.append((criterion, asked, int(1000 * asked), asked - 0.01, 3, accuracy, time))
    names = ("criterion", "asked", "parameters", "kept", "layers", "accuracy", "time_ratio")
    frame = pd.DataFrame(rows, columns=list(names))
    return frame.assign(low=frame["accuracy"] - 0.05, high=frame["accuracy"] + 0.05)


def elements(overlay, group):
    return [e for e in overlay if e.group == group]


@pytest.mark.parametrize("along", list(AXES))
def test_a_curve_for_each_criterion_that_there_is_in_order_of_the_shares(along):
    drawn = accuracy_curves(table(), along, "as trained")
    curves = {e.label: e for e in elements(drawn, "Curves")}
    assert list(curves) == ["signal energy", "random"]
    assert curves["signal energy"].dimension_values("accuracy").tolist() == [0.5, 0.8]
    expected = {"kept": [0.24, 0.74], "time_ratio": [0.95, 0.9]}[along]
    assert curves["signal energy"].dimension_values(along).tolist() == pytest.approx(expected)
    intervals = elements(drawn, "Intervals")[0]
    assert intervals.dimension_values("low").tolist() == pytest.approx([0.45, 0.75])
    (points, _) = elements(drawn, "Points")
    assert points.dimension_values("parameters").tolist() == [250, 750]
    assert points.dimension_values("interval").tolist() == ["45.0% to 55.0%", "75.0% to 85.0%"]
    (line,) = elements(drawn, "Original")
    assert line.dimension_values("low").tolist() == [0.9]
    assert drawn.opts.get("plot").kwargs["xlabel"] == AXES[along]


def test_criteria_have_colours_of_their_own():
    assert len(set(LINES.values())) == len(LINES) == 3
