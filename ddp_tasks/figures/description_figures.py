"""How well the best descriptions of singular vectors do, beside those of random directions."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import NEUTRAL, short
from ddp_tasks.figures.style import framed

#: Colours of vectors above the 95th percentile of random directions, and of the others.
ABOVE, BELOW = "#2171b5", "#1d2329"
_BARS = {"random": "#cfd6dd", "varied": "#cda67f"}
#: Where the bars of the two controls and the vectors lie beside a layer's place.
_PLACES = {"random": -0.3, "varied": -0.1}
_HALF, _SPREAD_FROM, _SPREAD_TO = 0.09, 0.08, 0.42
_WIDTH, _HEIGHT, _EACH = 1000, 340, 150
_NAMED = 40


def described_layers(
    table: pd.DataFrame, percentiles: pd.DataFrame, threshold: float
) -> hv.Overlay:
    """Areas of all signed vectors, layer by layer, beside those of random directions.

    Bars go from the 5th to the 95th percentile of random directions, with a line at the median:
    grey of any, brown of those whose bases keep variances.

    Parameters
    ----------
    table
        rows of ``Descriptions.table``.
    percentiles
        columns layer, control (random or varied), low, middle and high, in forward order.
    threshold
        percentile of random directions above which a vector is marked.
    """
    layers = list(dict.fromkeys(percentiles["layer"]))
    place = {layer: x for x, layer in enumerate(layers)}
    step = max(1, int(np.ceil(len(layers) / _NAMED)))
    areas = [*table["estimation"], *percentiles["low"].dropna(), *percentiles["high"].dropna()]
    least, most = min(*areas, 0.5), max(areas)
    room = 0.04 * (most - least)
    return figure(
        [
            _half(len(layers)),
            *(_bar(percentiles, name, place) for name in _PLACES),
            *(_middle(percentiles, name, place) for name in _PLACES),
            _vectors(table, place, threshold),
        ],
        **framed(
            min(_WIDTH, max(300, _EACH * len(layers))),
            _HEIGHT,
            xlim=(-0.5, len(layers) - 0.5),
            ylim=(least - room, most + room),
            xticks=[(i, short(layers[i], 26)) for i in range(0, len(layers), step)],
            xrotation=50 if len(layers) > 6 else 0,
            xlabel="",
            ylabel="AUROC on the images that judge",
            show_legend=False,
        ),
    )


def _half(layers: int) -> hv.Segments:
    """The area of a signal that says nothing."""
    ends = {"half_x0": [-0.5], "half_y0": [0.5], "half_x1": [layers - 0.5], "half_y1": [0.5]}
    return element(
        hv.Segments,
        ends,
        4,
        group="Chance",
        color=NEUTRAL,
        line_dash="dashed",
        line_width=1,
    )


def _bar(percentiles: pd.DataFrame, name: str, place: dict[str, int]) -> hv.Rectangles:
    rows = percentiles[percentiles["control"] == name].dropna()
    x = rows["layer"].map(place).to_numpy(dtype=np.float64) + _PLACES[name]
    return element(
        hv.Rectangles,
        {
            "bar_x0": x - _HALF,
            "bar_y0": rows["low"].to_numpy(),
            "bar_x1": x + _HALF,
            "bar_y1": rows["high"].to_numpy(),
        },
        4,
        group="Bars",
        label=name,
        color=_BARS[name],
        line_width=0,
    )


def _middle(percentiles: pd.DataFrame, name: str, place: dict[str, int]) -> hv.Segments:
    rows = percentiles[percentiles["control"] == name].dropna()
    x = rows["layer"].map(place).to_numpy(dtype=np.float64) + _PLACES[name]
    middle = rows["middle"].to_numpy()
    return element(
        hv.Segments,
        {"median_x0": x - _HALF, "median_y0": middle, "median_x1": x + _HALF, "median_y1": middle},
        4,
        group="Medians",
        label=name,
        color=NEUTRAL,
        line_width=1,
    )


def _vectors(table: pd.DataFrame, place: dict[str, int], threshold: float) -> hv.Scatter:
    percentile = table["percentile"].to_numpy(dtype=np.float64)
    above: npt.NDArray[np.bool_] = percentile > threshold
    # Vectors of a layer spread to the right in the order of their numbers.
    greatest = table.groupby("layer")["singular_vector"].transform("max").to_numpy()
    along = table["singular_vector"].to_numpy() / np.maximum(greatest, 1)
    x = table["layer"].map(place).to_numpy(dtype=np.float64)
    return element(
        hv.Scatter,
        {
            "layer": x + _SPREAD_FROM + (_SPREAD_TO - _SPREAD_FROM) * along,
            "area": table["estimation"].to_numpy(),
            "vector": table["vector"].tolist(),
            "description": [short(text, 60) for text in table["description"]],
            "percentile": ["–" if np.isnan(p) else f"{p:.1f}" for p in percentile],
            "colour": np.where(above, ABOVE, BELOW).astype(object),
        },
        1,
        group="Vectors",
        color="colour",
        alpha=0.75,
        line_width=0,
        size=6,
        tools=["hover"],
        hover_tooltips=[
            ("vector", "@vector"),
            ("description", "@description"),
            ("AUROC", "@area{0.000}"),
            ("percentile of random directions", "@percentile"),
        ],
    )
