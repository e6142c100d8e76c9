"""What the removal of singular vectors does, beside the removal of other directions."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import short
from ddp_tasks.figures.style import PLAIN_AXES, plain

Floats = npt.NDArray[np.float64]

#: Marker and colour of what is removed, also told in words beside the figure.
MARKS = {
    "singular": ("circle", "#2171b5"),
    "matched": ("diamond", "#1d2329"),
    "channels": ("triangle", "#8e5ec2"),
    "rotation": ("x", "#8a939b"),
    "random": ("square", "#2a9134"),
}
#: Colours of single vectors, by whether their interval is above 0.
SELECTIVE, UNSURE = "#2171b5", "#b4bcc4"

_WIDTH, _HEIGHT, _LEAST_STEP, _NAME = 1000, 260, 16, 26


def selectivity_by_layer(ablated: xr.Dataset, change: str) -> hv.Overlay:
    """Mean selectivity in each layer, over classes and the places of the grid.

    Parameters
    ----------
    ablated
        the group ``ablated``.
    change
        accuracy or probability.
    """
    at = ablated.sel(change=change)
    layers = [str(name) for name in at["layer"].to_numpy()]
    own = at["layer_selectivity"].mean(("quantile", "percentage")).to_numpy()
    controls = at["layer_control_selectivity"].mean(("quantile", "percentage"))
    values = {"singular": own} | {
        str(name): controls.sel(control=name).to_numpy() for name in at["control"].to_numpy()
    }
    drawn = [_points(layers, name, of_kind) for name, of_kind in reversed(values.items())]
    return figure(
        [_zero(layers), *drawn],
        **_axes(layers, f"selectivity ({change})", np.stack(list(values.values()))),
    )


def _points(layers: list[str], name: str, values: Floats) -> hv.Points:
    there = np.flatnonzero(np.isfinite(values))
    marker, colour = MARKS[name]
    columns = {
        "layer_x": there.astype(float),
        "selectivity_y": values[there],
        "layer": np.array(layers, dtype=object)[there],
        "removed": np.full(len(there), name, dtype=object),
    }
    return element(
        hv.Points,
        columns,
        2,
        group="Removals",
        label=name,
        marker=marker,
        color=colour,
        fill_alpha=1 if name == "singular" else 0,
        size=9 if name == "singular" else 7,
        line_width=1.4,
        tools=["hover"],
        hover_tooltips=[
            ("layer", "@layer"),
            ("removed", "@removed"),
            ("mean selectivity", "@selectivity_y{0.[000]}"),
        ],
    )


def single_vectors(frame: pd.DataFrame, layers: list[str]) -> hv.Overlay:
    """Each vector removed by itself: how much more it hurts one class than the others.

    Parameters
    ----------
    frame
        as ``vectors_table`` returns it, of one change.
    layers
        in forward order.
    """
    number = {name: place for place, name in enumerate(layers)}
    place = frame["layer"].map(number).to_numpy(dtype=float)
    rank = frame.groupby("layer")["singular_vector"].transform("max").to_numpy() + 1
    within = (frame["singular_vector"].to_numpy() + 0.5) / rank - 0.5
    sure = frame["low"].to_numpy() > 0
    drawn = []
    for label, chosen, colour in (("unsure", ~sure, UNSURE), ("selective", sure, SELECTIVE)):
        some = frame[chosen]
        columns = {
            "layer_x": place[chosen] + 0.8 * within[chosen],
            "selectivity_y": some["selectivity"].to_numpy(),
            "layer": some["layer"].to_numpy(dtype=object),
            "vector": np.array([f"v{i}" for i in some["singular_vector"]], dtype=object),
            "hurt": some["target_class"].to_numpy(dtype=object),
            "own": some["own_drop"].to_numpy(),
            "others": some["other_drop"].to_numpy(),
            "interval": np.array(
                [f"{a:.3f} to {b:.3f}" for a, b in zip(some["low"], some["high"], strict=True)],
                dtype=object,
            ),
        }
        drawn.append(
            element(
                hv.Points,
                columns,
                2,
                group="Vectors",
                label=label,
                color=colour,
                size=5,
                line_alpha=0,
                tools=["hover"],
                hover_tooltips=[
                    ("vector", "@layer @vector"),
                    ("class", "@hurt"),
                    ("its drop", "@own{0.[000]}"),
                    ("others'", "@others{0.[000]}"),
                    ("selectivity", "@selectivity_y{0.[000]}"),
                    ("interval", "@interval"),
                ],
            )
        )
    return figure(
        [_zero(layers), *drawn],
        **_axes(layers, "selectivity (accuracy)", frame["selectivity"].to_numpy()),
    )


def _zero(layers: list[str]) -> hv.Segments:
    columns = {
        "layer_x0": np.array([-0.6]),
        "zero_y0": np.zeros(1),
        "layer_x1": np.array([len(layers) - 0.4]),
        "zero_y1": np.zeros(1),
    }
    return element(hv.Segments, columns, 4, group="Lines", color="#9aa3ac", line_width=1)


def _axes(layers: list[str], label: str, values: Floats) -> dict[str, Any]:
    step = max(1, int(np.ceil(_LEAST_STEP * len(layers) / _WIDTH)))
    there = values[np.isfinite(values)]
    low, high = min(0.0, there.min(initial=0)), max(0.0, there.max(initial=0))
    room = 0.08 * (high - low) or 0.01
    options = plain(
        min(_WIDTH, max(420, 44 * len(layers))),
        _HEIGHT,
        xlim=(-0.6, len(layers) - 0.4),
        ylim=(low - room, high + room),
        xticks=[(i, short(layers[i], _NAME)) for i in range(0, len(layers), step)],
        xrotation=90,
        xlabel="",
        ylabel=label,
        show_legend=False,
    )
    return {**options, "backend_opts": PLAIN_AXES}
