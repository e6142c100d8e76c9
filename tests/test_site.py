"""The documentation site, built whole: what is on it, and that it needs no network."""

import contextlib
import functools
import http.server
import json
import re
import shutil
import threading
from html import unescape
from urllib.parse import quote

import pytest
from docutils.nodes import make_id

pytest.importorskip("sphinx", reason="comes with the extra docs")

from docs import links, site
from docs.generated import commands, public_names, run_files
from schemas.parameters import ClusterParameters, RunParameters
from schemas.variables import GROUPS
from schemas.zoo import ZooParameters

pytestmark = pytest.mark.slow


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


def test_no_page_asks_for_the_network(built, served):
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    pages = [f.relative_to(built.parent) for f in sorted(built.rglob("*.html"))]
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("response", lambda r: said.append(r.url) if r.status >= 400 else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for name in pages:
            if "_static" not in name.parts and name.name != "index.html":
                page.goto(served + quote(name.as_posix()), wait_until="load")
        page.goto(f"{served}{built.name}/index.html")
        page.wait_for_url("**/docs/index.html")
        browser.close()
    assert len(asked) > len(pages)
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
    assert said == []


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
