"""Figures of how a layer's classes relate: heat maps in the order of a clustering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr
from bokeh.models import CustomJSHover, HoverTool
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from ddp_tasks.figures.elements import element, figure, with_options
from ddp_tasks.figures.hypergraph_figures import equivalence_class_labels
from ddp_tasks.figures.notation import NEUTRAL, short
from ddp_tasks.figures.style import BLUES, GLYPH_FONT, TABLE_AXES, plain, shown_of
from ddp_tasks.weights.layer_vectors import LayerVectors

#: At most this many rows and columns in a heat map; of more, neighbours are averaged.
_ROWS, _COLUMNS = 400, 800
#: The names of more rows or columns would cover each other.
_NAMED = 40
#: Side of the largest square heat map, in pixels.
_LARGEST = 760

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def clustered(similarity: Floats) -> Integers:
    """An order of items in which similar ones are neighbours: average linkage, leaves as drawn.

    Parameters
    ----------
    similarity
        shape (item, item), symmetric, from 0 to 1.
    """
    if len(similarity) < 3:
        return np.arange(len(similarity))
    apart = squareform(1 - similarity, checks=False)
    # Finding the best leaf order takes time with the square of the number of items.
    tree = linkage(apart, "average", optimal_ordering=len(similarity) <= 200)
    return leaves_list(tree).astype(np.int64)


def jaccard_heatmap(relations: xr.Dataset) -> hv.Overlay:
    """Jaccard similarity of a layer's classes by shared significant vectors, in clustered order.

    Classes without a significant vector are left out. More than 400 classes are averaged with
    their neighbours into 400 rows.

    Parameters
    ----------
    relations
        the store's group ``hypergraphs/LAYER``.

    Raises
    ------
    ValueError
        If the hypergraph is empty.
    """
    present, similar = _present(relations)
    if not len(present):
        raise ValueError(str(relations["empty"].item()))
    order = clustered(similar)
    names = [str(name) for name in relations["target_class"].to_numpy()[present[order]]]
    cells, blocks = _averaged(similar[np.ix_(order, order)], (_ROWS, _ROWS))
    title = ""
    if len(blocks[0]) < len(names):
        title = f"{len(names):,} classes, neighbours averaged into {len(blocks[0])} rows."
    title = _of_all(len(names), relations) + title
    side = min(34, _LARGEST // len(cells)) * len(cells) if len(cells) <= _NAMED else _LARGEST
    labels = [_joined(names, block) for block in blocks[0]]
    words = ("class", "class", "Jaccard")
    return _heatmap(cells, (labels, labels), (side, side), title, words=words)


def incidence_overview(
    hierarchy: xr.Dataset, relations: xr.Dataset, layer: LayerVectors
) -> hv.Overlay:
    """The whole incidence of a large hypergraph: target classes by equivalence classes.

    Rows are target classes in the order of their clustering; columns are equivalence classes by
    level of the hierarchy and, within a level, by the middle row of their classes. Darkness is
    the share of incidences where a cell averages several. The figure can be zoomed.

    Parameters
    ----------
    hierarchy, relations
        the store's groups ``hierarchies/LAYER`` and ``hypergraphs/LAYER``.

    Raises
    ------
    ValueError
        If the hypergraph is empty.
    """
    present, similar = _present(relations)
    if not len(present):
        raise ValueError(str(relations["empty"].item()))
    rows = present[clustered(similar)]
    member = hierarchy["target_classes"].to_numpy()[:, rows].T
    level = hierarchy["level"].to_numpy()
    # An equivalence class without any of the classes shown comes last in its level.
    place = [float(np.median(np.flatnonzero(c))) if c.any() else np.inf for c in member.T]
    columns = np.lexsort((np.array(place), level))
    cells, (high, wide) = _averaged(member[:, columns].astype(np.float64), (_ROWS, _COLUMNS))
    names = [str(name) for name in hierarchy["target_class"].to_numpy()[rows]]
    named = np.array(equivalence_class_labels(hierarchy, layer), dtype=object)[columns]
    labels = [f"{label} at level {at}" for label, at in zip(named, level[columns], strict=True)]
    title = _of_all(len(names), relations)
    title += f"{len(names):,} target classes by {len(labels):,} equivalence classes"
    if cells.shape != (len(names), len(labels)):
        title += f", averaged into {len(high)} × {len(wide)} cells"
    edges = np.flatnonzero(np.diff(level[columns])) + 1
    at = edges * cells.shape[1] / len(labels) - 0.5
    lines = [{"level_x": [x, x], "level_y": [-0.5, len(cells) - 0.5]} for x in at]
    return _heatmap(
        cells,
        ([_joined(names, block) for block in high], [_joined(labels, block) for block in wide]),
        (1200, 460),
        f"{title}. Lines separate the levels of the hierarchy, the most general at the left.",
        words=("target class", "equivalence class", "share"),
        over=[
            with_options(
                hv.Path(lines, ["level_x", "level_y"], group="Levels"),
                color="#e8710a",
                line_width=1,
                default_tools=[],
            )
        ],
    )


def _present(relations: xr.Dataset) -> tuple[Integers, Floats]:
    """Classes with a hyperedge, and their Jaccard similarities.

    Where the store relates all classes to some of them only, these are the classes.
    """
    related = np.isin(relations["target_class"].to_numpy(), relations["other_class"].to_numpy())
    others = np.flatnonzero(related)
    within = np.flatnonzero(relations["vectors"].to_numpy()[others])
    present = others[within]
    similar = relations["jaccard"].to_numpy()[np.ix_(present, within)]
    return present, similar.astype(np.float64)


def _of_all(shown: int, relations: xr.Dataset) -> str:
    """Words of a title about classes that there is no room for; empty if all are shown."""
    return shown_of(
        shown,
        int((relations["vectors"].to_numpy() > 0).sum()),
        "target classes",
        "with most significant vectors",
    )


def _averaged(
    values: Floats, most: tuple[int, int]
) -> tuple[Floats, tuple[list[Integers], list[Integers]]]:
    """A matrix averaged to at most ``most`` rows and columns, and the positions in each."""
    blocks = []
    for axis, limit in enumerate(most):
        cut = np.array_split(np.arange(values.shape[axis]), min(limit, values.shape[axis]))
        starts = [int(block[0]) for block in cut]
        sizes = np.array([len(block) for block in cut])
        values = np.add.reduceat(values, starts, axis=axis)
        values = values / (sizes[:, None] if axis == 0 else sizes)
        blocks.append(cut)
    return values, (blocks[0], blocks[1])


def _joined(names: Sequence[str], block: Integers) -> str:
    first = names[int(block[0])]
    if len(block) == 1:
        return first
    last = names[int(block[-1])]
    return f"{first}, {last}" if len(block) == 2 else f"{first} … {last}"


def _heatmap(
    cells: Floats,
    names: tuple[Sequence[str], Sequence[str]],
    frame: tuple[int, int],
    title: str,
    *,
    words: tuple[str, str, str],
    over: Sequence[hv.Element] = (),
) -> hv.Overlay:
    """Cells from 0 to 1, first row on top; hovering shows row, column and value by these words."""
    (high, wide), (rows, columns) = cells.shape, names
    # Whole percents take one byte a cell in the page.
    percent = np.rint(cells * 100).astype(np.uint8)[::-1]
    row_of, column_of = (
        CustomJSHover(
            args={"names": list(labels)},
            code="return names[Math.min(names.length - 1, Math.max(0, Math.round(value)))]",
        )
        for labels in (rows[::-1], columns)
    )
    hover = HoverTool(
        tooltips=[
            (words[0], "$y{custom}"),
            (words[1], "$x{custom}"),
            (words[2], "@image %"),
        ],
        formatters={"$y": row_of, "$x": column_of},
    )
    image = hv.Image(
        (np.arange(wide), np.arange(high), percent),
        ["column_x", "row_y"],
        ["image"],
        group="Cells",
        # HoloViews cannot tell how wide a single row or column is.
        bounds=(-0.5, -0.5, wide - 0.5, high - 0.5),
    )
    # No wheel zoom, so that the wheel scrolls the page over the figure too.
    zoom = ["box_zoom", "reset"] if max(high, wide) > _NAMED else []
    shades = {"cmap": list(BLUES), "clim": (0, 100)}
    layers: list[hv.Element] = [with_options(image, **shades, tools=[hover], default_tools=zoom)]
    looks: dict[str, Any]
    if zoom:
        looks = {
            **{"xaxis": None, "yaxis": None, "toolbar": "right", "active_tools": ["box_zoom"]},
            "backend_opts": {**TABLE_AXES, "plot.toolbar.logo": None},
        }
    else:
        looks = {
            "xticks": [(i, short(name)) for i, name in enumerate(columns)],
            "yticks": [(high - 1 - i, short(name)) for i, name in enumerate(rows)],
            "backend_opts": TABLE_AXES,
        }
        y, x = (a.ravel() for a in np.mgrid[:high, :wide])
        dark = ["#ffffff" if value >= 50 else NEUTRAL for value in percent.ravel()]
        text = [str(value) for value in percent.ravel()]
        numbers = {"column_x": x, "row_y": y, "text": text, "colour": dark}
        style = {"text_font": GLYPH_FONT, "text_font_size": "10px", "text_color": "colour"}
        layers.append(element(hv.Labels, numbers, 2, **style))
    shared = plain(
        *frame,
        title,
        show_legend=False,
        xlim=(-0.5, wide - 0.5),
        ylim=(-0.5, high - 0.5),
        xrotation=90,
        xlabel="",
        ylabel="",
    )
    return figure([*layers, *over], **(shared | looks))
