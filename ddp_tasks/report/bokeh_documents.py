"""Figures as the documents that BokehJS opens, written without Bokeh's models.

HoloViews makes about 75 Bokeh models of a figure, and Bokeh writes them with all their properties;
that takes a quarter of a second. This module writes only the models that a page shows, with the
data and looks of the same elements, in the time that copying the data takes. It refuses elements
and options that it cannot draw, and never leaves them out silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.document import Document
from bokeh.model import Model

from ddp_tasks.figures.thumbnails import draw_pictures
from ddp_tasks.report.bokeh_marks import (
    Json,
    Models,
    looks,
    mark,
    number,
    reference,
    source,
    written,
)

#: Options of a figure that change nothing here.
_SAID_ELSEWHERE = {"shared_axes", "default_tools", "fontscale", "active_tools"}
_KNOWN = _SAID_ELSEWHERE | {
    *("frame_width", "frame_height", "width", "height", "border", "title", "toolbar"),
    *("xlim", "ylim", "logx", "logy", "xaxis", "yaxis", "xlabel", "ylabel", "xticks", "yticks"),
    *("xrotation", "show_grid", "show_legend", "legend_position", "fontsize", "backend_opts"),
}
_KNOWN_OF_ELEMENT = {
    *("tools", "hover_tooltips", "clim", "colorbar", "colorbar_opts", "clabel", "default_tools"),
    *("show_legend", "hooks", "xlabel", "ylabel", "show_frame", "clipping_colors"),
}
#: Where a legend beside the frame stands.
_BESIDE = {"right": "right", "left": "left", "top": "above", "bottom": "below"}
_BORDER = 10


def document(figure: hv.Overlay, prefix: str) -> tuple[Json, str]:
    """A figure as a document of BokehJS.

    Parameters
    ----------
    prefix
        prefix of the ids of its models; no other document of the page may use it.

    Returns
    -------
    the document, ready for JSON, and the id of its root

    Raises
    ------
    TypeError
        If the figure has an element, a style or an option that is not drawn here.
    """
    root = _Figure(figure, Models(prefix)).root()
    return {**_empty_document(), "roots": [root]}, root["id"]


@cache
def _empty_document() -> Json:
    """A document of the installed Bokeh, without figures."""
    empty: Json = dict(Document().to_json(deferred=False))
    return empty


class _Figure:
    """One figure, element after element."""

    def __init__(self, figure: hv.Overlay, models: Models) -> None:
        self._figure, self._models = figure, models
        self._options = dict(hv.Store.lookup_options("bokeh", figure, "plot").kwargs)
        _refuse_unknown(self._options, _KNOWN, "a figure")
        self._renderers: list[Json] = []
        self._tools: list[Json] = []
        self._hovered: dict[str, list[Json]] = {}
        self._labelled: dict[str, list[Json]] = {}
        self._beside: dict[str, list[Json]] = {name: [] for name in _BESIDE.values()}
        self._beside["center"] = []
        # Looks by the part of the figure: {"axis": {"axis_line_color": ...}}.
        self._looks: dict[str, dict[str, Any]] = {}
        for path, value in self._options.get("backend_opts", {}).items():
            _, *parts, name = path.split(".")
            self._looks.setdefault(".".join(parts), {})[name] = value

    def root(self) -> Json:
        """The figure as a model, with all its parts."""
        for element in self._figure:
            self._add(element)
        self._add_axes()
        self._add_legend()
        options, models = self._options, self._models
        sizes = ("frame_width", "frame_height", "width", "height")
        (x0, x1), (y0, y1) = options["xlim"], options["ylim"]
        scale = {f"{a}_scale": models("LogScale") for a in "xy" if options.get(f"log{a}")}
        fonts = options.get("fontsize", {})
        toolbar = options.get("toolbar")
        return models(
            "Plot",
            # Without a size of its own, a figure is as large as its frame needs.
            **{name: options.get(name) for name in sizes},
            **{"min_border": options.get("border", _BORDER), **self._looks.get("", {})},
            x_range=models("Range1d", start=number(x0), end=number(x1)),
            y_range=models("Range1d", start=number(y0), end=number(y1)),
            **scale,
            title=models(
                "Title",
                text=options.get("title", "").strip(),
                **({"text_font_size": fonts["title"]} if "title" in fonts else {}),
                **self._looks.get("title", {}),
            ),
            renderers=self._renderers,
            toolbar=models("Toolbar", tools=self._tools, **self._looks.get("toolbar", {})),
            toolbar_location=toolbar,
            **self._beside,
        )

    def _add(self, element: hv.Element) -> None:
        options = hv.Store.lookup_options("bokeh", element, "plot").kwargs
        _refuse_unknown(options, _KNOWN_OF_ELEMENT, type(element).__name__)
        if isinstance(element, hv.VLine):
            self._add_line(element)
            return
        of, models = mark(element), self._models
        data = source(of.columns, models)
        style, mapper = looks(element, of, models)
        places = {
            name: {"type": "field", "field": place}
            if isinstance(place, str)
            else {"type": "value", "value": number(place)}
            for name, place in of.places.items()
        }
        # Bokeh takes one value for a whole line.
        if of.glyph == "Line":
            style = {name: one.get("value") for name, one in style.items()}
        extra: dict[str, Any] = {}
        lit = hv.Store.lookup_options("bokeh", element, "style").kwargs.get("hover_fill_alpha")
        if lit is not None:
            bright = style | {"fill_alpha": {"type": "value", "value": lit}}
            extra["hover_glyph"] = models(of.glyph, **places, **bright)
        if not element.label:
            extra["muted_glyph"] = None
        renderer = models(
            "GlyphRenderer",
            data_source=data,
            glyph=models(of.glyph, **places, **style),
            # Nothing is selected.
            selection_glyph=None,
            nonselection_glyph=None,
            **extra,
        )
        self._renderers.append(renderer)
        for hook in options.get("hooks", ()):
            self._renderers.append(self._pictures(hook, of.places, data))
        self._add_tools(options, renderer)
        if element.label and options.get("show_legend", True):
            self._labelled.setdefault(element.label, []).append(reference(renderer))
        if options.get("colorbar"):
            self._beside["right"].append(self._colour_bar(options, mapper))

    def _add_line(self, element: hv.VLine) -> None:
        style = dict(hv.Store.lookup_options("bokeh", element, "style").kwargs)
        _refuse_unknown(style, {"color", "alpha", "line_width", "line_dash"}, "VLine")
        of_line = {f"line_{name.removeprefix('line_')}": value for name, value in style.items()}
        place = number(element.data)
        self._renderers.append(
            self._models("Span", location=place, dimension="height", level="glyph", **of_line)
        )

    def _pictures(self, hook: Any, places: Mapping[str, Any], data: Json) -> Json:
        if hook is not draw_pictures:
            raise TypeError(f"hook {hook!r} is not drawn")
        corner = {"x": places["left"], "y": places["bottom"]}
        names = {"url": "picture", "w": "wide", "h": "high", **corner}
        fields = {key: {"type": "field", "field": name} for key, name in names.items()}
        glyph = self._models("ImageURL", anchor="bottom_left", **fields)
        return self._models(
            "GlyphRenderer",
            data_source=reference(data),
            glyph=glyph,
            selection_glyph=None,
            nonselection_glyph=None,
            muted_glyph=None,
        )

    def _add_tools(self, options: Mapping[str, Any], renderer: Json) -> None:
        for tool in chain(options.get("tools", ()), options.get("default_tools", ())):
            if isinstance(tool, Model):
                own = written(tool)
                own["attributes"]["renderers"] = [reference(renderer)]
                self._tools.append(own)
            elif tool in _TOOLS:
                self._tools.append(self._models(_TOOLS[tool]))
            elif tool != "hover":
                raise TypeError(f"tool {tool!r} is not drawn")
            else:
                self._hover(options["hover_tooltips"], renderer)

    def _hover(self, tooltips: Sequence[tuple[str, str]], renderer: Json) -> None:
        # Elements with equal tooltips share one tool; otherwise their boxes would overlap.
        pairs = [list(pair) for pair in tooltips]
        for tool in self._tools:
            if tool["name"] == "HoverTool" and tool["attributes"]["tooltips"] == pairs:
                tool["attributes"]["renderers"].append(reference(renderer))
                return
        self._tools.append(
            self._models("HoverTool", tooltips=pairs, renderers=[reference(renderer)])
        )

    def _colour_bar(self, options: Mapping[str, Any], mapper: Json | None) -> Json:
        if mapper is None:
            raise TypeError("a colour bar of an element without a colour scale is not drawn")
        looks_ = {name: _encoded(value) for name, value in options["colorbar_opts"].items()}
        return self._models(
            "ColorBar", color_mapper=reference(mapper), location=[0, 0], label_standoff=8, **looks_
        )

    def _add_axes(self) -> None:
        options = self._options
        first = next(iter(self._figure))
        own = hv.Store.lookup_options("bokeh", first, "plot").kwargs
        dims = first.dimensions()
        for at, (which, place) in enumerate((("x", "below"), ("y", "left"))):
            where: str | None = options.get(f"{which}axis", place)
            if where is None:
                continue
            label = options.get(f"{which}label", own.get(f"{which}label"))
            if label is None:
                label = dims[at].pprint_label
            axis = self._axis(which, label)
            self._beside[_BESIDE.get(where, where)].append(axis)
            if options.get("show_grid"):
                grid = self._looks.get("grid", {}) | self._looks.get(f"{which}grid", {})
                self._beside["center"].append(
                    self._models("Grid", dimension=at, axis=reference(axis), **grid)
                )

    def _axis(self, which: str, label: str) -> Json:
        options, models = self._options, self._models
        fonts = options.get("fontsize", {})
        properties: dict[str, Any] = {"axis_label": label, **self._looks.get("axis", {})}
        if "labels" in fonts:
            properties["axis_label_text_font_size"] = fonts["labels"]
        if "ticks" in fonts:
            properties["major_label_text_font_size"] = fonts["ticks"]
        if which == "x" and options.get("xrotation"):
            properties["major_label_orientation"] = float(np.deg2rad(options["xrotation"]))
        ticks = options.get(f"{which}ticks")
        if ticks is not None:
            places = [number(place) for place, _ in ticks]
            properties["ticker"] = models("FixedTicker", ticks=places, minor_ticks=[])
            named = [
                [place, self._text(text)] for place, (_, text) in zip(places, ticks, strict=True)
            ]
            properties["major_label_overrides"] = {"type": "map", "entries": named}
        return models("LogAxis" if options.get(f"log{which}") else "LinearAxis", **properties)

    def _text(self, text: str) -> Any:
        """A name at an axis as plain text: Bokeh reads dollar signs and backslashes as formulas."""
        return self._models("PlainText", text=text) if set(text) & {"$", "\\"} else text

    def _add_legend(self) -> None:
        options, models = self._options, self._models
        if not self._labelled or options.get("show_legend") is False:
            return
        items = [
            models("LegendItem", label={"type": "value", "value": label}, renderers=renderers)
            for label, renderers in self._labelled.items()
        ]
        position = options.get("legend_position", "top_right")
        fonts = options.get("fontsize", {})
        size = {"label_text_font_size": fonts["legend"]} if "legend" in fonts else {}
        place = _BESIDE.get(position, "center")
        self._beside[place].append(
            models(
                "Legend",
                items=items,
                click_policy="mute",
                location=position if place == "center" else [0, 0],
                orientation="horizontal" if place in ("above", "below") else "vertical",
                **size,
            )
        )


_TOOLS = {"box_zoom": "BoxZoomTool", "reset": "ResetTool"}


def _encoded(value: Any) -> Any:
    """An option's value, as Bokeh writes it if it is one of Bokeh's models."""
    return written(value) if isinstance(value, Model) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        entries = [[number(key), _plain(one)] for key, one in value.items()]
        return {"type": "map", "entries": entries}
    return number(value)


def _refuse_unknown(options: Mapping[str, Any], known: set[str], of: str) -> None:
    if unknown := sorted(set(options) - known):
        raise TypeError(f"options of {of} that are not drawn: {', '.join(unknown)}")
