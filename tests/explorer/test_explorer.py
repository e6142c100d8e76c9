"""The explorer as people use it: the command, its address, and the page in a browser."""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from ddp_processes import DDP
from runs import HERE

from ddp_tasks.explorer.opened_runs import open_runs
from ddp_tasks.explorer.page import Page
from ddp_tasks.explorer.slices import Slices
from ddp_tasks.hypergraphs.sizes import sizes
from ddp_tasks.queries.findings import read_findings
from ddp_tasks.queries.significance import open_significance

LAYER, IMAGE = "conv1", "07"


def _files(folder):
    """Every file of a folder: when it was written, and what it holds."""
    return {
        file: (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@contextmanager
def _started(*arguments):
    """The command in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [DDP, "explore", *map(str, arguments)],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def folder(finished):
    return finished.report.parent


@pytest.fixture(scope="module")
def before(folder):
    return _files(folder)


@pytest.fixture(scope="module")
def explored(folder, before):
    """The explorer of the tiny run beside itself: its process, and its address."""
    with _started(folder, folder, "--trust") as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address)
        yield process, address


@pytest.fixture(scope="module")
def errors():
    """What the browser complained of, in all tests of this file."""
    return []


@pytest.fixture
def page(chromium, explored, errors):
    opened = chromium.new_page(viewport={"width": 1440, "height": 900})
    _watch(opened, errors)
    yield opened
    opened.close()


def _watch(opened, errors):
    opened.on(
        "console", lambda said: said.type in ("error", "warning") and errors.append(said.text)
    )
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "requestfailed",
        # Pictures of a page that is left are no longer waited for.
        lambda request: (
            "ERR_ABORTED" in request.failure or errors.append(f"{request.url}: {request.failure}")
        ),
    )
    opened.on(
        "request",
        lambda request: (
            urlsplit(request.url).hostname in ("127.0.0.1", None)
            or errors.append(f"{request.url} is elsewhere")
        ),
    )


def _goto(page, explored, query):
    page.goto(f"{explored[1]}?{query}")
    page.locator("main h2").first.wait_for()


def _until_answered(page):
    page.wait_for_function(
        """() => {
            const within = (root) => root.querySelector(".app") ??
                [...root.querySelectorAll("*")].map(e => e.shadowRoot && within(e.shadowRoot))
                    .find(Boolean);
            return !within(document).hasAttribute("aria-busy");
        }"""
    )


def _set(page, name, value):
    """Move a slider, as a person does with the keyboard."""
    page.locator(f"input[type=range][name={name}]").evaluate(
        """(slider, value) => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        str(value),
    )
    _until_answered(page)


def _numbers(page):
    found = page.locator("[data-number]")
    return {
        found.nth(i).get_attribute("data-number"): int(found.nth(i).inner_text())
        for i in range(found.count())
    }


def _expected(table):
    counted = sizes(table.significant)
    return {
        "nodes": counted.nodes,
        "hyperedges": counted.hyperedges,
        "equivalence_classes": counted.equivalence_classes,
        "depth": counted.depth,
    }


def test_the_runs_are_short_in_logs(folder):
    # Bokeh's server formats what its handlers have before it answers.
    assert len(repr(Slices(open_runs([folder])))) < 200


@pytest.mark.parametrize(
    "path", ["/", "/ws", "/static/js/bokeh.min.js", "/wrong-token/", "/take/a.csv"]
)
def test_without_the_token_nothing_is_there(explored, path):
    with closing(http.client.HTTPConnection(urlsplit(explored[1]).netloc)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().status == 404


@pytest.mark.parametrize(
    ("origin", "token", "status"),
    [("own", True, 101), ("http://example.org", True, 403), ("own", False, 404)],
)
def test_the_websocket_takes_the_token_and_pages_of_this_machine_alone(
    explored, origin, token, status
):
    with urlopen(explored[1]) as answer:
        session = re.search(r'"token":"([^"]+)"', answer.read().decode()).group(1)
    address = urlsplit(explored[1])
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-WebSocket-Protocol": f"bokeh, {session}",
        "Origin": f"http://{address.netloc}" if origin == "own" else origin,
    }
    with closing(http.client.HTTPConnection(address.netloc)) as connection:
        connection.request("GET", f"{address.path if token else '/'}ws", headers=headers)
        answer = connection.getresponse()
        assert answer.status == status
        answer.close()


def test_sliders_and_directions_show_the_numbers_of_the_store(page, explored, folder):
    stored = open_significance(folder)
    _goto(page, explored, f"layer={LAYER}")
    assert _numbers(page) == _expected(stored.at(LAYER))
    _set(page, "q", 0.655)  # between stored levels
    _set(page, "p", 40)
    expected = _expected(stored.at(LAYER, 0.655, 40))
    assert _numbers(page) == expected != _expected(stored.at(LAYER))
    page.get_by_role("radio", name="positive").check()
    _until_answered(page)
    table = stored.at(LAYER, 0.655, 40, "positive")
    assert _numbers(page) == _expected(table)
    assert "counted over the cube" in page.locator("main .facts").inner_text()
    row = page.locator("main tbody tr").first.inner_text().split("\t")
    first = table.most_discriminating()[0]
    assert row[:2] == [f"v{first}", f"{table.eta_squared[first]:.2f}"]
    shares = re.findall(r"(\w+) (\d+) %", row[3])
    assert dict(shares) == {
        name: f"{100 * table.fraction[c, first]:.0f}"
        for c, name in enumerate(table.target_classes)
        if table.significant[c, first]
    }
    page.get_by_role("button", name="The run's own levels").click()
    _until_answered(page)
    assert _numbers(page) == _expected(stored.at(LAYER))


def test_clicks_lead_to_vectors_classes_and_images_and_back(page, explored, folder):
    _goto(page, explored, f"layer={LAYER}")
    details = page.locator("aside")
    page.get_by_text("What has it learned?").wait_for()
    circle = page.locator("svg g[data-do*='at=v']").first
    name = re.search(r"singular vectors: (\S+?)\*?[,;]", circle.get_attribute("aria-label")).group(
        1
    )
    circle.click()
    details.get_by_role("heading", name=name).wait_for()
    assert details.locator("img").count() > 0
    assert page.locator("svg g.chosen").count() >= 2  # in hypergraph and hierarchy
    details.locator(".shares button").first.click()
    details.get_by_role("heading", name="Significant vectors").wait_for()
    assert "at=class" in page.url
    details.locator(".picture").first.focus()
    page.keyboard.press("Enter")
    details.get_by_role("heading", name="Beyond q along").wait_for()
    page.go_back()
    details.get_by_role("heading", name="Significant vectors").wait_for()
    pictures = details.locator("img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert pictures
    assert all(pictures)


def test_a_hypergraph_is_drawn_as_rings_or_as_a_matrix(page, explored):
    _goto(page, explored, f"layer={LAYER}")
    assert page.locator("main polygon").count() > 0
    page.get_by_role("button", name="matrix").click()
    page.get_by_text("A column is an equivalence class").wait_for()
    page.get_by_role("region", name="Hypergraph", exact=True).locator("circle").first.wait_for()


def test_what_a_vector_is_said_to_do_is_what_the_store_says(page, explored, folder):
    stored = open_significance(folder)
    table = stored.at(LAYER)
    node = int(table.most_discriminating()[0])
    vector, place = divmod(node, 2)
    _goto(page, explored, f"layer={LAYER}&at=v{vector}{quote('+-'[place])}")
    rows = page.locator("aside .shares tbody tr")
    told = {
        rows.nth(i).locator("th").inner_text(): rows.nth(i).locator("td").nth(1).inner_text()
        for i in range(rows.count())
    }
    assert told == {
        name: f"{100 * table.fraction[c, node]:.0f} %"
        for c, name in enumerate(table.target_classes)
    }
    facts = page.locator("aside .facts").inner_text()
    assert f"η² {table.eta_squared[node]:.2f}" in facts


def test_a_sent_address_gives_the_same_page(page, explored, chromium, errors):
    query = f"layer={LAYER}&q=0.6&p=50&direction=both&at=class%3Aleft&beside=2%2Ffc1"
    _goto(page, explored, query)
    other = chromium.new_page(viewport={"width": 1440, "height": 900})
    _watch(other, errors)
    other.goto(page.url)
    other.locator("main h2").first.wait_for()
    for part in ("main", "aside"):
        assert other.locator(part).inner_text() == page.locator(part).inner_text()
    assert other.locator("main h2").all_inner_texts() == [
        f"{LAYER} (1: tiny)",
        "fc1 (2: tiny)",
    ]
    assert other.locator("select[name=where]").input_value() == f"1/{LAYER}"
    other.close()


def test_classes_are_grouped_on_the_spot_and_bad_groups_are_told(page, explored, folder):
    _goto(page, explored, f"layer={LAYER}")
    page.get_by_text("Groups of classes").click()
    page.locator("textarea").fill("sides: left, right")
    page.get_by_role("button", name="Group", exact=True).click()
    _until_answered(page)
    table = (
        open_significance(folder).any_level(LAYER).at(0.8, 60, classes={"sides": ["left", "right"]})
    )
    assert _numbers(page) == _expected(table)
    page.locator("textarea").fill("sides: lfet")
    page.get_by_role("button", name="Group", exact=True).click()
    page.get_by_text("there is no class 'lfet'").wait_for()
    page.get_by_role("button", name="As they are").click()
    _until_answered(page)
    assert not page.locator(".notice").inner_text()


def test_a_bad_address_is_told_and_the_run_is_shown(page, explored):
    _goto(page, explored, "layer=cnov1&q=7")
    assert (
        "cnov1" in page.locator(".notice").inner_text()
        or "7" in page.locator(".notice").inner_text()
    )
    assert page.locator("main h2").count() == 1


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("view=images&at=image:07", "Map of images in conv1"),
        ("view=classes&at=class:left", "Map of classes in conv1"),
        ("view=pair&a=left&b=both", "What tells left from both?"),
        ("view=pair&a=left&b=both&over=all", "What tells left from both?"),
    ],
)
def test_maps_and_pairs_are_shown(page, explored, query, title):
    _goto(page, explored, f"layer={LAYER}&{query}")
    assert page.locator("main h2").inner_text() == title
    page.get_by_text("All layers are being compared").wait_for(state="detached")
    assert page.locator("main svg").count() > 0


