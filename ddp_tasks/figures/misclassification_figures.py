"""Wrong predictions: how well scores tell them from right ones, and one image's way to an error."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import NEUTRAL, short
from ddp_tasks.figures.style import framed
from ddp_tasks.queries.image_margins import ImageMargins, LayerMargin
from ddp_tasks.significance.misclassification_scores import ALONE

OWN, RIVAL, IMAGE = "#2171b5", "#e8710a", "#1d2329"
_ROW, _WIDTH = 22, 640
_MARGIN_HEIGHT, _MARGIN_WIDTH = 300, 1000
_LONGEST_NAME = 34
#: Layers whose names stand at the axis; of more, every second, third, ... is named.
_NAMED = 40


def score_chart(table: pd.DataFrame, reference: float) -> hv.Overlay:
    """Areas under the ROC curves with their intervals, and a line at that of max-softmax.

    Parameters
    ----------
    table
        rows of ``Misclassification.table``.
    reference
        area of max-softmax.
    """
    y = np.arange(len(table), dtype=np.float64)[::-1]
    names = [str(name).removeprefix(ALONE) for name in table["score"]]
    ends = {"low": table["low"].to_numpy(), "high": table["high"].to_numpy()}
    known = np.isfinite(ends["low"])
    value = table["auroc"].to_numpy()
    lines = element(
        hv.Segments,
        {
            "from": ends["low"][known],
            "row": y[known],
            "to": ends["high"][known],
            "row_": y[known],
        },
        4,
        group="Intervals",
        color="#9aa3ac",
        line_width=2,
        xlabel="AUROC on the images that judge",
        ylabel="",
    )
    points = element(
        hv.Scatter,
        {
            "area": value,
            "row": y,
            "score": names,
            "interval": [_ends(*pair) for pair in zip(ends["low"], ends["high"], strict=True)],
        },
        1,
        group="Areas",
        color=OWN,
        size=8,
        tools=["hover"],
        hover_tooltips=[
            ("score", "@score"),
            ("AUROC", "@area{0.000}"),
            ("interval", "@interval"),
        ],
    )
    least = float(np.nanmin([*ends["low"], *value, reference]))
    most = float(np.nanmax([*ends["high"], *value, reference]))
    room = max(0.04 * (most - least), 0.002)
    line = hv.VLine(reference, group="Reference")
    return figure(
        [lines, line.opts(color="#d62728", line_dash="dashed", line_width=1.2), points],
        **framed(
            _WIDTH,
            _ROW * len(table) + 10,
            xlim=(least - room, min(most + room, 1.0 + room / 2)),
            ylim=(-0.7, len(table) - 0.3),
            yticks=[
                (float(at), short(name, _LONGEST_NAME)) for at, name in zip(y, names, strict=True)
            ],
            show_legend=False,
        ),
    )


def margin_chart(found: ImageMargins) -> hv.Overlay:
    """An image's margin in every layer, between the ranges of its class and of the rival."""
    layers = found.layers
    x = np.arange(len(layers), dtype=np.float64)
    own, rival = (np.array([getattr(one, which) for one in layers]) for which in ("own", "rival"))
    margin = np.array([one.standardised for one in layers])
    drawn: list[hv.Element] = []
    for bounds, colour, name in ((own, OWN, found.target_class), (rival, RIVAL, found.rival)):
        drawn += _band(x, bounds, colour, f"images of {short(name)}")
    drawn += [
        element(
            hv.Curve,
            {"layer": x, "margin": margin},
            1,
            group="Way",
            label="this image",
            color=IMAGE,
            line_width=2,
        ),
        _points(found, x, margin),
    ]
    if found.departure is not None:
        line = hv.VLine(found.departure - 0.5, group="Departure")
        drawn.append(line.opts(color="#d62728", line_dash="dashed", line_width=1.2))
    every = [*own.ravel(), *rival.ravel(), *margin, 0.0]
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    room = 0.06 * (high - low)
    step = int(np.ceil(len(layers) / _NAMED))
    return figure(
        drawn,
        **framed(
            _MARGIN_WIDTH,
            _MARGIN_HEIGHT,
            xlim=(-0.6, len(layers) - 0.4),
            ylim=(low - room, high + room),
            xticks=[(float(i), short(layers[i].layer)) for i in range(0, len(layers), step)],
            xrotation=50,
            xlabel="",
            ylabel="margin, standard deviations",
            legend_position="right",
        ),
    )


