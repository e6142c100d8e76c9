"""Names of classes, layers, images and runs are text wherever they are shown, never markup."""

import asyncio
import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import holoviews as hv
import pytest
from bokeh.document import Document
from bokeh.models import Axis, HoverTool
from markdown_it import MarkdownIt
from odd_names import HERE, LAYERS, NAMES, TITLE
from pages import documents, drawings, opened, without_data
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort
from runs import tiny_run

from ddp_tasks.figures.notation import abbreviated, short, wrapped
from ddp_tasks.figures.style import BLUES
from ddp_tasks.queries.addresses import class_address, layer_address
from ddp_tasks.report.bokeh_documents import document
from ddp_tasks.stages.artifacts import as_text
from flows.pipeline import run_pipeline
from flows.texts.run import closing_lines
from schemas.shown import escaped, invisible


@pytest.fixture(scope="module")
def named(prefect_server, tmp_path_factory):
    """A run in which everything has an odd name, whole."""
    levels = {"quantile": 0.85, "percentage": 40, "resamples": 4, "sample_sizes": [5]}
    run = tiny_run(
        f"{HERE}:Named",
        name=TITLE,
        model={"factory": f"{HERE}:NamedNetwork"},
        significance=levels,
    )
    return run_pipeline(run, tmp_path_factory.mktemp("`named` [x](y) <b> $1$"))


@pytest.fixture(scope="module")
def artifacts(named):
    async def read():
        async with get_client() as client:
            # The server of all tests holds more than it lists at once.
            return await client.read_artifacts(sort=ArtifactSort.CREATED_DESC)

    # In a thread of its own: a browser's event loop may be running in this one.
    with ThreadPoolExecutor() as other:
        return other.submit(lambda: asyncio.run(read())).result()


def rendered(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_nothing_of_a_name_runs_in_a_browser_and_all_names_are_read(named, browser, tmp_path):
    text = named.report.read_text()
    shown = opened(browser, text, tmp_path)
    assert shown.errors == []
    assert shown.width <= shown.window
    assert browser.evaluate("window.ran === undefined")
    assert browser.title().startswith(TITLE)
    asked = browser.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert [address for address in asked if not address.startswith(("data:", "blob:"))] == []
    addresses = ["", *map(layer_address, LAYERS), *map(class_address, NAMES)]
    addresses += [f"{layer_address(LAYERS[0])}/v0", class_address(NAMES[0], NAMES[1])]
    texts = []
    for address in addresses:
        shown = opened(browser, text, tmp_path, f"#{address}")
        assert shown.errors == []
        assert shown.width <= shown.window, address
        texts.append(browser.evaluate("document.body.innerText"))
    assert browser.evaluate("window.ran === undefined")
    assert not [text for text in texts if "Nothing here" in text]
    read = re.sub(r"\s+", " ", " ".join(texts))
    assert TITLE in read
    for name in (*LAYERS, *NAMES):
        assert re.sub(r"\s+", " ", short(name)) in read or escaped(name)[:5] in read, name
    assert not any(invisible(character) for character in read)


def test_a_page_has_no_tags_of_names(named):
    own = without_data(named.report.read_text())
    assert own.count("<script") == own.count("</script") == 0
    assert "<img src=x" not in own
    assert html.escape("<script>window.ran", quote=False) in own


def test_prefect_shows_names_as_text(artifacts):
    assert {a.type for a in artifacts} >= {"markdown", "table"}
    for artifact in artifacts:
        texts = [artifact.description or ""]
        if artifact.type == "markdown" and not str(artifact.data).startswith("["):
            texts.append(artifact.data)
        for text in texts:
            page = rendered(text).replace("<pre><code>", "")
            # Pictures of images are ours; their ids stand in a quoted attribute.
            page = re.sub(r'<img src="data:image/png;base64,[^"<>]*" alt="[^"<>]*" */?>', "", page)
            assert not re.search(r"<(script|img|a |code|em>|b>)", page), text
            assert not any(invisible(c) for c in text.replace("\n", ""))


def test_prefect_s_summary_has_all_names_in_their_cells(artifacts):
    summary = next(a for a in artifacts if a.key.startswith("summary") and "window" in a.data)
    table = rendered(summary.data.partition("## Layers")[2])
    rows = re.findall(r"<tr>\s*<td.*?</tr>", table, re.S)
    assert len(rows) == len(LAYERS)
    for layer, row in zip(LAYERS, rows, strict=True):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        assert len(cells) == 9
        assert html.unescape(cells[0])[:40] == escaped(layer)[:40]


def test_the_terminal_gets_names_as_text(named):
    said = closing_lines(named, {}, 1.0)
    assert TITLE in said
    tables = [
        line for line in said.splitlines() if line.startswith(tuple(escaped(n)[:8] for n in LAYERS))
    ]
    assert len(tables) >= len(LAYERS)
    assert not any(invisible(c) for line in tables for c in line)


def test_stored_names_are_those_given(named):
    files = sorted(named.hypergraphs.iterdir())
    assert len(files) == len(LAYERS)
    classes = {
        e["attrs"].get("name", e["edge"]) for f in files for e in json.loads(f.read_text())["edges"]
    }
    assert classes <= set(NAMES)
    assert len(classes) > 8


@pytest.mark.parametrize("label", ["$$x$$", "\\(x\\)", "\\[x\\]", "plain"])
def test_names_at_axes_are_no_formulas(label):
    curve = hv.Curve([0, 1]).opts(color=BLUES[-1])
    plot = hv.Overlay([curve]).opts(xlim=(0, 1), ylim=(0, 1), yticks=[(0, label)])
    drawn, _ = document(plot, "a")
    (root,) = Document.from_json(drawn).roots
    (written,) = [
        text for axis in root.select({"type": Axis}) for text in axis.major_label_overrides.values()
    ]
    assert written == label if label == "plain" else written.text == label


def test_hover_tools_are_given_fields_and_no_html(named):
    tools = [
        tool
        for figures in documents(named.report.read_text()).values()
        for figure in figures
        for tool in figure.select({"type": HoverTool})
    ]
    assert len(tools) > 10
    assert "{safe}" not in str([tool.tooltips for tool in tools])


def test_drawings_have_no_tags_of_names(named):
    found = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: found.add(tag)
    parser.handle_startendtag = parser.handle_starttag
    every = drawings(named.report.read_text()).values()
    text = "".join(drawing for of_part in every for drawing in of_part)
    parser.feed(text)
    known = {"svg", "g", "title", "text", "rect", "circle", "path", "polygon", "polyline", "image"}
    assert {"svg", "circle", "text"} <= found <= known
    assert html.escape("<script>window.ran") in text


@pytest.mark.parametrize("name", NAMES)
def test_names_in_figures_are_one_line_that_is_seen(name):
    several = [short(name), abbreviated([name, name], 1), *wrapped([name, name], 200, 12, 2)]
    assert not any(invisible(character) for text in several for character in text)
    assert len(short(name)) <= 18
    assert rendered(as_text(name)).count("<") == 2  # of the paragraph
