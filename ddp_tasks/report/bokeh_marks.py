"""Elements of a figure in Bokeh's terms: a glyph, the columns of its data, and its looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.core.property.vectorization import Value
from bokeh.core.serialization import Serializer

#: Significant digits: enough for float32 and for tooltips.
_DIGITS = 7

Json = dict[str, Any]


class Models:
    """Writes the models of one document, each with an id of its own."""

    def __init__(self, prefix: str) -> None:
        self._ids = (f"{prefix}-{number}" for number in count(1))

    def __call__(self, name: str, **attributes: Any) -> Json:
        """One model: the name of its class, and attributes that differ from Bokeh's defaults."""
        return {"type": "object", "name": name, "id": next(self._ids), "attributes": attributes}


def reference(model: Json) -> Json:
    """A reference to a model that is written elsewhere in the document."""
    return {"id": model["id"]}


@dataclass(frozen=True)
class Mark:
    """An element as a glyph of Bokeh, without its looks."""

    glyph: str
    places: Mapping[str, Any]
    """properties of the glyph: the name of a column, or a number."""
    columns: Mapping[str, Any]
    """data by the names of the element's dimensions."""
    looks: tuple[str, ...]
    """kinds of looks that the glyph has: fill, line, text."""


def mark(element: hv.Element) -> Mark:
    """The glyph and data of an element.

    Raises
    ------
    TypeError
        If there is no glyph for elements of its type.
    """
    for kind, made in _MARKS.items():
        # A subclass may mean something else.
        if type(element) is kind:
            return made(element)
    raise TypeError(f"{type(element).__name__} has no glyph; known: {_named(_MARKS)}")


def looks(element: hv.Element, of: Mark, models: Models) -> tuple[Json, Json | None]:
    """Properties of the glyph that an element's style sets, and the colour mapper if there is one.

    Raises
    ------
    TypeError
        If the style sets a property that is not drawn.
    """
    style = dict(hv.Store.lookup_options("bokeh", element, "style").kwargs)
    for unused in ("muted_alpha", "radius_dimension", "hover_fill_alpha"):
        style.pop(unused, None)
    palette, mapper, properties = style.pop("cmap", None), None, {}
    if of.glyph == "Image":
        mapper = _mapper(element, palette, models)
        properties["color_mapper"] = mapper
    for shared in ("color", "alpha"):
        if shared in style:
            value = style.pop(shared)
            for kind in of.looks:
                style.setdefault(f"{kind}_{shared}", value)
    for name, value in style.items():
        if name.partition("_")[0] not in of.looks and name not in ("size", "marker", "angle"):
            raise TypeError(f"style {name!r} of {type(element).__name__} is not drawn")
        properties[name] = _spec(np.deg2rad(value) if name == "angle" else value, of)
        if name.endswith("_color") and _is_number(properties[name], of):
            transform = reference(mapper) if mapper else _mapper(element, palette, models)
            mapper = mapper or transform
            properties[name]["transform"] = transform
    return properties, mapper


def _is_number(looks_: Json, of: Mark) -> bool:
    """Whether a property is read from a column of numbers."""
    return looks_["type"] == "field" and np.asarray(of.columns[looks_["field"]]).dtype.kind in "iuf"


def _spec(value: Any, of: Mark) -> Json:
    """A property with one value, or with one for each row if it names a column."""
    if isinstance(value, Value):
        return {"type": "value", "value": value.value}
    if isinstance(value, str) and value in of.columns:
        return {"type": "field", "field": value}
    return {"type": "value", "value": number(value)}


def _mapper(element: hv.Element, palette: Sequence[str], models: Models) -> Json:
    """A colour scale; NaN is transparent if the element says so."""
    options = hv.Store.lookup_options("bokeh", element, "plot").kwargs
    low, high = options["clim"]
    clipping = options.get("clipping_colors", {})
    clear = {"nan_color": clipping["NaN"]} if "NaN" in clipping else {}
    return models(
        "LinearColorMapper", palette=list(palette), low=number(low), high=number(high), **clear
    )


