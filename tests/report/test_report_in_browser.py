"""The report of a finished run as people open it: without a network, by mouse, keys and address."""

import re
from urllib.parse import quote

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import unfolded, until_drawn

from ddp_tasks.queries import open_run
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import groups
from schemas.run_files import recorded_run

LAYER = "fc1"


@pytest.fixture(scope="module")
def store(finished):
    return finished.store


@pytest.fixture(scope="module")
def run(store):
    return recorded_run(groups.root_attributes(store)["run_parameters"], source="store")


@pytest.fixture(scope="module")
def table(run, store):
    levels = run.significance.levels(LAYER)
    significance = groups.read(store, "significance").sel(layer=LAYER)
    return LayerTable.of(significance, *levels, run.significance.directions)


@pytest.fixture
def report(finished, browser):
    """The report at an address: a function of what stands after the #."""

    def at(address=""):
        before = f"{finished.report.as_uri()}"
        browser.goto(before + address)
        browser.wait_for_function("() => typeof queue !== 'undefined'")
        browser.wait_for_function("() => document.querySelector('h1') !== null")
        until_drawn(browser)
        return browser

    return at


def _seen(tab, css):
    return tab.locator(f"{css}:visible")


def test_the_first_screen_says_what_was_learned_without_scrolling(report):
    tab = report()
    box = tab.locator(".findings li").last.bounding_box()
    assert box["y"] + box["height"] <= 900
    assert tab.locator(".findings li").count() >= 1
    assert tab.locator(".conclusion").inner_text().startswith("In short.")
    # Nothing that draws is loaded before a figure is seen.
    assert tab.evaluate("typeof Bokeh") == "undefined"
    assert tab.errors == []


def test_every_figure_of_every_layer_is_drawn(report, store):
    tab = report()
    layers = groups.read(store, "layers")["layer"].to_numpy()
    for name in [*layers, ""]:
        tab = report(f"#{quote(str(name))}")
        assert tab.locator("details.block[open]:visible").count() <= 3
        shown = unfolded(tab)
        assert len(shown.figures) >= (1 if not name else 4)
        assert min(shown.figures) > 30
        assert shown.width <= shown.window
        named = tab.locator(".plot:visible").evaluate_all(
            "all => all.map(one => [one.getAttribute('role'), one.getAttribute('aria-label')])"
        )
        assert all(role == "img" and label for role, label in named)
    assert tab.errors == []


def test_numbers_on_screen_are_those_of_the_store(report, run, store, table):
    summary = read_summary(run, store)
    tab = report()
    rows = tab.locator("#index tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    for row, layer in zip(rows, summary.layers, strict=True):
        assert row[0] == layer.layer
        assert row[3:8] == [
            str(n)
            for n in (
                *(layer.rank, layer.nodes, layer.hyperedges, layer.equivalence_classes),
                layer.depth,
            )
        ]
    assert (
        f"{summary.accuracy:.1%} of {summary.images} images" in tab.locator(".facts").inner_text()
    )
    vector = int(table.most_discriminating()[0]) // len(table.directions)
    tab = report(f"#{LAYER}/v{vector}")
    shares = _seen(tab, "#subject .shares").evaluate_all(
        "all => all.map(one => Object.fromEntries([...one.tBodies[0].rows].map(row =>"
        " [row.cells[0].textContent, Number(row.cells[1].dataset.share)])))"
    )
    for place, of_side in enumerate(shares):
        node = vector * len(table.directions) + place
        for c, name in enumerate(table.target_classes):
            assert of_side[name] == pytest.approx(float(table.fraction[c, node]))


def test_a_layer_a_vector_and_a_class_are_found_by_searching(report, table):
    tab = report()
    vector = int(table.most_discriminating()[0]) // len(table.directions)
    for text, hit, address in (
        (LAYER, LAYER, f"#{LAYER}"),
        (f"{LAYER} v{vector}", f"{LAYER} v{vector}", f"#{LAYER}/v{vector}"),
        ("left", "left", "#class/left"),
    ):
        tab.locator("#search").fill(text)
        tab.locator("#found li").first.wait_for()
        assert tab.locator("#found li b").first.inner_text() == hit
        tab.keyboard.press("Enter")
        tab.wait_for_function(f"() => location.hash === {address!r}")
        _seen(tab, "h1").first.wait_for()
    assert "left" in tab.locator("#subject h1").inner_text()
    tab.go_back()
    tab.wait_for_function("() => document.querySelector('#subject h1').textContent.includes(' v')")
    assert tab.errors == []


def test_an_address_opens_what_it_names_and_a_wrong_one_says_so(report):
    tab = report(f"#{LAYER}")
    assert _seen(tab, "h1").inner_text() == LAYER
    assert tab.title().startswith(LAYER)
    tab = report("#controls")
    assert tab.locator("#controls").get_attribute("open") is not None
    tab = report("#no such layer/v3")
    assert "no layer, vector or class at the address" in tab.locator("#subject").inner_text()
    tab.locator(".crumbs a:visible").first.click()
    tab.locator("#overview").wait_for()


def test_tables_are_sorted_and_filtered_by_the_keyboard(report):
    tab = report()
    column = "rows => rows.map(row => Number(row.cells[3].textContent))"
    button = tab.locator("#index th button", has_text="rank")
    button.focus()
    tab.keyboard.press("Enter")
    ranks = tab.locator("#index tbody tr").evaluate_all(column)
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) > 1
    tab.keyboard.press("Enter")
    assert tab.locator("#index tbody tr").evaluate_all(column) == sorted(ranks)
    tab.locator("input[data-filters=index]").fill("conv2d")
    names = _seen(tab, "#index tbody tr").evaluate_all(
        "rows => rows.map(r => r.cells[0].innerText)"
    )
    assert sorted(names) == ["conv1", "conv2"]


