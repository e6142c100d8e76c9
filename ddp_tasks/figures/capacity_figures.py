"""The capacity metric α̂ against test accuracy (figure 4).

Every panel is a separate figure with its own axes, since the scale of α̂ differs between
matrizations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.capacity.association import MEASURES, Association, associations, models_shown
from ddp_tasks.capacity.tables import texts, with_error
from ddp_tasks.figures.notation import COLOURS, NEUTRAL, text_width
from ddp_tasks.figures.point_labels import place_labels
from ddp_tasks.figures.style import GLYPH_FONT, framed

Floats = npt.NDArray[np.float64]

#: Bokeh's markers, and the characters that stand for them in text. The 7 markers and 12
#: colours have no common divisor, so 84 families look different.
MARKERS: Mapping[str, str] = {
    "circle": "●",
    "square": "■",
    "triangle": "▲",
    "diamond": "◆",
    "inverted_triangle": "▼",
    "star": "★",
    "plus": "✚",
}
#: Sizes of markers that would otherwise look smaller than the rest.
_SIZES = {"star": 12, "triangle": 10, "inverted_triangle": 10, "diamond": 10}
_MODELS_NAMED = 12
_WIDTH, _HEIGHT = 348, 280
_NAME_SIZE = 11


def family_styles(zoo: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Colour and marker of each family, in order of appearance."""
    families = dict.fromkeys(texts(zoo["family"]))
    markers = list(MARKERS)
    return {
        family: (COLOURS[i % len(COLOURS)], markers[i % len(markers)])
        for i, family in enumerate(families)
    }


def alpha_hat_figure(
    zoo: xr.Dataset,
    matrization: str,
    measure: str = "alpha_hat",
    width: int = _WIDTH,
    height: int = _HEIGHT,
) -> hv.Overlay:
    """Test accuracy over α̂ of every model that did not fail, with linear fits (figure 4).

    Least-squares lines of accuracy on α̂ are drawn for each family and, dashed, for all models if
    there are several families; a line needs at least 3 models. Bars are one standard error of α̂.
    The title gives the correlation coefficients over all models. Up to 12 models are named, where
    there is room for their names.

    Parameters
    ----------
    zoo
        the store's group ``zoo``.
    measure
        ``alpha_hat``, the sum of Eq. 12, or ``alpha_hat_mean``, its mean over layers.
    width, height
        of the frame, in pixels.

    Raises
    ------
    ValueError
        If there is no model to draw.

    References
    ----------
    Praggastis et al. 2022, Fig. 4 and Eq. 12.
    """
    shown = zoo.isel(model=np.flatnonzero(models_shown(zoo, matrization, measure)))
    if not shown.sizes["model"]:
        raise ValueError(f"no model has {measure} for {matrization} and a test accuracy")
    x = shown[measure].sel(matrization=matrization).to_numpy().astype(np.float64)
    error = shown[f"{measure}_error"].sel(matrization=matrization).to_numpy().astype(np.float64)
    y = shown["accuracy"].to_numpy().astype(np.float64)
    kdim = hv.Dimension(f"{measure} {matrization}", label=MEASURES[measure])
    vdim = hv.Dimension(f"accuracy {measure} {matrization}", label="test accuracy, %")
    xlim, ylim = _limits(np.concatenate([x - error, x + error])), _limits(y)

    family = np.array(texts(shown["family"]), dtype=object)
    fits = associations(zoo, matrization, measure)
    dims = kdim, vdim
    lines, points = [], []
    errors = hv.Segments((x - error, y, x + error, y), group="Errors")
    if len(set(family)) > 1:
        line = _line(fits[""], x, dims, "all models")
        lines += [curve.opts(color=NEUTRAL, line_dash="dashed") for curve in line]
    for name, (colour, marker) in family_styles(zoo).items():
        of = family == name
        if of.any():
            lines += [curve.opts(color=colour) for curve in _line(fits[name], x[of], dims, name)]
            part = _points(shown.isel(model=of), x[of], error[of], y[of], dims)
            size = _SIZES.get(marker, 8)
            points.append(part.relabel(name).opts(color=colour, marker=marker, size=size))
    names = texts(shown["model"]) if len(x) <= _MODELS_NAMED else []
    frame = _Frame(np.array([xlim, ylim]).T, (width, height))
    # The first element names the axes.
    errors = errors.opts(color="#c3cad1", line_width=1.5, xlabel=kdim.label, ylabel=vdim.label)
    bars = np.stack([np.column_stack([end, y]) for end in (x - error, x + error)], axis=1)
    across = [*bars, *(line.array() for line in lines)]
    return hv.Overlay([errors, *lines, *points, *_names(names, x, y, frame, across)]).opts(
        **framed(width, height, fits[""].coefficients(), xlim=xlim, ylim=ylim, show_legend=False)
    )


