"""Maps of images and of classes: points of a plane, with pictures where there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.elements import element, figure
from ddp_tasks.figures.notation import COLOURS, cut, text_width
from ddp_tasks.figures.point_labels import place_labels
from ddp_tasks.figures.style import GLYPH_FONT, canvas
from ddp_tasks.figures.thumbnails import Thumbnail, pictures
from ddp_tasks.significance.signal_maps import SignalMap

_WIDE, _HIGH, _MARGIN = 940.0, 620.0, 44.0
_SPRITE, _CLASS_SPRITE = 30, 40
#: Classes whose names and pictures are shown; of more, points alone, which say their names.
_NAMED = 60
_KEY_LINE = 18.0
_NAMES: dict[str, Any] = {
    "text_font": GLYPH_FONT,
    "text_font_size": "12px",
    "text_color": "#1d2329",
}


def colours_of(numbers: npt.NDArray[np.int64]) -> list[str]:
    """Colours of classes by their numbers; past twelve they come again."""
    return [COLOURS[int(n) % len(COLOURS)] for n in numbers]


def image_map(
    plane: SignalMap,
    ids: Sequence[str],
    target: npt.NDArray[np.int64],
    names: Sequence[str],
    thumbnails: Mapping[str, Thumbnail],
) -> hv.Overlay:
    """Images as points in the colour of their class, and as pictures where none covers another.

    Parameters
    ----------
    ids, target
        of the images, in the order of the map's places.
    names
        of all classes.
    thumbnails
        by image id, of those that there is a picture of.
    """
    below = _key_height(names)
    x, y = _scaled(plane.place, below)
    colours = colours_of(target)
    with_picture = np.array([image in thumbnails for image in ids], dtype=np.bool_)
    shown = _apart(x, y, np.flatnonzero(with_picture), _SPRITE)
    rest = np.setdiff1d(np.arange(len(ids)), shown)
    said = [("image", "@image"), ("class", "@target_class")]
    dots = element(
        hv.Points,
        {
            "map_x": x[rest],
            "map_y": y[rest],
            "image": [ids[i] for i in rest],
            "target_class": [names[target[i]] for i in rest],
            "colour": [colours[i] for i in rest],
        },
        2,
        group="Images",
        color="colour",
        line_color="#ffffff",
        line_width=0.8,
        size=8,
        tools=["hover"],
        hover_tooltips=said,
    )
    parts: list[hv.Element] = [dots]
    if len(shown):
        corner = x[shown] - _SPRITE / 2, y[shown] - _SPRITE / 2
        tooltips = {
            "image": [ids[i] for i in shown],
            "class": [names[target[i]] for i in shown],
        }
        parts += [
            pictures([thumbnails[ids[i]] for i in shown], *corner, _SPRITE, tooltips),
            _frames(*corner, [colours[i] for i in shown], _SPRITE),
        ]
    parts += _key(names, below)
    return figure(parts, **canvas(_WIDE, _HIGH + below))


def class_map(
    plane: SignalMap,
    names: Sequence[str],
    numbers: npt.NDArray[np.int64],
    pictured: Sequence[Thumbnail | None],
) -> hv.Overlay:
    """Classes as pictures with their names; of many classes, points, named where there is room.

    Parameters
    ----------
    names, numbers
        of the classes on the map, in the order of its places.
    pictured
        a picture of each; None where there is none.
    """
    x, y = _scaled(plane.place, 0.0)
    colours, side = colours_of(numbers), _CLASS_SPRITE if len(names) <= _NAMED else 0
    dots = element(
        hv.Points,
        {"map_x": x, "map_y": y, "target_class": list(names), "colour": colours},
        2,
        group="Classes",
        color="colour",
        line_color="#ffffff",
        line_width=0.8,
        size=side - 6 if side else 9,
        tools=["hover"],
        hover_tooltips=[("class", "@target_class")],
    )
    parts: list[hv.Element] = [dots]
    there = [i for i, one in enumerate(pictured) if one is not None] if side else []
    if there:
        corner = x[there] - side / 2, y[there] - side / 2
        shown = [one for one in (pictured[i] for i in there) if one is not None]
        tooltips = {"target_class": [names[i] for i in there]}
        parts.append(pictures(shown, *corner, side, tooltips, group="Sprites"))
        parts.append(_frames(*corner, [colours[i] for i in there], side))
    return figure([*parts, *_names(names, x, y, side)], **canvas(_WIDE, _HIGH))


def _names(
    names: Sequence[str], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], side: int
) -> list[hv.Element]:
    """Names of classes: below their pictures, or beside the points where there is room."""
    texts = [cut(name, 130, 12) for name in names]
    if side:
        at, words = (x, y - side / 2 - 12), texts
    else:
        first = np.linspace(0, len(names) - 1, min(len(names), _NAMED)).round().astype(int)
        placed = place_labels(
            np.column_stack([x, y])[first],
            [text_width(texts[i], 12) for i in first],
            13.0,
            (_WIDE, _HIGH),
            np.zeros((0, 2, 2)),
        )
        at = np.array([one.x for one in placed]), np.array([one.y for one in placed])
        words = [texts[first[one.point]] for one in placed]
    if not words:
        return []
    columns = {"map_x": at[0], "map_y": at[1], "text": words}
    return [element(hv.Labels, columns, 2, group="Names", **_NAMES)]


def _scaled(
    place: npt.NDArray[np.float64], below: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Places in pixels; each axis fills the map, so that the second one can be seen."""
    low, high = place.min(axis=0), place.max(axis=0)
    room = np.array([_WIDE, _HIGH]) - 2 * _MARGIN
    centred = (place - (low + high) / 2) * room / np.where(high > low, high - low, np.inf)
    return _WIDE / 2 + centred[:, 0], below + _HIGH / 2 + centred[:, 1]