def test_images_are_laid_out_by_umap_where_that_is_chosen(page, explored):
    _goto(page, explored, f"layer={LAYER}&view=images")
    assert "ddp-flows[umap]" not in page.locator("main").inner_text()
    marks = page.locator("main svg [data-do*='at=image']")
    by_components = marks.count()
    page.get_by_role("button", name="UMAP").click()
    page.get_by_text("UMAP by cosines").wait_for(timeout=300_000)
    assert "by=umap" in page.url
    assert page.get_by_role("button", name="UMAP").get_attribute("aria-pressed") == "true"
    assert page.locator("[data-waits]").count() == 0
    # Not every image has room for its picture in both.
    assert min(marks.count(), by_components) > 0


def test_without_umap_the_map_says_how_to_have_it(monkeypatch, folder):
    slices = Slices(open_runs([folder]))
    monkeypatch.setitem(sys.modules, "umap", None)  # as where it is not installed
    shown = Page(slices, f"layer={LAYER}&view=images&by=umap").view
    assert "install ddp-flows[umap]" in shown
    assert "Principal components of the layer" in shown
    assert "by=umap" not in shown


def test_what_tells_two_classes_apart_is_what_the_command_says(page, explored, folder):
    frame = open_significance(folder).distinguishing("left", "right", LAYER)
    _goto(page, explored, f"layer={LAYER}&view=pair&a=left&b=right")
    rows = page.locator(".apart tbody tr").all_inner_texts()
    first = frame.iloc[0]
    mark = "⁺" if first["direction"] == "positive" else "⁻"
    assert rows[0].split()[0] == f"v{first['singular_vector']}{mark}"
    assert f"{100 * first['difference']:+.0f}" in rows[0].split()
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    written = pd.read_csv(taken.value.path())
    pd.testing.assert_frame_equal(written, frame, check_dtype=False)


