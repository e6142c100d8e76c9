"""What tests ask of a page: that it loads nothing, and what a browser without a network shows."""

import base64
import json
import re
import zlib
from dataclasses import dataclass

from bokeh.document import Document


@dataclass(frozen=True)
class Opened:
    """A page as a browser shows it; lengths in pixels."""

    figures: list[int]
    """the lesser side of the greatest canvas in each element of class ``figure`` that is seen."""
    images: list[int]
    """natural width of each image that is seen."""
    width: int
    window: int
    errors: list


def without_data(page):
    """The page with the texts of its layers, without scripts and data URIs."""
    packed = re.findall(r'<script type="text/plain" data-text="[^"]*">([^<]*)<', page)
    page += "".join(zlib.decompress(base64.b64decode(text)).decode() for text in packed)
    page = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    return re.sub(r"data:image/[^\"]*", "", page)


def assert_nothing_is_loaded_from_elsewhere(page):
    for script in re.findall(r"<script[^>]*>", page):
        assert "src=" not in script
    own = without_data(page)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?!#|data:|\"|')[a-z/]", own)
    assert "<link" not in own
    assert "@import" not in own
    assert "http" not in own


def documents(page):
    """The figures of a page as Bokeh's own models, by part; Bokeh refuses what it does not know."""
    return {
        name: [Document.from_json(figure["document"]) for figure in figures]
        for name, figures in _unpacked(page, "data-figures").items()
        if "document" in figures[0]
    }


def drawings(page):
    """The drawings of a page that are SVG, by part."""
    return {
        name: [figure["svg"] for figure in figures]
        for name, figures in _unpacked(page, "data-figures").items()
        if "svg" in figures[0]
    }


def data_of(page):
    """What the script of a report draws of each layer, by part."""
    return _unpacked(page, "data-of")


def _unpacked(page, name):
    packed = re.findall(rf'<script type="text/plain" {name}="([^"]*)">([^<]*)<', page)
    return {of: json.loads(zlib.decompress(base64.b64decode(text)).decode()) for of, text in packed}


def until_drawn(tab):
    """Wait until all figures that are seen are drawn."""
    tab.evaluate("async () => { await queue; await draw(); }")
    tab.wait_for_function("() => !window.Bokeh || Bokeh.documents.every(d => d.is_idle)")


def opened(tab, page, folder, address=""):
    """Open a page from a file, unfold all that is seen, and wait until its figures are drawn."""
    file = folder / "report.html"
    file.write_text(page)
    tab.goto(f"{file.as_uri()}{address}")
    return unfolded(tab)


def unfolded(tab):
    """What the page shows once all of it that is not hidden is unfolded and drawn."""
    tab.evaluate(
        "for (const one of document.querySelectorAll('details'))"
        " if (!one.closest('[hidden]')) one.open = true"
    )
    until_drawn(tab)
    figures = tab.evaluate(
        """() => {
        const canvases = root => [...root.querySelectorAll("*")].flatMap(e =>
            [...(e.tagName === "CANVAS" ? [e] : []),
             ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
        return [...document.querySelectorAll(".figure")].filter(f => f.checkVisibility()).map(f =>
            Math.max(0, ...canvases(f).map(c => Math.min(c.clientWidth, c.clientHeight))));
        }"""
    )
    shown = "[...document.images].filter(i => i.checkVisibility()).map(i => i.naturalWidth)"
    width, window = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return Opened(figures, tab.evaluate(shown), width, window, list(tab.errors))
