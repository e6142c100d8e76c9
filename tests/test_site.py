"""The documentation site, built whole: what is on it, and that it needs no network."""

import contextlib
import functools
import http.server
import itertools
import json
import re
import threading
from html import unescape
from urllib.parse import quote

import pytest
from docutils.nodes import make_id

pytest.importorskip("sphinx", reason="comes with the extra docs")

from docs import links, site
from docs.generated import commands, public_names, run_files
from schemas.cluster_parameters import ClusterParameters
from schemas.parameters import RunParameters
from schemas.variables import GROUPS
from schemas.zoo import ZooParameters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of this version's pages; notebooks are carried out by tests of their own."""
    return site.build(tmp_path_factory.mktemp("site"), execute=False)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Of a server that a browser may leave before it has everything."""

    def log_message(self, *_):
        pass

    def copyfile(self, *files):
        with contextlib.suppress(ConnectionError):
            super().copyfile(*files)


@pytest.fixture(scope="module")
def served(built):
    """The address of the builds of all versions, on this machine."""
    handler = functools.partial(_Quiet, directory=built.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _words(built, page):
    """A page's text without tags."""
    body = (built / "docs" / page).read_text().partition("<article")[2]
    return unescape(re.sub(r"<[^>]+>", "", body))


def test_every_command_and_option_is_on_the_site(built):
    text = _words(built, "reference/commands.html")
    names = commands.names()
    assert {"run", "table", "compare"} <= set(names)
    assert any("--set KEY=VALUE" in told for told in names.values())
    for command, options in names.items():
        section = text.partition(f"\nddp {command}")[2]
        assert section, command
        for option in options:
            assert option in section, (command, option)


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("run-file", RunParameters),
        ("other-files", ZooParameters),
        ("other-files", ClusterParameters),
    ],
)
def test_every_key_is_on_the_site_and_has_an_address(built, page, model):
    text = (built / f"docs/reference/{page}.html").read_text()
    for key in run_files.keys(model):
        assert f'id="{make_id(key)}"' in text, key
        assert f">{key}</span>" in text, key


def test_every_stored_variable_is_on_the_site(built):
    text = _words(built, "reference/store.html")
    for name, group in GROUPS.items():
        section = text.partition(f"\n/{name}")[2]
        for variable, declared in group.variables.items():
            assert variable in section, (name, variable)
            assert " ".join(declared.meaning.split())[:40] in section, (name, variable)


def test_every_public_name_is_on_the_site_with_its_docstring(built):
    text = (built / "docs/reference/api.html").read_text()
    surfaces = public_names.surfaces()
    assert {"queries", "figures", "weights"} <= set(surfaces)
    for room, names in surfaces.items():
        for name in names:
            assert f'id="ddp_tasks.{room}.{name}"' in text, (room, name)


def test_words_are_spelled_as_in_the_dictionary(built):
    if not site.has_dictionary():
        pytest.skip("needs enchant's library and a British dictionary")
    site.check_spelling(built.parent, execute=False)


def test_no_page_asks_for_the_network(built, served, chromium):
    pages, asked, said = _pages(built), [], []
    page = chromium.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("response", lambda r: said.append(r.url) if r.status >= 400 else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in pages:
        page.goto(served + quote(name), wait_until="load")
    page.goto(f"{served}{built.name}/index.html")
    page.wait_for_url("**/docs/index.html")
    page.close()
    assert len(asked) > len(pages)
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
    assert said == []


#: Reduces long lists of what is built alike, which would take minutes.
_FIRST_FEW = """() => {
    const few = "article section > section:nth-of-type(n+5), dl.py:nth-of-type(n+4), "
        + "article tr:nth-child(n+7), article li:nth-child(n+7)";
    for (const one of document.querySelectorAll(few)) one.remove();
}"""
_THEME = """theme => {
    document.documentElement.dataset.theme = document.documentElement.dataset.mode = theme;
}"""


def _pages(built):
    found = [f for f in sorted(built.rglob("*.html")) if "_static" not in f.parts]
    return [f.relative_to(built.parent).as_posix() for f in found if f != built / "index.html"]


def test_no_page_breaks_a_rule_of_axe_or_is_wider_than_a_telephone(built, served, chromium):
    from axe_playwright_python.sync_playwright import Axe

    axe, wrong = Axe(), []
    ways = [(width, theme) for width in (390, 1440) for theme in ("dark", "light")]
    turns = itertools.cycle(ways)
    page = chromium.new_page(reduced_motion="reduce")
    for name in _pages(built):
        # Pages take turns, as all have one frame and one style; axe takes a second a page.
        for width, theme in ways if name.endswith("docs/index.html") else [next(turns)]:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(served + quote(name), wait_until="load")
            page.add_style_tag(content="* { transition: none !important; }")
            page.evaluate(_THEME, theme)
            for narrow in (390, width):
                page.set_viewport_size({"width": narrow, "height": 900})
                if (needed := page.evaluate("document.documentElement.scrollWidth")) > narrow:
                    wrong.append((name, f"needs {needed} of {narrow} pixels"))
            page.evaluate(_FIRST_FEW)
            for one in axe.run(page).response["violations"]:
                wrong.append((name, width, theme, one["id"], one["nodes"][0]["target"]))
    page.close()
    assert wrong == []


@pytest.mark.parametrize("name", ["tutorial", "mathematics", "gallery"])
def test_nothing_is_cut_on_paper(built, served, chromium, name):
    page = chromium.new_page(viewport={"width": 700, "height": 1000})
    page.goto(f"{served}{built.name}/docs/{name}.html", wait_until="load")
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter(
            one => getComputedStyle(one).overflowX !== "visible" && !one.closest("math")
                && one.scrollWidth > one.clientWidth + 1).map(one => one.outerHTML.slice(0, 80))"""
    )
    wider = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert cut == []
    assert wider <= 700


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#here">b</a><a href="b.html#there">b</a>'
        '<img src="none.png"><a href="https://example.org/x">x</a><a href="#top">top</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    wrong, outside = links.check(tmp_path)
    assert wrong == [
        "a.html: b.html#there leads to no such place in b.html",
        "a.html: none.png leads to no file",
    ]
    assert outside == ["https://example.org/x"]


def test_versions_are_listed_the_newest_first(tmp_path):
    for name in ("0.9.0", "0.10.0", "0.10.0.dev1", "notes"):
        (tmp_path / name / "docs").mkdir(parents=True)
        if name != "notes":
            (tmp_path / name / "docs" / "index.html").touch()
    listed = json.loads(site.write_versions(tmp_path).read_text())
    assert [one["version"] for one in listed] == ["0.10.0", "0.10.0.dev1", "0.9.0"]
    assert [one["preferred"] for one in listed] == [True, False, False]
