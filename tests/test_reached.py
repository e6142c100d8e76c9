"""Tests are sorted by what they reach, and a fast one that starts something fails."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import os, sys, pytest, reached
reached.WALKED = (os.getcwd(),)
options = ["-q", "-rA", "-p", "reached", "-p", "no:cacheprovider"]
raise SystemExit(pytest.main([*options, *sys.argv[1:]]))
"""

_STARTS = """
import subprocess
def start():
    subprocess.run(["true"], check=True)
"""

_TESTS = """
import socket, pytest, starts
from starts import start
SCRIPT = "with LocalCluster(n_workers=1): pass"
class Starts:
    def go(self):
        start()
@pytest.fixture
def browser():
    return "Chromium"
@pytest.fixture
def page(browser):
    return browser
@pytest.fixture
def started():
    starts.start()
@pytest.mark.parametrize("number", [1, 2])
def test_numbers(number):
    assert number
def test_by_function():
    start()
def test_by_method():
    Starts().go()
def test_by_fixture(started):
    pass
def test_by_module():
    starts.start()
def test_script():
    assert SCRIPT
def test_page(page):
    pass
@pytest.mark.slow
def test_long():
    pass
def test_hidden():
    getattr(__import__("sub" + "process"), "run")(["true"])
def test_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
"""


@pytest.fixture
def outcomes(tmp_path):
    """Run part of some tests: the outcome of each by name."""
    (tmp_path / "starts.py").write_text(_STARTS)
    (tmp_path / "test_some.py").write_text(_TESTS)
    marks = ["slow", "fast", "cluster", "server", "browser", "process", "gpu"]
    lines = "\n".join(f"  {mark}: given" for mark in marks)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{lines}\n")

    def run(part):
        done = subprocess.run(
            [sys.executable, "-c", _RUN, "-m", part],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{Path(__file__).parent}:{tmp_path}", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        told = [line.split() for line in done.stdout.splitlines()]
        return {
            words[1].partition("::")[2]: words[0]
            for words in told
            if words and words[0] in ("PASSED", "FAILED")
        }

    return run


def test_what_reaches_nothing_is_fast_and_fails_where_it_starts_something(outcomes):
    assert outcomes("fast") == {
        "test_numbers[1]": "PASSED",
        "test_numbers[2]": "PASSED",
        "test_hidden": "FAILED",
        "test_port": "FAILED",
    }


def test_what_starts_something_is_seen_through_functions_fixtures_and_scripts(outcomes):
    assert outcomes("process") == {
        f"test_by_{way}": "PASSED" for way in ("function", "method", "fixture", "module")
    }
    assert outcomes("cluster") == {"test_script": "PASSED"}
    assert outcomes("browser") == {"test_page": "PASSED"}
    assert outcomes("not fast and not browser and not process and not cluster") == {
        "test_long": "PASSED"
    }
