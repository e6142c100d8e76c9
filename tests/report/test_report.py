import json
import re

import numpy as np
import pytest
from findings import findings, nested, nothing
from markupsafe import Markup, escape
from pages import (
    assert_nothing_is_loaded_from_elsewhere,
    drawn_figures,
    opened,
    without_data,
)
from selenium.webdriver.support.ui import WebDriverWait

from ddp_tasks.figures.thumbnails import Thumbnails
from ddp_tasks.report import fragments, layer_section, run_page
from ddp_tasks.report.fragments import Fragment, FragmentFiles
from ddp_tasks.report.provenance import made_of_page


@pytest.fixture(scope="module")
def found():
    return findings(np.concatenate([nested(), nothing(), nested()]))


@pytest.fixture(scope="module")
def page(found):
    return found.page()


def test_nothing_is_loaded_from_elsewhere(page):
    assert_nothing_is_loaded_from_elsewhere(page)


def test_the_page_says_what_was_found(page, found):
    own = re.sub(r"\s+", " ", without_data(page))
    for layer in found.summary.layers:
        assert f">{layer.layer}</h2>" in own
    assert "This page shows the positive direction of the signals alone" in own
    assert "BatchNorm2d is &lt;no&gt; linear layer" in own
    assert "v1*" in own
    assert "arbitrary" in own
    for term in ("Signal", "Threshold q", "Significant", "equivalence class", "η²"):
        assert term in own


def test_the_page_tells_how_classes_relate(page):
    own = re.sub(r"\s+", " ", without_data(page))
    assert own.count("How the classes relate") == 2
    assert "harmonic, s = 4" in own


def test_an_empty_hypergraph_is_told_in_a_sentence(page, found):
    (empty,) = [layer for layer in found.summary.layers if not layer.nodes]
    sentence = str(found.hypergraphs[empty.layer]["empty"].item())
    assert sentence.startswith("No singular vector exceeds q = ")
    assert "in at least 75 % of any class. The greatest share is " in sentence
    assert str(escape(sentence)) in page
    figures = layer_section.layer_figures(found.of_layer(empty.layer), Thumbnails(found.pictures))
    maps = {f"family {quantity}" for quantity in ("nodes", "equivalence_classes", "depth")}
    assert set(figures) == {"spectrum", "distribution", "vectors", *maps}


def test_a_page_put_together_from_files_has_all_their_sections(found, tmp_path):
    sections = {}
    for layer, anchor in fragments.anchors(found.summary).items():
        pictures = {"7": "data:seven", anchor: f"data:{anchor}"}
        part = Fragment(Markup(f"<p>of {layer} & ü\r\n</p>"), f"packed {anchor}", pictures)
        sections[layer] = FragmentFiles(tmp_path, anchor)
        sections[layer].write(part)
        read = sections[layer]
        assert (read.html, read.figures, read.pictures) == (part.html, part.figures, pictures)
    pieces = run_page.pieces(found.of_page(), sections)
    # What is in a file is read when the page comes to it.
    assert "<p>of" not in next(pieces)
    page = "".join(pieces)
    for layer, anchor in fragments.anchors(found.summary).items():
        assert page.index(f"<p>of {layer} & ü") < page.index(f">packed {anchor}</script>")
    table = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page)[1]
    # What several sections show is there once.
    assert table.count("seven") == 1
    of_anchors = {f"layer-{i}": f"data:layer-{i}" for i in range(3)}
    assert json.loads(table) == {"7": "data:seven", **of_anchors}


def test_a_run_without_any_significant_vector_has_a_page():
    page = findings(nothing()).page()
    assert "No singular vector is significant for any class" in page


def test_a_class_alone_is_not_compared_with_itself():
    alone = nothing()
    alone[0, 2, 1] = True
    made = findings(alone)
    figures = layer_section.layer_figures(made.of_layer("layer0"), Thumbnails(made.pictures))
    assert "jaccard" not in figures
    own = re.sub(r"\s+", " ", without_data(made.page()))
    name = escape(made.images.target_classes[2])
    assert f"{name} is the only class that has a significant singular vector" in own


def test_the_page_opens_without_a_network(browser, page, tmp_path):
    found_in_page = opened(browser, page, tmp_path)
    assert len(found_in_page.figures) == 2 * (7 + 3 + 3) + 2 + 3 + 1 + 1
    assert min(found_in_page.figures) > 30
    assert found_in_page.images
    assert min(found_in_page.images) > 0
    assert found_in_page.width <= found_in_page.window
    assert found_in_page.errors == []


@pytest.fixture
def closed(browser, page, tmp_path):
    """The page as it opens: all layers closed."""
    file = tmp_path / "report.html"
    file.write_text(page)
    browser.get(file.as_uri())
    assert drawn_figures(browser) == [0, 0, 0]
    return browser


def _until(browser, figures):
    """Wait until the layers have so many figures on the page."""
    WebDriverWait(browser, 30).until(lambda _: drawn_figures(browser) == figures)


@pytest.mark.parametrize("way", ["click", "link", "key", "address"])
def test_a_layer_opens_by_click_link_key_and_address(closed, way):
    summary = closed.find_element("css selector", "#layer-2 summary")
    link = closed.find_element("css selector", "#layers a[href='#layer-2']")
    if way == "click":
        summary.click()
    elif way == "key":
        summary.send_keys("\n")
    elif way == "link":
        link.click()
    else:
        closed.get(f"{closed.current_url}#layer-2")
    _until(closed, [0, 0, 13])
    # A layer that is closed again opens by the address that is there already.
    summary = closed.find_element("css selector", "#layer-2 summary")
    summary.click()
    assert not closed.execute_script("return layers[2].open")
    closed.find_element("css selector", "#layers a[href='#layer-2']").click()
    assert closed.execute_script("return layers[2].open")
    assert not [one for one in closed.get_log("browser") if one["level"] == "SEVERE"]


def test_all_layers_open_at_once_for_printing(closed):
    closed.find_element("id", "open-all").click()
    _until(closed, [13, 6, 13])
    assert closed.execute_script("return layers.every(one => one.open)")


def test_a_layer_that_is_opened_shows_its_pictures(closed):
    closed.find_element("css selector", "#layer-0 summary").click()
    _until(closed, [13, 0, 0])
    shown = closed.execute_script(
        """
        return Bokeh.documents.flatMap(d => d.roots()).flatMap(root => root.renderers)
            .filter(one => one.glyph?.type === "ImageURL")
            .flatMap(one => [...one.data_source.data.picture]);
        """
    )
    assert len(shown) > 20
    assert all(uri.startswith("data:image/png;base64,") for uri in shown)


def test_texts_of_closed_layers_are_in_the_page(page):
    # So that they are found by searching, and read without scripts.
    own = without_data(page)
    assert own.count("What the most telling singular vectors look like") == 3


def test_a_page_says_what_it_was_made_of(page, tmp_path):
    file = tmp_path / "report.html"
    assert made_of_page(file) is None
    file.write_text(page)
    assert made_of_page(file) == "0123abcd"
    file.write_text(page.replace("0123abcd", ""))
    assert made_of_page(file) == ""
    file.write_text(page.rstrip()[:-1])
    assert made_of_page(file) is None
    file.write_bytes(b"\xff" * 2000)
    assert made_of_page(file) is None