@dataclass(frozen=True)
class _Frame:
    """Converts between the axes' units and pixels."""

    limits: Floats
    """shape (2, 2); lower and upper corner, in the axes' units."""
    size: tuple[int, int]

    @property
    def unit(self) -> Floats:
        """Size of a pixel along either axis."""
        return np.asarray((self.limits[1] - self.limits[0]) / self.size)

    def pixels(self, at: Floats) -> Floats:
        return np.asarray((at - self.limits[0]) / self.unit)

    def units(self, at: Floats) -> Floats:
        return np.asarray(at * self.unit + self.limits[0])


def _line(fit: Association, x: Floats, dims: tuple[Any, Any], label: str) -> list[hv.Curve]:
    """The fitted line between the least and the greatest α̂; empty without a fit."""
    if not fit.fitted:
        return []
    ends = np.array([x.min(), x.max()])
    data = (ends, fit.intercept + fit.slope * ends)
    curve = hv.Curve(data, kdims=[dims[0]], vdims=[dims[1]], group="Fit", label=label)
    return [curve.opts(line_width=1.5, alpha=0.8)]


def _points(
    models: xr.Dataset, x: Floats, error: Floats, y: Floats, dims: tuple[Any, Any]
) -> hv.Scatter:
    columns = {
        "model": texts(models["model"]),
        "family": texts(models["family"]),
        "accuracy": [f"{value:.2f} %" for value in y],
        "value": [with_error(*both) for both in zip(x, error, strict=True)],
        "layers": models["layers"].to_numpy().astype(int).tolist(),
    }
    scatter = hv.Scatter(
        (x, y, *columns.values()), kdims=[dims[0]], vdims=[dims[1], *columns], group="Models"
    )
    tooltips = [("model", "@model"), ("family", "@family"), ("test accuracy", "@accuracy")]
    tooltips += [("α̂", "@value"), ("layers", "@layers")]
    return scatter.opts(
        tools=["hover"], hover_tooltips=tooltips, line_color="white", line_width=0.5
    )


def _names(
    models: list[str], x: Floats, y: Floats, frame: _Frame, lines: Sequence[Floats]
) -> list[hv.Element]:
    """Names beside their points, and lines to the names that stand farther off.

    Parameters
    ----------
    lines
        ends of lines that names avoid, each of shape (2, 2), in the axes' units.
    """
    if not models:
        return []
    across = np.array([frame.pixels(line) for line in lines]).reshape(-1, 2, 2)
    widths = [text_width(name, _NAME_SIZE) + 2 for name in models]
    at = frame.pixels(np.column_stack([x, y]))
    labels = place_labels(at, widths, _NAME_SIZE + 2, frame.size, across)
    points = [label.point for label in labels]
    centre = frame.units(np.array([[label.x, label.y] for label in labels]).reshape(-1, 2))
    written = hv.Labels((*centre.T, [models[i] for i in points]), group="Names")
    far = [label for label in labels if label.end]
    ends = frame.units(np.array([label.end for label in far]).reshape(-1, 2))
    starts = [label.point for label in far]
    leaders = hv.Segments((x[starts], y[starts], *ends.T), group="Leaders")
    return [
        leaders.opts(color="#9aa3ac", line_width=1),
        written.opts(text_font=GLYPH_FONT, text_font_size=f"{_NAME_SIZE}px", text_color=NEUTRAL),
    ]


def _limits(values: Floats) -> tuple[float, float]:
    """Limits that leave room for names around the points."""
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.14 or max(abs(high) * 0.05, 1.0)
    return low - room, high + room
