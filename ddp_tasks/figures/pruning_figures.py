"""Accuracy of pruned networks against the parameters and the time that they are left with."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import COLOURS, NEUTRAL
from ddp_tasks.figures.style import framed

#: Colour of each criterion; vectors drawn at random, the control, are grey.
LINES = {"singular_value": COLOURS[0], "signal_energy": COLOURS[1], "random": "#b9c1c9"}
#: What a figure has along its axis, by column of the table.
AXES = {
    "kept": "share of the parameters that is kept",
    "time_ratio": "time of a forward pass, original = 1",
}
_WIDTH, _HEIGHT = 430, 300


def accuracy_curves(table: pd.DataFrame, along: str, title: str = "") -> hv.Overlay:
    """Accuracy of one network for each point, with its interval, and the original's as a line.

    Parameters
    ----------
    table
        rows of ``Pruning.table`` with one state of the BatchNorms.
    along
        a column that ``AXES`` names.
    """
    original = table[table["criterion"] == "original"].iloc[0]
    pruned = table[table["criterion"] != "original"]
    drawn: list[hv.Element] = []
    for criterion, colour in LINES.items():
        rows = pruned[pruned["criterion"] == criterion].sort_values("asked")
        if len(rows):
            drawn += _curve(rows, along, criterion.replace("_", " "), colour)
    x = [*pruned[along], 1.0]
    least, most = float(min(x)), float(max(x))
    room = 0.04 * (most - least)
    height = float(original["accuracy"])
    line = {"from": [least - room], "low": [height], "to": [most + room], "high": [height]}
    looks: dict[str, Any] = {"color": NEUTRAL, "line_dash": "dashed", "line_width": 1.2}
    drawn.insert(0, element(hv.Segments, line, 4, group="Original", **looks))
    return figure(
        drawn,
        **framed(
            _WIDTH,
            _HEIGHT,
            title,
            xlim=(least - room, most + room),
            ylim=(-0.02, 1.02),
            xlabel=AXES[along],
            ylabel="accuracy on the images that judge",
            legend_position="right",
        ),
    )


def _curve(rows: pd.DataFrame, along: str, name: str, colour: str) -> list[hv.Element]:
    x = rows[along].to_numpy(dtype=np.float64)
    accuracy = rows["accuracy"].to_numpy(dtype=np.float64)
    intervals = element(
        hv.Segments,
        {
            "from": x,
            "low": rows["low"].to_numpy(dtype=np.float64),
            "to": x,
            "high": rows["high"].to_numpy(dtype=np.float64),
        },
        4,
        group="Intervals",
        color=colour,
        alpha=0.5,
        line_width=2,
    )
    curve = element(
        hv.Curve,
        {along: x, "accuracy": accuracy},
        1,
        group="Curves",
        label=name,
        color=colour,
        line_width=2,
    )
    points = element(
        hv.Scatter,
        {
            along: x,
            "accuracy": accuracy,
            "asked": rows["asked"].to_numpy(),
            "parameters": rows["parameters"].to_numpy(),
            "layers": rows["layers"].to_numpy(),
            "interval": [
                f"{low:.1%} to {high:.1%}"
                for low, high in zip(rows["low"], rows["high"], strict=True)
            ],
        },
        1,
        group="Points",
        color=colour,
        line_color="white",
        size=8,
        tools=["hover"],
        hover_tooltips=[
            ("criterion", name),
            ("parameters", "@parameters{0,0}, @asked{0 %} asked for"),
            ("layers pruned", "@layers"),
            ("accuracy", "@accuracy{0.0 %}, interval @interval"),
        ],
    )
    return [intervals, curve, points]