def _band(
    x: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64], colour: str, name: str
) -> list[hv.Element]:
    """From the 5th to the 95th percentile, and the median."""
    there = np.isfinite(bounds).all(axis=1)
    x, bounds = x[there], bounds[there]
    outline = {
        "layer": np.concatenate([x, x[::-1]]),
        "margin": np.concatenate([bounds[:, 0], bounds[::-1, 2]]),
    }
    area = hv.Polygons([outline], kdims=["layer", "margin"], group="Range", label=name)
    median = element(
        hv.Curve,
        {"layer": x, "margin": bounds[:, 1]},
        1,
        group="Median",
        color=colour,
        line_width=1,
        line_dash="dotted",
    )
    return [area.opts(color=colour, alpha=0.16, line_width=0), median]


def _points(
    found: ImageMargins, x: npt.NDArray[np.float64], margin: npt.NDArray[np.float64]
) -> hv.Scatter:
    return element(
        hv.Scatter,
        {
            "layer": x,
            "margin": margin,
            "name": [one.layer for one in found.layers],
            "nats": [one.margin for one in found.layers],
            "apart": [one.told_apart for one in found.layers],
            "colour": [OWN if one.margin >= 0 else RIVAL for one in found.layers],
        },
        1,
        group="Margins",
        color="colour",
        line_color="white",
        size=9,
        tools=["hover"],
        hover_tooltips=[
            ("layer", "@name"),
            ("margin", "@nats{+0.0} nats, @margin{+0.00} deviations"),
            ("told apart", "@apart{0 %} of other images"),
        ],
    )


def shift_chart(layer: LayerMargin, most: int = 12) -> hv.Overlay:
    """Singular vectors of a layer along which an image moved most, towards the rival or away."""
    rows = layer.strongest(most)
    y = np.arange(len(rows), dtype=np.float64)[::-1]
    shift = rows["shift"].to_numpy()
    names = rows["vector"].tolist()
    bars = element(
        hv.Rectangles,
        {
            "left": np.minimum(shift, 0.0),
            "bottom": y - 0.36,
            "right": np.maximum(shift, 0.0),
            "top": y + 0.36,
            "vector": names,
            "shift": shift,
            **{name: rows[name].to_numpy() for name in ("signal", "mean_own", "mean_rival")},
            "colour": [OWN if value >= 0 else RIVAL for value in shift],
        },
        4,
        group="Shifts",
        color="colour",
        line_color="white",
        line_width=0.5,
        tools=["hover"],
        hover_tooltips=[
            ("vector", "@vector"),
            ("shift of the margin", "@shift{+0.00} nats"),
            ("signal", "@signal{0.000}"),
            ("mean of its own class, of the rival", "@mean_own{0.000}, @mean_rival{0.000}"),
        ],
        xlabel="shift of the margin, nats",
        ylabel="",
    )
    low, high = min(float(shift.min()), 0.0), max(float(shift.max()), 0.0)
    room = 0.05 * ((high - low) or 1.0)
    zero = hv.VLine(0.0, group="Zero")
    return figure(
        [bars, zero.opts(color=NEUTRAL, line_width=1)],
        **framed(
            420,
            _ROW * len(rows) + 8,
            short(layer.layer, 40),
            xlim=(low - room, high + room),
            ylim=(-0.7, len(rows) - 0.3),
            yticks=[(float(at), name) for at, name in zip(y, names, strict=True)],
            show_legend=False,
        ),
    )


def _ends(low: float, high: float) -> str:
    return "not known" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