def test_places_that_are_pointed_at_are_laid_over_images_alike(page, explored):
    _goto(page, explored, f"layer={LAYER}&at=image:{IMAGE}")
    page.locator("[data-point]").click(position={"x": 20, "y": 30})
    page.get_by_text("Red: like the place in the frame").wait_for(timeout=60_000)
    assert page.locator("aside .veil").count() > 3
    assert page.locator(".place").count() == 1


def test_figures_tables_and_hypergraphs_are_taken_away(page, explored, folder):
    _goto(page, explored, f"layer={LAYER}")
    table = open_significance(folder).at(LAYER)
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    frame = pd.read_csv(taken.value.path())
    assert frame["significant"].sum() == table.significant.sum()
    marked = frame[frame["significant"]]
    np.testing.assert_array_equal(
        np.sort(marked["fraction"]), np.sort(table.fraction[table.significant].astype(float))
    )
    with page.expect_download() as taken:
        page.get_by_role("link", name="HIF").click()
    written = json.loads((folder / "hypergraphs" / f"{LAYER}.hif.json").read_text())
    assert json.loads(taken.value.path().read_text()) == written
    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as taken:
            page.get_by_role("region", name="Semantic hierarchy", exact=True).get_by_role(
                "button", name=kind
            ).click()
        content = taken.value.path().read_bytes()
        assert content.startswith(start)
        assert b"var(--" not in content
    assert taken.value.suggested_filename == f"hierarchy-{LAYER}.png"


VIEWED = (
    f"layer={LAYER}&at=v0%2B",
    "view=images&at=image:07",
    "view=classes&at=class:left",
    "view=pair",
)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_everybody_can_use_it(chromium, explored, errors, width, scheme):
    """No rule of axe is broken, and nothing is wider than the window."""
    page = chromium.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    _watch(page, errors)
    broken = {}
    for query in VIEWED:
        _goto(page, explored, query)
        page.wait_for_timeout(200)
        for rule in Axe().run(page).response["violations"]:
            broken[query, rule["id"]] = rule["nodes"][0]["html"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert not broken


def test_findings_are_those_of_the_report(page, explored, folder):
    _goto(page, explored, "")
    stored = open_significance(folder)
    headlines = page.locator(".finding button.strong")
    headlines.first.wait_for()
    assert headlines.all_inner_texts() == [
        one.headline for one in read_findings(stored.run, folder / "store.zarr").statements
    ]


def test_nothing_is_written_and_nothing_went_wrong(explored, folder, before, errors):
    """Last of all that look: the run is bit for bit as it was, times of files too."""
    assert errors == []
    assert _files(folder) == before


def test_ctrl_c_ends_it_in_a_line(explored):
    process, _ = explored
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines() == ["Ctrl-C ends it", "ddp: stopped by Ctrl-C"]