def source(columns: Mapping[str, Any], models: Models) -> Json:
    """The data of a glyph."""
    entries = [[name, column(values)] for name, values in columns.items()]
    return models("ColumnDataSource", data={"type": "map", "entries": entries})


def column(values: Any) -> Any:
    """A column as a list of numbers or texts; matrices, and columns with NaN, as bytes."""
    if isinstance(values, list) and not any(isinstance(value, np.generic) for value in values):
        return [column(value) if isinstance(value, np.ndarray) else value for value in values]
    array = np.asarray(values)
    if array.dtype.kind in "OUSb":
        return array.tolist()
    if array.ndim > 1 or not np.isfinite(array).all():
        return written(array)
    if array.dtype.kind == "f":
        return [float(f"{value:.{_DIGITS}g}") for value in array.tolist()]
    return array.tolist()


def written(value: Any) -> Any:
    """An array, or a model of Bokeh's own, as Bokeh writes it."""
    return Serializer(deferred=False).encode(value)


def number(value: Any) -> Any:
    """A NumPy number as a Python number; anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def _table(element: hv.Element) -> dict[str, Any]:
    dims = element.dimensions()
    if element.interface.datatype == "dictionary":
        columns = {dim.name: element.data[dim.name] for dim in dims}
        if all(isinstance(values, np.ndarray) for values in columns.values()):
            return columns
    return {dim.name: element.dimension_values(dim) for dim in dims}


def _placed(
    glyph: str, properties: str, *kinds: str, whole: Mapping[str, Any] | None = None
) -> Callable[[hv.Element], Mark]:
    """Marks whose first dimensions are the named properties of the glyph."""

    def made(element: hv.Element) -> Mark:
        names = [dim.name for dim in element.dimensions()]
        places = dict(zip(properties.split(), names, strict=False))
        return Mark(glyph, {**places, **(whole or {})}, _table(element), kinds)

    return made


def _bars(element: hv.Histogram) -> Mark:
    edges, (height,) = np.asarray(element.edges), element.vdims
    columns = {"left": edges[:-1], "right": edges[1:], "top": element.dimension_values(height)}
    places = {"left": "left", "right": "right", "top": "top", "bottom": 0}
    return Mark("Quad", places, columns, ("fill", "line"))


def _lines(glyph: str, *kinds: str) -> Callable[[hv.Element], Mark]:
    """Marks of several lines, each a mapping with an array for x and one for y."""

    def made(element: hv.Element) -> Mark:
        x, y = (dim.name for dim in element.kdims)
        rows: list[Mapping[str, Any]] = element.data
        columns = {
            "xs": [np.asarray(row[x], dtype=np.float64) for row in rows],
            "ys": [np.asarray(row[y], dtype=np.float64) for row in rows],
            **{dim.name: [number(row[dim.name]) for row in rows] for dim in element.vdims},
        }
        return Mark(glyph, {"xs": "xs", "ys": "ys"}, columns, kinds)

    return made


def _image(element: hv.Image) -> Mark:
    (cells,) = element.vdims
    left, low, right, high = element.bounds.lbrt()
    places = {"x": left, "y": low, "dw": right - left, "dh": high - low, "image": cells.name}
    values = element.dimension_values(cells, flat=False)
    return Mark("Image", places, {cells.name: [values]}, ())


_MARKS: Mapping[type[hv.Element], Callable[[hv.Element], Mark]] = {
    hv.Rectangles: _placed("Quad", "left bottom right top", "fill", "line"),
    hv.Segments: _placed("Segment", "x0 y0 x1 y1", "line"),
    hv.Points: _placed("Scatter", "x y", "fill", "line"),
    hv.Scatter: _placed("Scatter", "x y", "fill", "line"),
    hv.Labels: _placed("Text", "x y text", "text"),
    hv.Curve: _placed("Line", "x y", "line"),
    hv.Histogram: _bars,
    hv.Path: _lines("MultiLine", "line"),
    hv.Polygons: _lines("Patches", "fill", "line"),
    hv.Image: _image,
}


def _named(kinds: Iterator[type] | Mapping[type, Any]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)
