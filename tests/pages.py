"""What tests ask of a page: that it loads nothing, and what a browser without a network shows."""

import base64
import json
import re
import zlib
from dataclasses import dataclass

from bokeh.document import Document
from selenium.webdriver.support.ui import WebDriverWait


@dataclass(frozen=True)
class Opened:
    """A page as a browser shows it; lengths in pixels."""

    figures: list[int]
    """the lesser side of the greatest canvas in each element of class ``figure``."""
    images: list[int]
    """natural width of each image."""
    width: int
    window: int
    errors: list


def without_data(page):
    """The page without scripts and data URIs."""
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
    packed = re.findall(r'<script type="text/plain" data-figures="([^"]*)">([^<]*)<', page)
    texts = {name: zlib.decompress(base64.b64decode(text)).decode() for name, text in packed}
    return {
        name: [Document.from_json(figure["document"]) for figure in json.loads(text)]
        for name, text in texts.items()
    }


def until_drawn(browser):
    """Wait until all figures of what is open are drawn."""
    browser.set_script_timeout(60)
    browser.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const wait = () => Bokeh.documents.length && Bokeh.documents.every(d => d.is_idle)
            ? done() : setTimeout(wait, 50);
        Promise.all(drawing.values()).then(wait);
        """
    )


def drawn_figures(browser):
    """How many figures of each layer are on the page."""
    return browser.execute_script(
        """
        return layers.map(one => [...one.querySelectorAll(".figure > div")]
            .filter(place => place.firstElementChild).length);
        """
    )


def opened(browser, page, folder):
    """Open a page from a file with all its layers, and wait until its figures are drawn."""
    file = folder / "report.html"
    file.write_text(page)
    browser.get(file.as_uri())
    # A busy machine may not have run the page's scripts yet.
    ready = "return document.readyState === 'complete' && typeof layers !== 'undefined'"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready))
    browser.execute_script("for (const layer of layers) opened(layer)")
    until_drawn(browser)
    figures = browser.execute_script(
        """
        const canvases = root => [...root.querySelectorAll("*")].flatMap(e =>
            [...(e.tagName === "CANVAS" ? [e] : []),
             ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
        return [...document.querySelectorAll(".figure")].map(f =>
            Math.max(0, ...canvases(f).map(c => Math.min(c.clientWidth, c.clientHeight))));
        """
    )
    images = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    width, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return Opened(figures, images, width, window, errors)
