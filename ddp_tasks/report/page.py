"""Pages that need no other file: templates filled in, figures and scripts inlined."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import holoviews as hv
import jinja2
from bokeh.resources import Resources
from markupsafe import Markup

from ddp_tasks.figures.notation import short
from ddp_tasks.report.bokeh_documents import document
from ddp_tasks.report.fragments import Fragment, Part

#: Letters that the pictures of a page take at most.
_PICTURES = 2_000_000
#: Name of the page itself, beside its parts.
_PAGE = "page"


def fragment(
    template: str,
    name: str,
    plots: Mapping[str, hv.Overlay],
    pictures: Mapping[str, str],
    data: str = "",
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
    context
        what else the template uses.
    """
    packed, figure = _packed(plots, name)
    html = _templates().get_template(template).render(figure=figure, short=short, **context)
    return Fragment(Markup(html), packed, pictures, _deflated(data) if data else "")


def rendered(template: str, plots: Mapping[str, hv.Overlay], **context: Any) -> str:
    """A page as one text; see ``pieces``."""
    return "".join(pieces(template, plots, {}, **context))


def pieces(
    template: str, plots: Mapping[str, hv.Overlay], parts: Mapping[str, Part], **context: Any
) -> Iterator[str]:
    """A page whose template extends ``base.html.jinja``, piece by piece.

    Parameters
    ----------
    parts
        parts of the page by name, which the template includes; each is in memory only while it
        is written.
    template, plots, context
        as in ``fragment``.
    """
    packed, figure = _packed(plots, _PAGE)
    return (
        _templates()
        .get_template(template)
        .generate(
            bokeh=_bokeh(),
            packed=_all_packed(packed, parts),
            texts=((name, Markup(_deflated(part.html))) for name, part in parts.items()),
            data=((name, Markup(part.data)) for name, part in parts.items() if part.data),
            pictures=_all_pictures(parts),
            figure=figure,
            short=short,
            **context,
        )
    )


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