def _apart(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    candidates: npt.NDArray[np.int64],
    side: float,
) -> npt.NDArray[np.int64]:
    """Those of some points whose pictures cover no other picture, the first first."""
    taken: dict[tuple[int, int], list[int]] = {}
    chosen = []
    for i in candidates.tolist():
        cell = int(x[i] // side), int(y[i] // side)
        near = [
            j
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for j in taken.get((cell[0] + dx, cell[1] + dy), [])
        ]
        if all(max(abs(x[i] - x[j]), abs(y[i] - y[j])) >= side + 2 for j in near):
            taken.setdefault(cell, []).append(i)
            chosen.append(i)
    return np.array(chosen, dtype=np.int64)


def _frames(
    left: npt.NDArray[np.float64], bottom: npt.NDArray[np.float64], colours: list[str], side: int
) -> hv.Rectangles:
    columns = {
        "frame_x0": left,
        "frame_y0": bottom,
        "frame_x1": left + side,
        "frame_y1": bottom + side,
        "colour": colours,
    }
    looks: dict[str, Any] = {"fill_alpha": 0, "line_color": "colour", "line_width": 2}
    return element(hv.Rectangles, columns, 4, group="Frames", **looks)


def _columns(names: Sequence[str]) -> int:
    widest = max((text_width(cut(name, 130, 12), 12) for name in names), default=0.0) + 30
    return max(1, int(_WIDE // widest))


def _key_height(names: Sequence[str]) -> float:
    """Height of the names of the colours; none where colours come again."""
    if len(names) > len(COLOURS):
        return 0.0
    return -(-len(names) // _columns(names)) * _KEY_LINE + 8


def _key(names: Sequence[str], high: float) -> list[hv.Element]:
    if not high:
        return []
    columns = _columns(names)
    place = np.arange(len(names))
    x = place % columns * (_WIDE / columns) + 4
    y = high - 8 - (place // columns + 0.5) * _KEY_LINE
    colours = colours_of(place)
    boxes = {"key_x0": x, "key_y0": y - 2, "key_x1": x + 16, "key_y1": y + 2, "colour": colours}
    texts = {"key_x": x + 22, "key_y": y, "text": [cut(name, 130, 12) for name in names]}
    return [
        element(hv.Rectangles, boxes, 4, group="Swatches", color="colour", line_alpha=0),
        element(hv.Labels, texts, 2, group="Key", text_align="left", **_NAMES),
    ]
