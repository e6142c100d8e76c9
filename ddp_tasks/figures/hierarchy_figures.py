"""The diagram of a semantic hierarchy, as on the right of figures 6 and 7 of the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.diagram_layout import Levels, place_levels, place_rows
from ddp_tasks.figures.elements import element, figure, with_options
from ddp_tasks.figures.hierarchy_boxes import IMAGE, MOST_BOXES, OPTIMISED, PAD, Box, Boxes
from ddp_tasks.figures.notation import COLOURS, NEUTRAL, text_width
from ddp_tasks.figures.optimised_pictures import OptimisedPicture
from ddp_tasks.figures.style import GLYPH_FONT, canvas
from ddp_tasks.figures.thumbnails import Thumbnail, pictures
from ddp_tasks.figures.uncertainty import edge_shares
from ddp_tasks.hypergraphs.semantic_hierarchy import (
    levels,
    number_of_levels,
)
from ddp_tasks.significance.stability import SURE
from ddp_tasks.weights.layer_vectors import LayerVectors

#: In pixels: browsers draw no canvas wider than twice this, and fine screens double the width.
WIDEST = 8000.0
#: In a diagram of more boxes, those without lines stand below, in rows of this width.
_ALONE, _ROW_OF_ALONE = 5, 1240.0
_ROW_GAP, _COLUMN_GAP = 52.0, 18.0


def hierarchy_figure(
    hierarchy: xr.Dataset,
    layer: LayerVectors,
    thumbnails: Mapping[str, Thumbnail],
    optimised: Sequence[OptimisedPicture] = (),
    *,
    values: bool = False,
    stability: xr.Dataset | None = None,
    widest: float = WIDEST,
) -> hv.Overlay:
    """Diagram of a semantic hierarchy: boxes of equivalence classes, the most general on top.

    An arrow leads from an equivalence class to one that it covers. Each box holds the class's
    singular vectors, its target classes, and the strongest image of each of them; at their left
    the image that was optimised for the vectors, where there is one. An arrow that holds in fewer
    than 95 % of the resamples is dashed and says in how many.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    thumbnails
        by image id.
    optimised
        optimised images of the layer.
    values
        write the singular values beside the vectors.
    stability
        the store's group ``stability/LAYER``, where there is one.
    widest
        width in pixels; a wider diagram is folded to it: small boxes, the most general that fit.

    Raises
    ------
    ValueError
        If the hierarchy is empty.

    References
    ----------
    Praggastis et al. 2022, section 5.2, right of figures 6, 7 and 9.
    """
    all_boxes = Boxes(hierarchy, layer, optimised, values)
    boxes = all_boxes.first(MOST_BOXES)
    if not boxes:
        raise ValueError("the hierarchy is empty: no singular vector is significant for a class")
    covers = hierarchy["covers"].to_numpy()
    # Placing takes long, so that what cannot fit is not placed.
    placed = _placed(boxes, covers) if _least_width(boxes, covers) <= widest else None
    if placed is None or placed.width > widest:
        small = widest < WIDEST
        boxes, placed = _folded(
            lambda n: all_boxes.first(n, small=small), covers, len(boxes), widest
        )
    total = len(covers)
    boxes = [replace(b, x=x, y=y) for b, (x, y) in zip(boxes, placed.corners, strict=True)]
    title = ""
    if len(boxes) < total:
        depth = number_of_levels(hierarchy["level"].to_numpy())
        title = (
            f"Shown: the {len(boxes)} most general of {total:,} equivalence classes on {depth} "
            "levels; a box says how many of the others lie below it."
        )
    high = placed.height
    arrows = [np.column_stack([line[:, 0], high - line[:, 1]]) for line in placed.lines]
    return figure(
        [
            *_arrows(arrows, placed.edges, edge_shares(stability)),
            _frames(boxes, high),
            *_texts(boxes, high),
            *_exemplars(boxes, high, hierarchy, thumbnails),
            *_optimised(boxes, high),
        ],
        **canvas(placed.width, high, title),
    )


def width_of(diagram: hv.Overlay) -> float:
    """Width of a diagram in pixels."""
    return float(hv.Store.lookup_options("bokeh", diagram, "plot").kwargs["frame_width"])


def _folded(
    boxes_of: Callable[[int], list[Box]],
    covers: npt.NDArray[np.bool_],
    count: int,
    widest: float,
) -> tuple[list[Box], Levels]:
    """The most general boxes of at most ``count`` that fit a width, and their places."""
    while True:
        boxes = boxes_of(count)
        while count > 1 and _least_width(boxes[:count], covers) > widest:
            count -= 1
        boxes = boxes_of(count)
        placed = _placed(boxes, covers)
        if placed.width <= widest or count == 1:
            return boxes, placed
        count -= max(1, count // 8)


def _least_width(boxes: list[Box], covers: npt.NDArray[np.bool_]) -> float:
    """Width of the widest level, without lines that pass it."""
    within = covers[: len(boxes), : len(boxes)]
    joined = within.any(axis=0) | within.any(axis=1) | (len(boxes) <= _ALONE)
    width = np.array([box.width + _COLUMN_GAP for box in boxes]) * joined
    return float(np.bincount(levels(within), weights=width).max()) - _COLUMN_GAP


def _placed(boxes: list[Box], covers: npt.NDArray[np.bool_]) -> Levels:
    """Places of boxes: levels of those that lines join, and rows of the rest."""
    covers = covers[: len(boxes), : len(boxes)]
    few = len(boxes) <= _ALONE
    joined = np.asarray(covers.any(axis=0) | covers.any(axis=1) | few)
    inside, alone = np.flatnonzero(joined), np.flatnonzero(~joined)
    within = covers[np.ix_(inside, inside)]
    sizes = [(box.width, box.height) for box in boxes]
    placed = Levels([], [], [], 0.0, 0.0)
    if len(inside):
        chosen = [sizes[i] for i in inside]
        placed = place_levels(levels(within), within, chosen, _COLUMN_GAP, _ROW_GAP)
    corners, height = place_rows(
        [sizes[i] for i in alone],
        max(placed.width, _ROW_OF_ALONE),
        placed.height + (_ROW_GAP if len(inside) and len(alone) else 0),
        _COLUMN_GAP,
    )
    place = dict(zip([*inside, *alone], [*placed.corners, *corners], strict=True))
    right = max(place[i][0] + box.width for i, box in enumerate(boxes)) + 2
    return Levels(
        [place[i] for i in range(len(boxes))],
        [(int(inside[i]), int(inside[j])) for i, j in placed.edges],
        placed.lines,
        max(placed.width, right),
        height,
    )


def _arrows(
    lines: list[npt.NDArray[np.float64]],
    edges: list[tuple[int, int]],
    shares: Mapping[tuple[int, int], float],
) -> list[hv.Element]:
    """Lines with heads; those of unsure edges are dashed, with their share of the resamples."""
    unsure = [shares.get(edge, 1.0) < SURE for edge in edges]
    heads = [_head(line) for line in lines]
    drawn: list[hv.Element] = []
    for group, wanted, dash in (("Covers", False, "solid"), ("Unsure covers", True, "dashed")):
        ends = [
            {"line_x": line[:, 0], "line_y": line[:, 1], "above": above, "below": below}
            for line, (above, below), one in zip(lines, edges, unsure, strict=True)
            if one == wanted
        ]
        if ends or not wanted:
            dims = {"kdims": ["line_x", "line_y"], "vdims": ["above", "below"]}
            path = hv.Path(ends, **dims, group=group)
            drawn.append(with_options(path, color="#8a949e", line_width=1.4, line_dash=dash))
    drawn.append(
        with_options(
            hv.Polygons(heads, kdims=["head_x", "head_y"], group="Heads"),
            fill_color="#8a949e",
            line_color="#8a949e",
        )
    )
    if any(unsure):
        at = [line[-1] for line, one in zip(lines, unsure, strict=True) if one]
        texts = [f"{shares[e]:.0%}" for e, one in zip(edges, unsure, strict=True) if one]
        columns = {
            "share_x": [x + 5 for x, _ in at],
            "share_y": [y + 12 for _, y in at],
            "share": texts,
        }
        looks: dict[str, Any] = {"text_font": GLYPH_FONT, "text_font_size": "11px"}
        looks |= {"text_align": "left", "text_color": NEUTRAL}
        drawn.append(element(hv.Labels, columns, 2, group="Shares", **looks))
    return drawn


def _head(line: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """The triangle at the end of a line."""
    tip, direction = line[-1], line[-1] - line[-2]
    direction = direction / np.hypot(*direction)
    across = np.array([-direction[1], direction[0]])
    base = tip - 9 * direction
    corners = np.stack([tip, base + 4 * across, base - 4 * across])
    return {"head_x": corners[:, 0], "head_y": corners[:, 1]}


def _frames(boxes: list[Box], high: float) -> hv.Rectangles:
    columns = {
        "left_x": [box.x for box in boxes],
        "low_y": [high - box.y - box.height for box in boxes],
        "right_x": [box.x + box.width for box in boxes],
        "high_y": [high - box.y for box in boxes],
        "title": [box.title for box in boxes],
        "vectors": [box.all_vectors for box in boxes],
        "classes": [box.all_classes for box in boxes],
    }
    return element(
        hv.Rectangles,
        columns,
        4,
        group="Boxes",
        color="white",
        line_color="#aab3bc",
        line_width=1,
        tools=["hover"],
        hover_tooltips=[("singular vectors", "@vectors"), ("target classes", "@classes")],
    )


def _texts(boxes: list[Box], high: float) -> list[hv.Labels]:
    titles, vectors, classes = [], [], []
    for box in boxes:
        left, top = box.x + PAD, high - box.y - PAD
        titles.append((left, top, box.title))
        vectors.append((left + text_width(box.title, 14) + 8, top - 2, box.vectors))
        classes += [(left, top - 20 - 15 * i, line) for i, line in enumerate(box.classes)]
        bottom = high - box.y - box.height + PAD + 12
        if box.below:
            vectors.append((left, bottom, f"{box.below:,} more below"))
            bottom += 16
        if box.left_out:
            classes.append((left, bottom, f"+{box.left_out} more images"))
    style: dict[str, Any] = {
        "text_align": "left",
        "text_baseline": "top",
        "text_font": GLYPH_FONT,
    }
    dark, grey = {"text_color": "#1d2329"}, {"text_color": NEUTRAL}
    small = {"text_font_size": "12px"}
    bold = {"text_font_style": "bold", "text_font_size": "14px"}
    names = ("text_x", "text_y", "text")
    drawn = []
    groups: list[tuple[str, list[tuple[float, float, str]], dict[str, Any]]] = [
        ("Titles", titles, dark | bold),
        ("Vectors", vectors, grey | small),
        ("Classes", classes, dark | small),
    ]
    for group, rows, looks in groups:
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        drawn.append(element(hv.Labels, columns, 2, group=group, **style, **looks))
    return drawn


def _exemplars(
    boxes: list[Box], high: float, hierarchy: xr.Dataset, thumbnails: Mapping[str, Thumbnail]
) -> list[hv.Element]:
    names = hierarchy["target_class"].to_numpy().astype(object)
    signal = hierarchy["exemplar_signal"].to_numpy()
    places = [(number, i) for number, box in enumerate(boxes) for i in range(len(box.exemplars))]
    if not places:
        return []
    corner = np.array([boxes[number].image_corner(i) for number, i in places])
    classes = [boxes[number].exemplar_classes[i] for number, i in places]
    ids = [boxes[number].exemplars[i] for number, i in places]
    tooltips = {
        "image": ids,
        "class": [str(names[c]) for c in classes],
        "signal": [f"{signal[n, c]:.3g}" for (n, _), c in zip(places, classes, strict=True)],
    }
    left, bottom = corner[:, 0], high - corner[:, 1] - IMAGE
    images = pictures([thumbnails[i] for i in ids], left, bottom, IMAGE, tooltips)
    used = hierarchy["target_classes"].to_numpy().any(axis=0)
    if used.sum() > len(COLOURS):
        return [images]
    # The colour that the class has in the hypergraph.
    bars = {
        "bar_x0": left,
        "bar_y0": bottom - 5,
        "bar_x1": left + IMAGE,
        "bar_y1": bottom - 2,
        "colour": [COLOURS[c % len(COLOURS)] for c in classes],
    }
    return [
        images,
        element(hv.Rectangles, bars, 4, group="Bars", color="colour", line_alpha=0),
    ]


def _optimised(boxes: list[Box], high: float) -> list[hv.Element]:
    """The optimised images, with how much they exceed natural ones, or that they failed."""
    shown = [(box, box.optimised) for box in boxes if box.optimised is not None]
    if not shown:
        return []
    left = np.array([box.x + PAD for box, _ in shown])
    bottom = np.array([high - box.y - box.images_top - OPTIMISED for box, _ in shown])
    tooltips = {
        "optimised for": [one.key for _, one in shown],
        "trust": [one.tooltip for _, one in shown],
    }
    thumbs = [one.thumbnail for _, one in shown]
    drawn: list[hv.Element] = [
        pictures(thumbs, left, bottom, OPTIMISED, tooltips, group="Optimised")
    ]
    columns = {
        "text_x": left,
        "text_y": bottom - 3,
        "text": ["failed" if one.failed else f"excess {one.excess:.2f}" for _, one in shown],
        "colour": ["#b3261e" if one.failed else NEUTRAL for _, one in shown],
    }
    looks: dict[str, Any] = {"text_align": "left", "text_baseline": "top", "text_color": "colour"}
    looks |= {"text_font": GLYPH_FONT, "text_font_size": "11px"}
    drawn.append(element(hv.Labels, columns, 2, group="Excess", **looks))
    failed = np.array([bool(one.failed) for _, one in shown])
    if failed.any():
        x, y = left[failed], bottom[failed]
        corners = {"frame_x0": x, "frame_y0": y, "frame_x1": x + OPTIMISED}
        corners["frame_y1"] = y + OPTIMISED
        red: dict[str, Any] = {"fill_color": "#b3261e", "line_color": "#b3261e", "fill_alpha": 0.12}
        drawn.append(element(hv.Rectangles, corners, 4, group="Failed", line_width=2, **red))
    return drawn
