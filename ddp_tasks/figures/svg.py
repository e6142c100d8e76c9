"""Figures of rectangles, circles, outlines, lines, texts and pictures as SVG.

A figure drawn so is text: it is made in a few milliseconds, a page's style sheet may change its
colours, its marks can be reached by the keyboard, and a file of it opens in any drawing program.
Bokeh takes half a second for a hierarchy of forty boxes; pages that wait for no slider use that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
from markupsafe import escape

from ddp_tasks.figures.notation import text_width

#: What a mark does when it is chosen, as a page reads it: by its group and its row of values.
Action = Callable[[str, Mapping[str, Any]], "str | None"]

_ANCHORS = {"left": "start", "center": "middle", "right": "end"}
_BASELINES = {"top": 0.82, "middle": 0.36, "bottom": -0.2, "alphabetic": 0.0}
_DASHES = {"dashed": "6 4", "dotted": "2 3", "dotdash": "2 3 6 3", "dashdot": "6 3 2 3"}
_TITLE = 24
#: Looks of circles that differ from dots of one colour.
_OF_CIRCLES = {"alpha", "fill_color", "fill_alpha", "line_color", "line_alpha", "line_width"}
_QUIET = "#55606b"


class NotDrawnError(ValueError):
    """A figure has something that is not drawn here, which would be left out silently."""


@dataclass(frozen=True)
class _Frame:
    """From a figure's units to pixels."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        (x0, x1), (y0, y1) = self.x, self.y
        return (
            self.left + (np.asarray(x, dtype=float) - x0) / (x1 - x0) * self.width,
            self.top + (y1 - np.asarray(y, dtype=float)) / (y1 - y0) * self.height,
        )


def svg(drawn: hv.Overlay, label: str, action: Action = lambda _group, _row: None) -> str:
    """A figure of a fixed size as SVG.

    Parameters
    ----------
    drawn
        whose elements are rectangles, points, outlines, paths and labels.
    label
        what the figure shows, for those who do not see it.
    action
        what a mark does, kept in its ``data-do``; None for marks that do nothing.

    Raises
    ------
    NotDrawnError
        If the figure has another kind of element, no fixed size, axes other than names at the top
        and left, or a scale of colours.
    """
    options = _options(drawn, "plot")
    if "frame_width" not in options:
        raise NotDrawnError("a figure without a fixed size cannot be drawn as SVG")
    if options.get("xaxis", "bottom") not in {None, "top"}:
        raise NotDrawnError("a figure with an axis at its bottom cannot be drawn as SVG")
    if any(_options(one, "plot").get("colorbar") for one in drawn):
        raise NotDrawnError("a figure with a scale of colours cannot be drawn as SVG")
    frame, extent, axes = _framed(options)
    parts = [part for one in drawn for part in _reachable(one, _marks(one, frame, action))]
    role = "group" if any("data-do" in part for part in parts) else "img"
    width, height = extent
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'font-family="Helvetica, Arial, sans-serif">{"".join(axes)}{"".join(parts)}</svg>'
    )


def _framed(options: Mapping[str, Any]) -> tuple[_Frame, tuple[float, float], list[str]]:
    """Where the figure's frame is, the size of the whole, and its title and the texts at axes."""
    wide, high = float(options["frame_width"]), float(options["frame_height"])
    x, y = options["xlim"], options["ylim"]
    columns = options.get("xticks") if options.get("xaxis") == "top" else None
    rows = options.get("yticks") if options.get("xaxis") == "top" else None
    upright = bool(options.get("xrotation"))
    names = [str(name) for _, name in columns or ()]
    left = 8 + max((text_width(str(name), 11) for _, name in rows or ()), default=-8)
    room = max((text_width(name, 11) for name in names), default=0.0) if upright else 14.0
    title = str(options.get("title") or "")
    above = _TITLE if title else 0
    top = above + (room + 6 if names else 0)
    frame = _Frame(left, top, wide, high, x, y)
    texts = [_text((0, 14), title, _QUIET, "12px")] if title else []
    for position, name in columns or ():
        at, _ = frame.at(position, 0)
        turned = f' transform="rotate(-90 {at + 4:.1f} {top - 5:.1f})"' if upright else ""
        anchor = "start" if upright else "middle"
        place = at + 4 if upright else at
        texts.append(_text((place, top - 5), str(name), _QUIET, "11px", anchor=anchor, more=turned))
    for position, name in rows or ():
        _, at = frame.at(0, position)
        texts.append(_text((left - 6, at + 4), str(name), _QUIET, "11px", anchor="end"))
    return frame, (left + wide + 1, top + high + 1), texts


