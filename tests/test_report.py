import re
import shutil

import numpy as np
import pytest
from findings import findings, nested, nothing

from ddp_tasks import report

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1400,1000"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.fixture(scope="module")
def found():
    return findings(np.concatenate([nested(), nothing(), nested()]))


@pytest.fixture(scope="module")
def page(found):
    return report.render(found)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def _own(page):
    """The page without scripts and data URIs."""
    page = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    return re.sub(r"data:image/[^\"]*", "", page)


def test_nothing_is_loaded_from_elsewhere(page):
    for script in re.findall(r"<script[^>]*>", page):
        assert "src=" not in script
    own = _own(page)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?!#|data:|\"|')[a-z/]", own)
    assert "<link" not in own
    assert "@import" not in own
    assert "http" not in own


def test_the_page_says_what_was_found(page, found):
    own = re.sub(r"\s+", " ", _own(page))
    for layer in found.summary.layers:
        assert f">{layer.layer}</h2>" in own
    assert "direction of positive signals" in own
    assert "BatchNorm2d is &lt;no&gt; linear layer" in own
    assert "v1*" in own
    assert "arbitrary" in own
    for term in ("Signal", "Threshold q", "Significant", "equivalence class", "η²"):
        assert term in own


def test_an_empty_hypergraph_is_told_in_a_sentence(page, found):
    (empty,) = [layer for layer in found.summary.layers if not layer.nodes]
    sentence = report.empty_sentence(empty)
    assert sentence.startswith("No singular vector exceeds q = ")
    assert "in at least 75 % of any class; lower the quantile level" in sentence
    assert sentence in page
    figures = report.layer_figures(found, empty.layer, {})
    assert set(figures) == {"spectrum", "distribution"}


def test_a_run_without_any_significant_vector_has_a_page():
    page = report.render(findings(nothing()))
    assert "No singular vector is significant for any class" in page


def test_many_layers_get_sections_for_the_best(found, monkeypatch):
    monkeypatch.setattr(report, "_SECTIONS", 2)
    assert report.layers_shown(found) == {"layer0", "layer2"}
    own = re.sub(r"\s+", " ", _own(report.render(found)))
    assert "2 of 3 layers have a section below" in own
    assert ">layer1</h2>" not in own
    assert ">layer1<" in own


def test_the_page_opens_without_a_network(browser, page, found, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    browser.get(file.as_uri())
    drawn = 2 * 6 + 2
    browser.set_script_timeout(60)
    browser.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const wait = () => Bokeh.documents.length && Bokeh.documents.every(d => d.is_idle)
            ? done() : setTimeout(wait, 100);
        wait();
        """
    )
    sizes = browser.execute_script(
        """
        const canvases = root => [...root.querySelectorAll("*")].flatMap(e =>
            [...(e.tagName === "CANVAS" ? [e] : []),
             ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
        return [...document.querySelectorAll(".figure")].map(f =>
            Math.max(0, ...canvases(f).map(c => Math.min(c.clientWidth, c.clientHeight))));
        """
    )
    assert len(sizes) == drawn
    assert min(sizes) > 30
    images = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert images
    assert min(images) > 0
    wide, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= window
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
