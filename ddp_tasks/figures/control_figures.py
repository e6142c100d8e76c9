"""A run's singular vectors among other bases of the same outputs, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import short
from ddp_tasks.figures.style import PLAIN_AXES, plain

Floats = npt.NDArray[np.float64]

#: Colours of the singular vectors' dots, by where they stand among the rotations.
STANDING_COLOURS = {
    "beyond the 95th percentile": "#2171b5",
    "between the 5th and the 95th": "#1d2329",
    "below the 5th percentile": "#e8710a",
    "no rotations": "#b9c1c9",
}

_BAND, _ROOM = 58, 0.76
_WIDTH, _LEAST_STEP = 1000, 16
_NAME = 26
_SCALED = ("value", "channels", "pca", "rotation", "variance_rotation")
_BAR = "#cfd6dd"
_VARIED = "#cda67f"


def measures_among_controls(controls: xr.Dataset, words: dict[str, str]) -> hv.Overlay:
    """Every measure of every layer: a dot for the singular vectors among their controls.

    Each measure has a band of its own, and in it each layer goes from the least value of its
    bases to the greatest. Bars go from the 5th to the 95th percentile of the random rotations:
    grey of any, brown of those that keep variances.

    Parameters
    ----------
    controls
        the group ``controls``.
    words
        measures to draw, from the top, and how to name them.
    """
    layers = [str(name) for name in controls["layer"].to_numpy()]
    bands = [_Band(controls.sel(measure=name)) for name in words]
    parts: list[hv.Element] = [
        _bars(bands, "rotation", -0.17, _BAR),
        _bars(bands, "variance_rotation", 0.17, _VARIED),
        _marks(bands, layers, "channels", "triangle", "#8e5ec2"),
        _marks(bands, layers, "pca", "square", "#2a9134"),
        *_dots(bands, layers),
    ]
    step = max(1, int(np.ceil(_LEAST_STEP * len(layers) / _WIDTH)))
    lines = element(
        hv.Segments,
        {
            "layer_x0": np.full(len(bands), -0.6),
            "band_y0": -np.arange(len(bands)) - 0.5,
            "layer_x1": np.full(len(bands), len(layers) - 0.4),
            "band_y1": -np.arange(len(bands)) - 0.5,
        },
        4,
        group="Lines",
        color="#eceff2",
        line_width=1,
    )
    return figure(
        [lines, *parts],
        **plain(
            min(_WIDTH, max(300, 44 * len(layers))),
            _BAND * len(bands),
            xlim=(-0.6, len(layers) - 0.4),
            ylim=(-len(bands) + 0.5, 0.5),
            xticks=[(i, short(layers[i], _NAME)) for i in range(0, len(layers), step)],
            yticks=[(-i, text) for i, text in enumerate(words.values())],
            xrotation=90,
            xlabel="",
            ylabel="",
            show_legend=False,
        )
        | {"backend_opts": PLAIN_AXES},
    )


class _Band:
    """One measure of all layers, each layer scaled to the height of the band."""

    def __init__(self, at: xr.Dataset) -> None:
        self.at = at
        layers = at.sizes["layer"]
        every = [self.values(name).reshape(layers, -1) for name in _SCALED]
        there = np.concatenate(every, axis=1)
        missing = np.isnan(there)
        self.low = np.where(missing, np.inf, there).min(axis=1)
        self.span = np.where(missing, -np.inf, there).max(axis=1) - self.low

    def values(self, name: str) -> Floats:
        """A variable of the group, shape (layer, ...)."""
        return np.asarray(self.at[name].to_numpy(), dtype=np.float64)

    def scaled(self, values: Floats, layers: npt.NDArray[np.integer]) -> Floats:
        """Heights within the band, around 0; in the middle where all values are equal."""
        span = self.span[layers]
        with np.errstate(invalid="ignore", divide="ignore"):
            height = _ROOM * ((values - self.low[layers]) / span - 0.5)
        return np.asarray(np.where(span > 0, height, 0.0))


def _bars(bands: Sequence[_Band], name: str, shift: float, colour: str) -> hv.Rectangles:
    """From the 5th to the 95th percentile of the draws of each layer."""
    columns: dict[str, list[float]] = {"layer_x0": [], "bar_y0": [], "layer_x1": [], "bar_y1": []}
    for place, band in enumerate(bands):
        draws = band.values(name)
        for layer in np.flatnonzero(np.isfinite(draws).any(axis=1)):
            ends = np.nanpercentile(draws[layer], [5, 95])
            low, high = band.scaled(ends, np.repeat(layer, 2))
            columns["layer_x0"].append(layer + shift - 0.13)
            columns["layer_x1"].append(layer + shift + 0.13)
            columns["bar_y0"].append(low - place - 0.01)
            columns["bar_y1"].append(high - place + 0.01)
    return element(hv.Rectangles, columns, 4, group="Bars", label=name, color=colour, line_alpha=0)


def _marks(
    bands: Sequence[_Band], layers: Sequence[str], name: str, marker: str, colour: str
) -> hv.Points:
    """The measures of another basis, as open marks."""
    columns = _columns(bands, layers, name)
    return element(
        hv.Points,
        columns,
        2,
        group="Bases",
        label=name,
        marker=marker,
        size=6,
        color=colour,
        fill_alpha=0,
        line_width=1.3,
    )


def _dots(bands: Sequence[_Band], layers: Sequence[str]) -> list[hv.Points]:
    """The measures of the singular vectors, by where they stand."""
    columns = _columns(bands, layers, "value")
    at = columns["percentile"]
    standing = {
        "beyond the 95th percentile": at >= 95,
        "between the 5th and the 95th": (at > 5) & (at < 95),
        "below the 5th percentile": at <= 5,
        "no rotations": np.isnan(at),
    }
    tooltips = [
        ("layer", "@layer"),
        ("singular vectors", "@value{0.[000]}"),
        ("percentile of rotations", "@shown"),
        ("of those that keep variances", "@shown_variance"),
        ("median rotation", "@median{0.[000]}"),
        ("channels", "@channels{0.[000]}"),
        ("principal components", "@pca{0.[000]}"),
    ]
    drawn = []
    for label, chosen in standing.items():
        if chosen.any():
            some = {key: np.asarray(column)[chosen] for key, column in columns.items()}
            drawn.append(
                element(
                    hv.Points,
                    some,
                    2,
                    group="Singular",
                    label=label,
                    color=STANDING_COLOURS[label],
                    size=8,
                    tools=["hover"],
                    hover_tooltips=tooltips,
                )
            )
    return drawn


def _columns(bands: Sequence[_Band], layers: Sequence[str], name: str) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        key: []
        for key in (
            *("layer_x", "mark_y", "layer", "value", "percentile", "shown", "shown_variance"),
            *("median", "channels", "pca"),
        )
    }
    for place, band in enumerate(bands):
        values, draws = band.values(name), band.values("rotation")
        there = np.flatnonzero(np.isfinite(values))
        columns["layer_x"] += list(there)
        columns["mark_y"] += (band.scaled(values[there], there) - place).tolist()
        columns["layer"] += [layers[i] for i in there.tolist()]
        columns["value"] += values[there].tolist()
        columns["percentile"] += band.values("percentile")[there].tolist()
        for key, stored in (("shown", "percentile"), ("shown_variance", "percentile_variance")):
            at = band.values(stored)[there]
            columns[key] += ["none" if np.isnan(one) else f"{one:.0f}" for one in at]
        columns["median"] += [
            float(np.nanmedian(row)) if np.isfinite(row).any() else np.nan for row in draws[there]
        ]
        for key in ("channels", "pca"):
            columns[key] += band.values(key)[there].tolist()
    return {key: np.array(column) for key, column in columns.items()}