def test_the_switch_leaves_one_direction(report, table):
    tab = report(f"#{LAYER}")
    names = "rows => rows.map(row => row.cells[0].textContent)"
    shown = {}
    for direction in ("both", "positive", "negative"):
        tab.locator(f"input[name=direction][value={direction}]").check()
        tab.wait_for_timeout(50)
        said = tab.locator(f"[data-name={LAYER}] [data-one-direction]").is_visible()
        assert said == (direction != "both")
        shown[direction] = tab.locator(f"[data-name={LAYER}] .listed tbody tr").evaluate_all(names)
    significant = table.significant.any(axis=0)
    for place, (direction, mark) in enumerate((("positive", "⁺"), ("negative", "⁻"))):
        expected = {f"v{v}{mark}" for v in np.flatnonzero(significant[place::2])}
        assert {name.rstrip("*") for name in shown[direction]} == expected
    assert set(shown["both"]) == set(shown["positive"]) | set(shown["negative"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_switch_draws_the_diagrams_of_one_direction(report, browser, run, store, theme):
    browser.emulate_media(color_scheme=theme)
    tab = report(f"#{LAYER}")
    stored = groups.read(store, f"hierarchies/{LAYER}")
    circles = "all => all.map(one => one.textContent)"
    section = f"[data-name={LAYER}]"
    for direction, mark in (("positive", "⁺"), ("negative", "⁻")):
        tab.locator(f"input[name=direction][value={direction}]").check()
        tab.wait_for_function(
            "css => [...document.querySelectorAll(css)].some(one => one.checkVisibility())",
            arg=f"{section} [data-direction={direction}] svg",
        )
        assert not tab.locator(f"{section} [data-direction=both]").is_visible()
        hypergraph, hierarchy = tab.locator(f"{section} [data-direction={direction}] .plot").all()
        nodes = stored["singular_vectors"].sel(direction=direction).any("equivalence_class")
        expected = {f"v{v}{mark}" for v in np.flatnonzero(nodes.to_numpy())}
        drawn = hypergraph.locator("svg g[pointer-events] text").evaluate_all(circles)
        names = {text.partition(":")[0].rstrip("*") for text in drawn if ":" in text}
        # Each circle has the name of its first vector.
        assert names <= expected
        titles = hierarchy.locator("text[font-weight=bold]").evaluate_all(circles)
        assert {title.strip("[]*") for title in titles} == names
        pictures = hierarchy.locator("image").evaluate_all(
            "all => all.map(one => one.getAttribute('href').slice(0, 11))"
        )
        assert set(pictures) == {"data:image/"}
        white = hierarchy.locator('rect[fill="#ffffff"]').count()
        assert (white > 0) == (theme == "light")
    tab.locator("#theme").click()
    until_drawn(tab)
    assert (hierarchy.locator('rect[fill="#ffffff"]').count() > 0) == (theme == "dark")
    tab.locator("input[name=direction][value=both]").check()
    until_drawn(tab)
    assert tab.locator(f"{section} [data-direction=both] .plot > *").count() >= 2
    assert tab.errors == []


def test_a_page_without_room_says_that_drawings_of_one_direction_are_left_out(
    finished, browser, tmp_path
):
    whole = finished.report.read_text()
    drawings = (
        r'<script type="text/plain" data-figures="layer-\d+-(positive|negative)">[^<]*</script>'
    )
    assert re.search(drawings, whole)
    page = tmp_path / "report.html"
    page.write_text(re.sub(drawings, "", whole))
    browser.goto(f"{page.as_uri()}#{LAYER}")
    browser.locator("input[name=direction][value=negative]").check()
    said = browser.locator(f"[data-name={LAYER}] [data-no-room]")
    said.wait_for()
    assert "ddp explore" in said.inner_text()
    browser.locator("input[name=direction][value=both]").check()
    said.wait_for(state="hidden")
    assert browser.errors == []


def test_what_tells_two_classes_apart_has_the_differences_of_their_shares(report, table):
    tab = report("#class/left/right")
    cells = tab.locator("#subject tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent, row.cells[1].textContent,"
        " Number(row.cells[2].dataset.value), Number(row.cells[3].dataset.value),"
        " Number(row.cells[4].dataset.value)])"
    )
    of_layer = [row for row in cells if row[0] == LAYER]
    assert of_layer
    for _, name, left, right, difference in of_layer:
        vector, place = int(name.strip("v⁺⁻*")), "⁺⁻".index(name.rstrip("*")[-1])
        own = table.fraction[:, 2 * vector + place]
        assert (left, right) == pytest.approx((float(own[0]), float(own[1])))
        assert difference == pytest.approx(left - right)


def test_what_tells_two_classes_apart_for_certain_is_what_the_command_says(report, finished):
    tab = report("#class/left/right")
    rows = tab.locator("#subject tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent, row.cells[1].textContent,"
        " row.cells[5].textContent])"
    )
    shown = {(layer, name.rstrip("*")): interval for layer, name, interval in rows}
    compared = open_run(finished.report.parent).distinguishing("left", "right", direction="both")
    signs, seen = {"positive": "⁺", "negative": "⁻"}, 0
    for one in compared.itertuples():
        name = f"v{one.singular_vector}{signs[one.direction]}"
        if (interval := shown.get((one.layer, name))) is not None:
            ends = [int(end.replace("−", "-").replace("+", "")) for end in interval.split(" to ")]
            assert ends == pytest.approx([100 * one.low, 100 * one.high], abs=0.51)
            seen += 1
    assert seen == len(shown) > 1
    sure = ((compared["low"] > 0) | (compared["high"] < 0)).any()
    assert ("none tells them apart" in tab.locator("#subject").inner_text()) == (not sure)


def test_dark_figures_are_drawn_again_and_nothing_is_lost(report):
    tab = report(f"#{LAYER}")
    before = tab.locator(".plot:visible > *").count()
    tab.locator("#theme").click()
    until_drawn(tab)
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.locator(".plot:visible > *").count() == before > 1
    assert tab.errors == []


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(report, browser, table, width, theme):
    browser.set_viewport_size({"width": width, "height": 900})
    browser.emulate_media(color_scheme=theme)
    vector = int(table.most_discriminating()[0]) // len(table.directions)
    for address in ("", f"#{LAYER}", f"#{LAYER}/v{vector}", "#class/left", "#class/left/right"):
        tab = report(address)
        shown = unfolded(tab)
        assert shown.width <= width, address
        found = Axe().run(tab).response["violations"]
        told = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found]
        assert told == [], address


_CIRCLES = """(css) => {
  const place = [...document.querySelectorAll(`${css} .plot`)].find((one) => one.checkVisibility());
  const root = Bokeh.documents.flatMap((one) => one.roots()).find((one) =>
    one.renderers.some((of) => of.data_source.data.label));
  const view = Bokeh.index.find_one(root);
  const { left, top, width } = place.getBoundingClientRect();
  const nodes = root.renderers.filter((one) => one.data_source.data.label).flatMap((one) => {
    const { hull_x: x, hull_y: y, vectors } = one.data_source.data;
    return vectors.map((name, i) =>
      [name, left + view.frame.x_scale.compute(x[i]), top + view.frame.y_scale.compute(y[i])]);
  });
  const hulls = root.renderers.flatMap((one) =>
    one.data_source.data.target_class ? one.data_source.data.vectors : []);
  const own = figures.get(place.id).document.roots[0].attributes.frame_width;
  return { nodes, hulls, width, own };
}"""
_POINTED = """() => [...document.querySelectorAll(".bk-Tooltip")]
  .filter((one) => one.checkVisibility())
  .flatMap((one) => [...one.shadowRoot.querySelectorAll(".bk-tooltip-row-value")])
  .map((one) => one.textContent.trim())"""


def test_a_drawing_that_is_made_smaller_says_what_is_pointed_at(report, browser):
    browser.set_viewport_size({"width": 280, "height": 900})
    tab = report(f"#{LAYER}")
    drawn = tab.evaluate(_CIRCLES, f"[data-name={LAYER}]")
    assert drawn["width"] < drawn["own"]
    seen = [one for one in drawn["nodes"] if one[1] < 250]
    assert len(seen) >= 2
    for name, x, y in seen:
        tab.mouse.move(x, y)
        tab.wait_for_function(f"(name) => ({_POINTED})().includes(name)", arg=name)
        others = {other for other, *_ in drawn["nodes"]} - {name} - set(drawn["hulls"])
        assert not others & set(tab.evaluate(_POINTED))


def test_a_layer_takes_two_sheets_of_paper_at_most(report, store):
    for name in groups.read(store, "layers")["layer"].to_numpy():
        tab = report(f"#{quote(str(name))}")
        printed = tab.pdf(format="A4", prefer_css_page_size=True)
        assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 2
