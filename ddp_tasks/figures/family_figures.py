"""The family of hypergraphs over (q, p), and how certain its findings are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from ddp_tasks.figures.elements import element, figure, with_options
from ddp_tasks.figures.notation import COLOURS, NEUTRAL, node_names, short, text_width
from ddp_tasks.figures.style import (
    GLYPH_FONT,
    GREENS,
    PLAIN_AXES,
    TABLE_AXES,
    cell_texts,
    framed,
    plain,
    shown_of,
)
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant_images
from ddp_tasks.significance.tables import table_intervals
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors

#: Quantities that the maps show, with their titles.
MAPPED = {
    "nodes": "nodes",
    "equivalence_classes": "equivalence classes",
    "depth": "depth of the hierarchy",
}

_CELL_WIDTH, _CELL_HEIGHT = 29, 22
_OWN = "#d6281f"
#: Bars of vectors that are significant for several classes, and for one.
SEVERAL, ALONE = "#9ecae1", "#c2560a"
_BARS, _INTERVAL_VECTORS, _INTERVAL_CLASSES = 24, 3, 20


def family_map(family: xr.Dataset, quantity: str, own: tuple[float, float]) -> hv.Overlay:
    """One size of all hypergraphs of a layer, over quantile level and percentage.

    Parameters
    ----------
    family
        one layer and direction of the store's group ``family``.
    quantity
        nodes, equivalence_classes or depth.
    own
        the run's quantile level and percentage, whose cell is framed.

    References
    ----------
    Praggastis et al. 2022, section 5.1, last paragraph.
    """
    values = family[quantity].transpose("percentage", "quantile").to_numpy()
    levels, percentages = family["quantile"].to_numpy(), family["percentage"].to_numpy()
    y, x = (a.ravel().astype(np.int32) for a in np.mgrid[: len(percentages), : len(levels)])
    flat = values.ravel()
    # The square root; otherwise one large corner leaves all other cells white.
    shade = np.sqrt(np.maximum(flat, 0) / max(int(flat.max(initial=1)), 1))
    cells = {
        "map_x0": x - 0.5,
        "map_y0": y - 0.5,
        "map_x1": x + 0.5,
        "map_y1": y + 0.5,
        "shade": shade,
        "quantile": levels[x],
        "percentage": percentages[y],
        **{name: family[name].transpose("percentage", "quantile").to_numpy().ravel()
           for name in MAPPED},
    }  # fmt: skip
    drawn = element(
        hv.Rectangles,
        cells,
        4,
        group="Cells",
        color="shade",
        cmap=list(GREENS),
        clim=(0, 1),
        line_color="white",
        line_width=1,
        tools=["hover"],
        hover_tooltips=[
            ("quantile level", "@quantile{0.0[00]}"),
            ("percentage p", "@percentage{0.[0]} %"),
            *((words, f"@{name}{{0,0}}") for name, words in MAPPED.items()),
        ],
    )
    counts = [_count(int(value)) for value in flat]
    labels = cell_texts((x, y, counts), shade, ["map_x", "map_y"], group="Counts")
    column = int(np.abs(levels - own[0]).argmin())
    row = int(np.abs(percentages - own[1]).argmin())
    edges = (column - 0.5, row - 0.5, column + 0.5, row + 0.5)
    frame = element(
        hv.Rectangles,
        {name: [edge] for name, edge in zip(cells, edges, strict=False)},
        4,
        group="Own",
        fill_alpha=0,
        line_color=_OWN,
        line_width=2.5,
    )
    return figure(
        [drawn, labels, frame],
        **plain(
            len(levels) * _CELL_WIDTH,
            len(percentages) * _CELL_HEIGHT,
            MAPPED[quantity],
            show_legend=False,
            xlim=(-0.5, len(levels) - 0.5),
            ylim=(-0.5, len(percentages) - 0.5),
            xticks=[(i, f"{level:g}") for i, level in enumerate(levels)],
            yticks=[(i, f"{p:g} %") for i, p in enumerate(percentages)],
            xlabel="quantile level",
            ylabel="percentage p",
        )
        | {"backend_opts": TABLE_AXES},
    )


def _count(value: int) -> str:
    if value < 0:
        return "…"
    return f"{value}" if value < 10_000 else f"{value / 1000:.0f}k"


def intervals(table: LayerTable, layer: LayerVectors, confidence: float) -> hv.Overlay:
    """Fractions of the singular vectors of greatest η² with intervals that hold together.

    Vectors are chosen by some images, and fractions are those of the others.

    Parameters
    ----------
    table
        its percentage p is drawn as a line.
    confidence
        probability that all intervals of the layer's table hold.

    Raises
    ------
    ValueError
        If no singular vector is significant for any class.
    """
    chosen = table.most_discriminating()[:_INTERVAL_VECTORS]
    images = table.images
    rows = np.flatnonzero(images > 0)[:_INTERVAL_CLASSES]
    cells = np.ix_(rows, chosen)
    fraction = table.fraction[cells]
    count = significant_images(fraction, images[rows])
    low, high = (end[cells] for end in table_intervals(table, confidence))
    names = np.array(table.target_classes, dtype=object)[rows]
    vectors = np.array(node_names(SignedVectors(layer, table.directions)), dtype=object)[chosen]
    title = shown_of(len(rows), int((images > 0).sum()), "target classes", "the first")
    # Vectors of one class stand under each other, so that whiskers do not overlap.
    shift = (np.arange(len(chosen)) - (len(chosen) - 1) / 2) * 0.24
    parts: list[Any] = [
        with_options(
            hv.VLine(table.percentage, group="Percentage"),
            color=_OWN,
            line_width=1.2,
            line_dash="dashed",
        )
    ]
    for place, vector in enumerate(vectors):
        y = -np.arange(len(rows)) - shift[place]
        ends = [100 * bound[:, place] for bound in (low, high)]
        colour = COLOURS[place]
        whiskers = {
            "interval_x0": ends[0],
            "interval_y0": y,
            "interval_x1": ends[1],
            "interval_y1": y,
        }
        parts.append(
            element(
                hv.Segments,
                whiskers,
                4,
                group="Intervals",
                label=str(vector),
                color=colour,
                line_width=2,
                line_alpha=0.55,
                show_legend=False,
            )
        )
        dots = {
            "interval_x": 100 * fraction[:, place],
            "interval_y": y,
            "target_class": names,
            "images": [f"{c} of {n}" for c, n in zip(count[:, place], images[rows], strict=True)],
            "interval": [f"{a:.0f} % to {b:.0f} %" for a, b in zip(*ends, strict=True)],
        }
        parts.append(
            element(
                hv.Points,
                dots,
                2,
                label=str(vector),
                color=colour,
                size=7,
                tools=["hover"],
                hover_tooltips=[
                    ("target class", "@target_class"),
                    ("images", "@images"),
                    (f"{100 * confidence:g} % interval", "@interval"),
                ],
            )
        )
    return figure(
        parts,
        **framed(
            400,
            max(160, 26 * len(rows)),
            title,
            xlim=(-3, 103),
            ylim=(0.6 - len(rows), 0.6),
            xticks=[(t, f"{t} %") for t in (0, 25, 50, 75, 100)],
            yticks=[(-i, short(str(name))) for i, name in enumerate(names)],
            xlabel="share of the class's images",
            ylabel="",
            legend_position="right",
        ),
    )


def discrimination_bars(table: LayerTable, layer: LayerVectors) -> hv.Overlay:
    """η² of the significant vectors that rank first; those of a single class are marked.

    They are ranked by their η² on the images that choose; the bars are of those that judge.

    Parameters
    ----------
    table, layer
        as in ``intervals``.

    Raises
    ------
    ValueError
        If no singular vector is significant for any class.
    """
    ranked = table.most_discriminating()
    chosen = ranked[:_BARS]
    significant = table.significant[:, chosen]
    names = np.array(table.target_classes, dtype=object)
    labels = np.array(node_names(SignedVectors(layer, table.directions)), dtype=object)[chosen]
    height = table.eta_squared[chosen]
    number_of_classes = significant.sum(axis=0)
    class_names = [", ".join(map(str, names[column][:8])) for column in significant.T]
    parts = []
    for words, wanted, colour in (
        ("significant for several classes", number_of_classes > 1, SEVERAL),
        ("for one class alone", number_of_classes == 1, ALONE),
    ):
        x = np.flatnonzero(wanted)
        if not len(x):
            continue
        data = {
            "bar_x0": x - 0.4,
            "bar_y0": np.zeros(len(x)),
            "bar_x1": x + 0.4,
            "bar_y1": height[x],
            "vector": labels[x],
            "classes": np.array(class_names, dtype=object)[x],
        }
        parts.append(
            element(
                hv.Rectangles,
                data,
                4,
                group="Bars",
                label=words,
                color=colour,
                line_alpha=0,
                tools=["hover"],
                hover_tooltips=[
                    ("singular vector", "@vector"),
                    ("η²", "@bar_y1{0.00}"),
                    ("significant for", "@classes"),
                ],
            )
        )
    alone = np.flatnonzero(number_of_classes == 1)
    text = ["  " + short(str(names[significant[:, i].argmax()]), 14) for i in alone]
    parts.append(
        element(
            hv.Labels,
            {"bar_x": alone, "bar_y": height[alone], "text": text},
            2,
            text_font=GLYPH_FONT,
            text_font_size="10px",
            text_color=NEUTRAL,
            text_baseline="middle",
            text_align="left",
            angle=90,
        )
    )
    longest = max((text_width(t, 10) for t in text), default=0)
    frame = 200
    top = max(float(height.max()) * 1.06, float(height[alone].max(initial=0)) + longest / frame)
    turned = max(text_width(str(label), 11) for label in labels) + 4 > 34
    return figure(
        parts,
        **plain(
            max(34 * len(chosen), 200),
            frame,
            shown_of(len(chosen), len(ranked), "significant singular vectors", "greatest η²"),
            xlim=(-0.6, len(chosen) - 0.4),
            ylim=(0, min(top, 1.4)),
            xticks=[(i, str(label)) for i, label in enumerate(labels)],
            xrotation=90 if turned else 0,
            xlabel="",
            ylabel="η²",
            legend_position="right",
        )
        | {"backend_opts": PLAIN_AXES},
    )


def unsure_edges(
    stability: xr.Dataset, labels: Sequence[str], least: float
) -> list[tuple[str, str, float]]:
    """Edges of the hierarchy that hold in too few resamples, the least certain first.

    Parameters
    ----------
    stability
        the store's group ``stability/LAYER``.
    labels
        label of each equivalence class.
    least
        share of the resamples, from 0 to 1, below which an edge is returned.

    Returns
    -------
    labels of the general and of the specific equivalence class, and the share
    """
    share = stability["inclusion"].to_numpy()
    ends = [stability[name].to_numpy() for name in ("general", "specific")]
    order = np.argsort(share, kind="stable")
    return [
        (labels[ends[0][e]], labels[ends[1][e]], float(share[e])) for e in order if share[e] < least
    ]
