"""The diagram of a semantic hierarchy, as on the right of figures 6 and 7 of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.diagram_layout import Levels, place_levels, place_rows
from ddp_tasks.figures.elements import element, figure, with_options
from ddp_tasks.figures.hypergraph_figures import class_names
from ddp_tasks.figures.notation import (
    COLOURS,
    NEUTRAL,
    abbreviated,
    text_width,
    vector_names,
    wrapped,
)
from ddp_tasks.figures.style import GLYPH_FONT, canvas
from ddp_tasks.figures.thumbnails import Thumbnail, pictures
from ddp_tasks.hypergraphs.semantic_hierarchy import levels, number_of_levels, strict_order
from ddp_tasks.weights.layer_vectors import LayerVectors

_BOXES = 60
#: In pixels: browsers draw no canvas wider than twice this, and fine screens double the width.
_WIDEST = 8000.0
#: In a diagram of more boxes, those without lines stand below, in rows of this width.
_ALONE, _ROW_OF_ALONE = 5, 1240.0
_IMAGES_IN_BOX = 10
#: Images in each box of a diagram of many boxes, so that the page stays small.
_IMAGES_IN_CROWDED_BOX, _CROWDED = 5, 24

_CELL, _IMAGE, _PAD = 41, 38, 10
_ROW_GAP, _COLUMN_GAP = 52.0, 18.0


@dataclass(frozen=True)
class Box:
    """One equivalence class of a hierarchy diagram; sizes in pixels, y grows downwards."""

    title: str
    vectors: str
    all_vectors: str
    classes: tuple[str, ...]
    """lines of text."""
    all_classes: str
    exemplars: tuple[str, ...]
    """ids of the images shown."""
    exemplar_classes: tuple[int, ...]
    """positions of their target classes."""
    left_out: int
    """images not shown."""
    below: int
    """equivalence classes that lie below and are not shown."""
    width: float
    height: float
    x: float = 0.0
    """left edge."""
    y: float = 0.0
    """upper edge."""

    @property
    def images_top(self) -> float:
        """Distance of the images from the upper edge."""
        return _PAD + 20 + 15 * len(self.classes) + 6

    def image_corner(self, position: int) -> tuple[float, float]:
        """Upper left corner of an image."""
        row, column = divmod(position, _per_row(len(self.exemplars)))
        return self.x + _PAD + column * _CELL, self.y + self.images_top + row * (_CELL + 4)


def hierarchy_boxes(
    hierarchy: xr.Dataset, layer: LayerVectors, most_boxes: int = _BOXES
) -> list[Box]:
    """Boxes of the most general equivalence classes, with sizes but without places."""
    names, vectors = vector_names(layer), hierarchy["singular_vectors"].to_numpy()
    exemplar = hierarchy["exemplar"].to_numpy().astype(object)
    shown = min(len(vectors), most_boxes)
    most = _IMAGES_IN_BOX if shown <= _CROWDED else _IMAGES_IN_CROWDED_BOX
    contains = hierarchy["target_classes"].to_numpy()
    below = strict_order(contains)[:shown, shown:].sum(axis=1) if shown < len(vectors) else None
    boxes = []
    for number, classes in enumerate(class_names(hierarchy)[:shown]):
        members = [names[v] for v in np.flatnonzero(vectors[number])]
        with_exemplar = np.flatnonzero(exemplar[number] != "")
        title, listed = f"[{members[0]}]", abbreviated(members, 3)
        columns = _per_row(min(len(with_exemplar), most))
        width = max(
            2 * _PAD + columns * _CELL - (_CELL - _IMAGE),
            2 * _PAD + text_width(title, 14) + 8 + text_width(listed, 12),
            140,
        )
        lines = wrapped(classes, width - 2 * _PAD, 12, 4)
        box = Box(
            title=title,
            vectors=listed,
            all_vectors=abbreviated(members, 40),
            classes=tuple(lines),
            all_classes=abbreviated(classes, 40),
            exemplars=tuple(exemplar[number][with_exemplar[:most]]),
            exemplar_classes=tuple(with_exemplar[:most].tolist()),
            left_out=max(len(with_exemplar) - most, 0),
            below=0 if below is None else int(below[number]),
            width=width,
            height=0,
        )
        rows = -(-len(box.exemplars) // columns)
        notes_height = 16 * ((box.left_out > 0) + (box.below > 0))
        height = box.images_top + rows * (_CELL + 4) + notes_height + _PAD - 4
        boxes.append(replace(box, height=height))
    return boxes


def _per_row(images: int) -> int:
    return max(1, min(images, 5))


def hierarchy_figure(
    hierarchy: xr.Dataset, layer: LayerVectors, thumbnails: Mapping[str, Thumbnail]
) -> hv.Overlay:
    """Diagram of a semantic hierarchy: boxes of equivalence classes, the most general on top.

    An arrow leads from an equivalence class to one that it covers. Each box holds the class's
    singular vectors, its target classes, and the strongest image of each of them.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    thumbnails
        by image id.

    Raises
    ------
    ValueError
        If the hierarchy is empty.

    References
    ----------
    Praggastis et al. 2022, section 5.2, right of figures 6, 7 and 9.
    """
    boxes = hierarchy_boxes(hierarchy, layer)
    if not boxes:
        raise ValueError("the hierarchy is empty: no singular vector is significant for a class")
    covers = hierarchy["covers"].to_numpy()
    placed = _placed(boxes, covers)
    while placed.width > _WIDEST and len(boxes) > 1:
        boxes = hierarchy_boxes(hierarchy, layer, len(boxes) * 3 // 4)
        placed = _placed(boxes, covers)
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
            *_arrows(arrows, placed.edges),
            _frames(boxes, high),
            *_texts(boxes, high),
            *_exemplars(boxes, high, hierarchy, thumbnails),
        ],
        **canvas(placed.width, high, title),
    )


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


def _arrows(lines: list[npt.NDArray[np.float64]], edges: list[tuple[int, int]]) -> list[hv.Element]:
    ends = [
        {"line_x": line[:, 0], "line_y": line[:, 1], "above": above, "below": below}
        for line, (above, below) in zip(lines, edges, strict=True)
    ]
    dims = {"kdims": ["line_x", "line_y"], "vdims": ["above", "below"]}
    heads = []
    for line in lines:
        tip, direction = line[-1], line[-1] - line[-2]
        direction = direction / np.hypot(*direction)
        across = np.array([-direction[1], direction[0]])
        base = tip - 9 * direction
        corners = np.stack([tip, base + 4 * across, base - 4 * across])
        heads.append({"head_x": corners[:, 0], "head_y": corners[:, 1]})
    return [
        with_options(hv.Path(ends, **dims, group="Covers"), color="#8a949e", line_width=1.4),
        with_options(
            hv.Polygons(heads, kdims=["head_x", "head_y"], group="Heads"),
            fill_color="#8a949e",
            line_color="#8a949e",
        ),
    ]


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
        left, top = box.x + _PAD, high - box.y - _PAD
        titles.append((left, top, box.title))
        vectors.append((left + text_width(box.title, 14) + 8, top - 2, box.vectors))
        classes += [(left, top - 20 - 15 * i, line) for i, line in enumerate(box.classes)]
        bottom = high - box.y - box.height + _PAD + 12
        if box.below:
            vectors.append((left, bottom, f"{box.below:,} more below"))
            bottom += 16
        if box.left_out:
            classes.append((left, bottom, f"+{box.left_out} more classes' images"))
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
    left, bottom = corner[:, 0], high - corner[:, 1] - _IMAGE
    images = pictures([thumbnails[i] for i in ids], left, bottom, _IMAGE, tooltips)
    used = hierarchy["target_classes"].to_numpy().any(axis=0)
    if used.sum() > len(COLOURS):
        return [images]
    # The colour that the class has in the hypergraph.
    bars = {
        "bar_x0": left,
        "bar_y0": bottom - 5,
        "bar_x1": left + _IMAGE,
        "bar_y1": bottom - 2,
        "colour": [COLOURS[c % len(COLOURS)] for c in classes],
    }
    return [
        images,
        element(hv.Rectangles, bars, 4, group="Bars", color="colour", line_alpha=0),
    ]