def _text(
    at: tuple[float, float],
    words: str,
    colour: str,
    size: str,
    *,
    anchor: str = "start",
    more: str = "",
) -> str:
    return (
        f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{_shade(colour)}"{more}>{escape(words)}</text>'
    )


def _reachable(one: hv.Element, marks: Iterator[str]) -> Iterator[str]:
    """The marks of an element; those that say and do nothing leave what lies below within reach."""
    if not _options(one, "plot").get("hover_tooltips"):
        yield from ('<g pointer-events="none">', *marks, "</g>")
    else:
        yield from marks


def _marks(one: hv.Element, frame: _Frame, action: Action) -> Iterator[str]:
    """The marks of one element."""
    style, tooltips = _options(one, "style"), _options(one, "plot").get("hover_tooltips") or ()
    if isinstance(one, hv.Path):  # polygons too
        x, y = (str(dimension) for dimension in one.kdims)
        for outline in one.data:  # HoloViews' own ways to its lines take milliseconds for each
            points = frame.at(outline[x], outline[y])
            yield _mark(
                one, _outline(one, points, _looks(style, outline)), outline, tooltips, action
            )
        return
    if isinstance(one, hv.Points) and not one.vdims and not _OF_CIRCLES & set(style):
        yield _dots(one, frame, _Looks(style))
        return
    draw = _DRAWN.get(type(one))
    if draw is None:
        raise NotDrawnError(f"an element of kind {type(one).__name__} cannot be drawn as SVG")
    names = [str(dimension) for dimension in one.dimensions()]
    columns = {name: one.dimension_values(name) for name in names}
    ends = [frame.at(columns[x], columns[y]) for x, y in draw.ends(names)]
    places = np.stack([axis for end in ends for axis in end], axis=-1).tolist()
    for place, values in zip(places, zip(*columns.values(), strict=True), strict=True):
        row = dict(zip(names, values, strict=True))
        yield _mark(one, draw.shape(place, row, _looks(style, row), names), row, tooltips, action)


def _mark(
    one: hv.Element, shape: str, row: Mapping[str, Any], tooltips: Any, action: Action
) -> str:
    """A shape with what is said where it is pointed at, and what it does."""
    said = "; ".join(f"{label}: {_told(value, row)}" for label, value in tooltips)
    does = action(str(one.group), row)
    if does is None:
        return f"<g><title>{escape(said)}</title>{shape}</g>" if said else shape
    return (
        f'<g role="button" tabindex="0" data-do="{escape(does)}" aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>{shape}</g>"
    )


def _told(value: str, row: Mapping[str, Any]) -> str:
    """A value that a tooltip names, such as ``@{image}`` or ``@fraction{0.0 %}``."""
    name, _, form = value.removeprefix("@").partition("{")
    if not name:  # @{a name with blanks}
        name, form = form.rstrip("}"), ""
    found, form = row[name], form.rstrip("}")
    if not form:
        return str(found)
    digits = len(form.partition(".")[2].rstrip("% ")) if "." in form else 0
    return f"{100 * found:.{digits}f} %" if "%" in form else f"{found:.{digits}f}"


def _rectangle(place: list[float], row: Mapping[str, Any], looks: _Looks, _: list[str]) -> str:
    x0, y0, x1, y1 = place
    box = f'x="{x0:.1f}" y="{y1:.1f}" width="{x1 - x0:.1f}" height="{y0 - y1:.1f}"'
    if "picture" in row:
        uri = str(row["picture"])
        # Small pictures are kept losslessly, so that their pixels stay square.
        sharp = uri.startswith("data:image/png") or uri.endswith(".png")
        looks_so = ' style="image-rendering:pixelated"' if sharp else ""
        return f'<image {box} href="{escape(uri)}"{looks_so}/>'
    return f"<rect {box} {looks.filled}/>"


def _point(place: list[float], _row: Mapping[str, Any], looks: _Looks, _: list[str]) -> str:
    return (
        f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{looks.size / 2:.1f}" {looks.filled}/>'
    )


