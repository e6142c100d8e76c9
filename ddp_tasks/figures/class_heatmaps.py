"""Target classes by singular vectors as heat maps: a dot marks an incidence of the hypergraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr
from bokeh.models import AllLabels, BasicTickFormatter, FixedTicker, NumeralTickFormatter
from bokeh.palettes import interp_palette

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import node_names, short, text_width
from ddp_tasks.figures.style import BLUES, FONT, GREENS, TABLE_AXES, cell_texts, plain, shown_of
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors, by_nodes

#: From never, through undecided (orange), to always; each darker than the one before.
UNSURE = ("#f1f3f5", "#fbe3cd", "#f6b26b", "#e8710a", "#6f86c4", "#3f6fb5", "#174a86")

_VECTORS, _CLASSES, _CELLS = 80, 100, 2500
_UNSURE_VECTORS, _UNSURE_CLASSES = 60, 60

#: Narrower cells have no room for the text of a level.
_WIDTH_OF_TEXT = 30
#: Height of a line of the colour bar's text, in pixels.
_LINE = 24


@dataclass(frozen=True)
class _Shown:
    """The classes and vectors that there is room for."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    title: str
    """says what is left out."""

    def select(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The cells of an array of shape (class, node), row after row."""
        return np.asarray(values[np.ix_(self.rows, self.columns)].ravel())

    @property
    def places(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Row and column of each cell; int32 halves their size in the page."""
        y, x = np.mgrid[: len(self.rows), : len(self.columns)]
        return y.ravel().astype(np.int32), x.ravel().astype(np.int32)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a cell in pixels."""
        width = max(15, min(40, 1080 // len(self.columns)))
        return width, 22 if len(self.rows) <= 30 else 14


def significance_heatmap(table: LayerTable, layer: LayerVectors) -> hv.Overlay:
    """Share of each class's images that each singular vector is significant for.

    The figure shows the singular vectors that are significant for a class, those with the greatest
    η² on the images that choose first. Dots mark the incidences, which the same images chose; the
    shares are those of the images that judge.

    Raises
    ------
    ValueError
        If no singular vector is significant for any class.

    References
    ----------
    Praggastis et al. 2022, section 5.
    """
    shown = _most_discriminating(table)
    _, x = shown.places
    singular_values = SignedVectors(layer, table.directions).singular_values
    cell_values = {
        "fraction": shown.select(table.fraction),
        "singular_value": singular_values[shown.columns][x],
        "eta_squared": table.eta_squared[shown.columns][x],
    }
    return _heatmap(
        shown,
        table,
        layer,
        cell_values,
        tooltips=[
            ("share of its images", "@fraction{0.0 %}"),
            ("singular value", "@singular_value{0.000}"),
            ("η²", "@eta_squared{0.00}"),
        ],
        colours={"cmap": list(BLUES), "colorbar_opts": _shares(shown)},
    )


def highest_level_heatmap(
    highest_level: npt.NDArray[np.float64],
    table: LayerTable,
    layer: LayerVectors,
    levels: Sequence[float],
) -> hv.Overlay:
    """The greatest quantile level at which each incidence holds.

    The figure shows the vectors of ``significance_heatmap``, and also incidences that do not hold
    at the run's own level.

    Parameters
    ----------
    highest_level
        as ``Family.highest_level`` returns it, at the run's own percentage.
    table, layer
        as in ``significance_heatmap``.
    levels
        all stored quantile levels, ascending.

    Raises
    ------
    ValueError
        If no singular vector is significant for any class.

    References
    ----------
    Praggastis et al. 2022, section 5.1, last paragraph.
    """
    shown = _most_discriminating(table)
    greatest = shown.select(highest_level)
    # Comparisons with NaN are false: 0 where the incidence holds at no stored level.
    held = (greatest[:, None] >= np.asarray(levels) - 1e-9).sum(axis=1)
    text = np.array(["", *(f"{level:g}" for level in levels)], dtype=object)[held]
    cell_values = {
        "reach": held / len(levels),
        "level": np.where(held > 0, text, "none stored"),
        "fraction": shown.select(table.fraction),
    }
    numbers = shown.cell[0] >= _WIDTH_OF_TEXT
    return _heatmap(
        shown,
        table,
        layer,
        cell_values,
        tooltips=[("holds up to level", "@level"), ("share of its images", "@fraction{0.0 %}")],
        colours={
            "cmap": interp_palette(GREENS, len(levels) + 1),
            "colorbar_opts": _levels(shown, levels),
        },
        marks=_written(shown, table, text, held / len(levels)) if numbers else None,
    )


def _written(
    shown: _Shown,
    table: LayerTable,
    text: npt.NDArray[np.object_],
    shade: npt.NDArray[np.float64],
) -> list[hv.Labels]:
    """Text in each cell, bold in the incidences and white where the cell is dark."""
    y, x = shown.places
    own = shown.select(table.significant)
    parts = []
    for incidence, style in ((False, "normal"), (True, "bold")):
        at = (own == incidence) & (text != "")
        place = (x[at], -y[at], text[at])
        parts.append(cell_texts(place, shade[at], ["text_x", "text_y"], text_font_style=style))
    return parts


def stability_heatmap(stability: xr.Dataset, table: LayerTable, layer: LayerVectors) -> hv.Overlay:
    """Share of resamples in which each incidence holds, for the least certain vectors.

    Cells are orange where the resamples are undecided: half of them have the incidence and half
    do not.

    Parameters
    ----------
    stability
        the store's group ``stability/LAYER``.
    table, layer
        as in ``significance_heatmap``.

    Raises
    ------
    ValueError
        If every incidence holds in all resamples or in none.
    """
    share, doubt = by_nodes(stability["incidence"], "target_class"), undecided(stability)
    unsure = np.flatnonzero(doubt.max(axis=0) > 0)
    if not len(unsure):
        raise ValueError("every incidence holds in all resamples or in none")
    worst = np.argsort(-doubt[:, unsure].max(axis=0), kind="stable")
    columns = np.sort(unsure[worst[:_UNSURE_VECTORS]])
    most_doubtful = np.argsort(-doubt[:, columns].max(axis=1), kind="stable")
    rows = np.sort(most_doubtful[:_UNSURE_CLASSES])
    title = shown_of(len(columns), len(unsure), "singular vectors", "the least sure")
    title += shown_of(len(rows), len(share), "target classes", "the least sure")
    shown = _Shown(rows, columns, title)
    cell_values = {"share": shown.select(share), "fraction": shown.select(table.fraction)}
    return _heatmap(
        shown,
        table,
        layer,
        cell_values,
        tooltips=[
            ("holds in", "@share{0.0 %} of resamples"),
            ("share of its images", "@fraction{0.0 %}"),
        ],
        colours={"cmap": list(UNSURE), "colorbar_opts": _shares(shown)},
    )


def undecided(stability: xr.Dataset) -> npt.NDArray[np.float32]:
    """How undecided each incidence is: 0 where all resamples agree, 0.5 where half have it.

    Parameters
    ----------
    stability
        the store's group ``stability/LAYER``.

    Returns
    -------
    shape (class, node); 0 for a class without images
    """
    share = by_nodes(stability["incidence"], "target_class")
    return np.asarray(np.nan_to_num(np.minimum(share, 1 - share)))


def _most_discriminating(table: LayerTable) -> _Shown:
    """The most discriminating vectors, and the classes with most significant ones."""
    significant, ranked = table.significant, table.most_discriminating()
    # Without room for all classes, those without a significant vector go first.
    busiest = np.argsort(-significant.sum(axis=1), kind="stable")[:_CLASSES]
    rows = np.sort(busiest)
    columns = ranked[: min(_VECTORS, max(_CELLS // len(rows), 1))]
    title = shown_of(len(columns), len(ranked), "significant singular vectors", "greatest η²")
    title += shown_of(
        len(rows), len(significant), "target classes", "with most significant vectors"
    )
    return _Shown(rows, columns, title)


def _heatmap(
    shown: _Shown,
    table: LayerTable,
    layer: LayerVectors,
    cell_values: Mapping[str, npt.NDArray[Any]],
    *,
    tooltips: Sequence[tuple[str, str]],
    colours: Mapping[str, Any],
    marks: Sequence[hv.Element] | None = None,
) -> hv.Overlay:
    """The cells, coloured by the first of their values, with the incidences marked.

    Parameters
    ----------
    cell_values
        one value for each cell, by name; the first lies between 0 and 1.
    tooltips
        what hovering shows beside class and vector.
    colours
        options of the colour scale and its bar.
    marks
        marks of the incidences; None takes dots.
    """
    shade = next(iter(cell_values))
    names = np.array(table.target_classes, dtype=object)[shown.rows]
    nodes = SignedVectors(layer, table.directions)
    labels = np.array(node_names(nodes), dtype=object)[shown.columns]
    y, x = shown.places
    own = shown.select(table.significant)
    cells = {
        # Each figure names its own dimensions: figures that share one move together.
        f"{shade}_x0": x - 0.5,
        f"{shade}_y0": -y - 0.5,
        f"{shade}_x1": x + 0.5,
        f"{shade}_y1": -y + 0.5,
        **cell_values,
        "target_class": names[y],
        "vector": labels[x],
        "significant": own,
    }
    width, height = shown.cell
    drawn = element(
        hv.Rectangles,
        cells,
        4,
        group="Cells",
        color=shade,
        clim=(0, 1),
        line_color="white",
        line_width=1,
        tools=["hover"],
        hover_tooltips=[
            ("singular vector", "@vector"),
            ("target class", "@target_class"),
            *tooltips,
        ],
        colorbar=True,
        clabel="",
        **colours,
    )
    if marks is None:
        dots = {f"{shade}_x": x[own], f"{shade}_y": -y[own]}
        looks: dict[str, Any] = {"color": "white", "line_color": "#08306b"}
        looks["size"] = min(7, width / 3)
        marks = [element(hv.Points, dots, 2, group="Significant", **looks)]
    return figure(
        [drawn, *marks],
        **plain(
            len(shown.columns) * width,
            len(shown.rows) * height,
            shown.title,
            show_legend=False,
            xlim=(-0.5, len(shown.columns) - 0.5),
            ylim=(0.5 - len(shown.rows), 0.5),
            xticks=[(i, str(label)) for i, label in enumerate(labels)],
            yticks=[(-i, short(str(name))) for i, name in enumerate(names)],
            xrotation=0 if width >= text_width(max(labels, key=len), 11) + 4 else 90,
            xlabel="",
            ylabel="",
            xaxis="top",
        )
        | {"backend_opts": TABLE_AXES},
    )


def _bar(shown: _Shown) -> dict[str, Any]:
    return {
        "height": min(len(shown.rows) * shown.cell[1], 220),
        "width": 10,
        "title": "",
        "major_label_text_font": FONT,
        "border_line_color": None,
        "bar_line_color": "#c4cad0",
        "major_tick_line_color": "#c4cad0",
    }


def _shares(shown: _Shown) -> dict[str, Any]:
    """Options of a colour bar of shares."""
    return _bar(shown) | {
        "ticker": FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1]),
        "formatter": NumeralTickFormatter(format="0 %"),
    }


def _levels(shown: _Shown, levels: Sequence[float]) -> dict[str, Any]:
    """Options of a colour bar of quantile levels, as many named as there is room for."""
    bar = _bar(shown)
    every = -(-len(levels) * _LINE // bar["height"])
    # Labels at the middle of each colour, from the greatest level, at the bar's end, down.
    named = range(len(levels), 0, -every)
    middle = {(i + 0.5) / (len(levels) + 1): f"{levels[i - 1]:g}" for i in named}
    return bar | {
        "ticker": FixedTicker(ticks=list(middle)),
        "formatter": BasicTickFormatter(),
        "major_label_overrides": middle,
        "major_label_policy": AllLabels(),
    }
