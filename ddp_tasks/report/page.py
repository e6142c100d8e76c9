"""Pages that need no other file: templates filled in, figures and scripts inlined."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import holoviews as hv
import jinja2
from bokeh.resources import Resources
from markupsafe import Markup

from ddp_tasks.figures.notation import short
from ddp_tasks.figures.svg import svg
from ddp_tasks.report.bokeh_documents import document
from ddp_tasks.report.fragments import Fragment, Part

#: Letters that the pictures of a page take at most.
_PICTURES = 2_000_000
#: Bytes of a page up to which it has drawings of one direction; only scripts come after them.
_WITH_DRAWINGS = 7_850_000
#: Name of the page itself, beside its parts.
_PAGE = "page"


def fragment(
    template: str,
    name: str,
    plots: Mapping[str, hv.Overlay],
    pictures: Mapping[str, str],
    data: str = "",
    *,
    drawings: Mapping[str, Mapping[str, tuple[hv.Overlay, str]]] | None = None,
    **context: Any,
) -> Fragment:
    """A part of a page.

    Parameters
    ----------
    template
        file name within this package.
    name
        name of the part; each part of the page has its own.
    plots
        figures of the part; the template finds their elements as ``figure``, by the same keys.
    pictures
        as in ``Part``; read after the figures are written.
    data
        JSON for the page's script.
    drawings
        figures of one direction with their labels, by direction and key; the template finds their
        elements as ``drawn``.
    context
        what else the template uses.
    """
    packed, figure = _packed(plots, name)
    of_direction, drawn = _packed_drawings(drawings or {}, name)
    html = (
        _templates()
        .get_template(template)
        .render(figure=figure, drawn=drawn, short=short, **context)
    )
    return Fragment(Markup(html), packed, pictures, _deflated(data) if data else "", of_direction)


def rendered(template: str, plots: Mapping[str, hv.Overlay], **context: Any) -> str:
    """A page as one text; see ``pieces``."""
    return "".join(pieces(template, plots, {}, **context))


def pieces(
    template: str,
    plots: Mapping[str, hv.Overlay],
    parts: Mapping[str, Part],
    first: Sequence[str] = (),
    **context: Any,
) -> Iterator[str]:
    """A page whose template extends ``base.html.jinja``, piece by piece.

    Parameters
    ----------
    parts
        parts of the page by name, which the template includes; each is in memory only while it
        is written.
    first
        parts whose drawings of one direction take what room there is before those of others.
    template, plots, context
        as in ``fragment``.
    """
    packed, figure = _packed(plots, _PAGE)
    written = _Written()
    page = (
        _templates()
        .get_template(template)
        .generate(
            bokeh=_bokeh(),
            packed=_all_packed(packed, parts),
            texts=((name, Markup(_deflated(part.html))) for name, part in parts.items()),
            data=((name, Markup(part.data)) for name, part in parts.items() if part.data),
            pictures=_all_pictures(parts),
            drawings=_with_room(parts, [*first, *parts], written),
            figure=figure,
            short=short,
            **context,
        )
    )
    return written.counting(page)


@cache
def _bokeh() -> Markup:
    """BokehJS, packed: the page unpacks it with its first figure."""
    # Only js_raw: the rest would name scripts of Panel too, once Panel is imported.
    scripts = Resources(mode="inline", components=["bokeh"]).js_raw
    return Markup(_deflated("\n".join(scripts)))


def _deflated(text: str) -> str:
    """A text as base64 of its deflated bytes."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("ddp_tasks.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _packed(plots: Mapping[str, hv.Overlay], name: str) -> tuple[str, dict[str, Markup]]:
    """Figures as base64 of deflated JSON, and the elements that they go into, by their keys."""
    if not plots:
        return "", {}
    packed, places = [], {}
    for number, (key, plot) in enumerate(plots.items()):
        drawn, root = document(plot, f"{name}-{number}")
        place = f"figure-{name}-{number}"
        packed.append({"document": drawn, "root": root, "place": place})
        places[key] = Markup(f'<div id="{place}" class="plot" data-part="{name}"></div>')
    text = json.dumps(packed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _deflated(text), places


def _packed_drawings(
    drawings: Mapping[str, Mapping[str, tuple[hv.Overlay, str]]], name: str
) -> tuple[dict[str, str], dict[str, dict[str, Markup]]]:
    """Drawings as base64 of deflated JSON by direction, and the elements that they go into."""
    packed: dict[str, str] = {}
    places: dict[str, dict[str, Markup]] = {}
    for direction, of_direction in drawings.items():
        kept, places[direction] = [], {}
        for key, (drawing, label) in of_direction.items():
            place = f"figure-{name}-{direction}-{key}"
            kept.append({"place": place, "svg": svg(drawing, label), "label": label})
            element = f'<div id="{place}" class="plot" data-part="{name}-{direction}"></div>'
            places[direction][key] = Markup(element)
        packed[direction] = _deflated(json.dumps(kept, separators=(",", ":"), ensure_ascii=False))
    return packed, places


class _Written:
    """How many bytes of a page are written."""

    def __init__(self) -> None:
        self.bytes = 0

    def counting(self, page: Iterator[str]) -> Iterator[str]:
        for piece in page:
            self.bytes += len(piece.encode())
            yield piece


def _with_room(
    parts: Mapping[str, Part], order: Sequence[str], written: _Written
) -> Iterator[tuple[str, Markup]]:
    """Drawings of one direction, part by part, while the page has room for all of a part's."""
    for name in dict.fromkeys(order):
        of_part = parts[name].drawings
        if written.bytes + sum(map(len, of_part.values())) <= _WITH_DRAWINGS:
            for direction, packed in of_part.items():
                yield f"{name}-{direction}", Markup(packed)


def _all_packed(own: str, parts: Mapping[str, Part]) -> Iterator[tuple[str, Markup]]:
    """Packed figures of the page and of its parts, by name."""
    if own:
        yield _PAGE, Markup(own)
    for name, part in parts.items():
        yield name, Markup(part.figures)


def _all_pictures(parts: Mapping[str, Part]) -> Iterator[Markup]:
    """The pictures of all parts as the pieces of one JSON object, each picture once.

    Past the page's budget those that fewest parts show are left out.
    """
    shown_by: Counter[str] = Counter()
    size: dict[str, int] = {}
    # Read twice, so that the pictures of one part at a time are in memory.
    for part in parts.values():
        own = part.pictures
        shown_by.update(own.keys())
        size |= {number: len(uri) for number, uri in own.items()}
    left = {number for number, total in _running(shown_by, size) if total <= _PICTURES}
    begun = False
    for part in parts.values():
        for number, uri in part.pictures.items():
            if number in left:
                left.discard(number)
                comma = "," if begun else ""
                begun = True
                yield Markup(f"{comma}{json.dumps(number)}:{json.dumps(uri)}")


def _running(shown_by: Counter[str], size: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Pictures, those that most parts show first, and how much they take with all before them."""
    total = 0
    for number, _ in shown_by.most_common():
        total += size[number]
        yield number, total