def _dots(one: hv.Points, frame: _Frame, looks: _Looks) -> str:
    """Circles of one colour that say nothing, as one line of points: a matrix has thousands."""
    x, y = frame.at(one.dimension_values(0), one.dimension_values(1))
    pairs = zip(x.tolist(), y.tolist(), strict=True)
    places = "".join(f"M{left:.1f} {top:.1f}h0" for left, top in pairs)
    # A circle has a line of one pixel around it.
    return (
        f'<path d="{places}" stroke="{_shade(looks.of["color"])}" '
        f'stroke-width="{looks.size + 1:g}" stroke-linecap="round"/>'
    )


def _label(place: list[float], row: Mapping[str, Any], looks: _Looks, names: list[str]) -> str:
    x, y = place
    return _text(
        (x, y + looks.baseline),
        str(row[names[2]]),
        looks.ink,
        looks.font,
        anchor=looks.anchor,
        more=looks.weight,
    )


@dataclass(frozen=True)
class _Kind:
    """How the rows of an element are drawn."""

    shape: Callable[[list[float], Mapping[str, Any], _Looks, list[str]], str]
    places: int = 1
    """pairs of coordinates that a row has."""

    def ends(self, names: list[str]) -> list[tuple[str, str]]:
        return [(names[2 * i], names[2 * i + 1]) for i in range(self.places)]


_DRAWN: Mapping[type[hv.Element], _Kind] = {
    hv.Rectangles: _Kind(_rectangle, 2),
    hv.Points: _Kind(_point),
    hv.Labels: _Kind(_label),
}


def _outline(one: hv.Element, at: tuple[Any, Any], looks: _Looks) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(*at, strict=True))
    if isinstance(one, hv.Polygons):
        return f'<polygon points="{points}" {looks.filled}/>'
    return f'<polyline points="{points}" fill="none" {looks.lined}/>'


@dataclass(frozen=True)
class _Looks:
    """The options of an element's looks, with the values of one of its rows."""

    of: Mapping[str, Any]

    @property
    def filled(self) -> str:
        fill = self.of.get("fill_color", self.of.get("color", "none"))
        alpha = self.of.get("fill_alpha", self.of.get("alpha", 1))
        clear = f' fill-opacity="{alpha:g}"' if alpha < 1 else ""
        return f'fill="{_shade(fill)}"{clear} {self.lined}'

    @property
    def lined(self) -> str:
        colour = self.of.get("line_color", self.of.get("color", "none"))
        alpha, width = self.of.get("line_alpha", 1), self.of.get("line_width", 1)
        if colour is None or not alpha or not width:
            return ""
        dash = _DASHES.get(str(self.of.get("line_dash")), "")
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        clear = f' stroke-opacity="{alpha:g}"' if alpha < 1 else ""
        return f'stroke="{_shade(colour)}" stroke-width="{width:g}"{clear}{dashed}'

    @property
    def size(self) -> float:
        return float(self.of.get("size", 4))

    @property
    def ink(self) -> str:
        return str(self.of.get("text_color", "#1d2329"))

    @property
    def font(self) -> str:
        return str(self.of.get("text_font_size", "12px"))

    @property
    def baseline(self) -> float:
        """How far below a label's place its letters stand, in pixels."""
        share = _BASELINES.get(str(self.of.get("text_baseline", "middle")), 0.36)
        return share * float(self.font.removesuffix("px").removesuffix("pt"))

    @property
    def anchor(self) -> str:
        return _ANCHORS[str(self.of.get("text_align", "center"))]

    @property
    def weight(self) -> str:
        return ' font-weight="bold"' if self.of.get("text_font_style") == "bold" else ""


def _looks(style: Mapping[str, Any], row: Mapping[str, Any]) -> _Looks:
    """Looks with the values of the columns that they name."""
    of = {
        name: row[value] if isinstance(value, str) and value in row else value
        for name, value in style.items()
    }
    scale = style.get("cmap")
    if isinstance(scale, list | tuple) and isinstance(style.get("color"), str):
        value = row[style["color"]]
        of["color"] = scale[min(int(float(value) * len(scale)), len(scale) - 1)]
    return _Looks(of)


def _shade(colour: Any) -> str:
    """A colour as a page's style sheet can name it, to replace it on a dark page."""
    return "#ffffff" if colour == "white" else str(escape(colour)).lower()


def _options(one: Any, kind: str) -> dict[str, Any]:
    """The options that were set on an element or figure, without HoloViews' own."""
    return dict(hv.Store.lookup_options("bokeh", one, kind).kwargs)
