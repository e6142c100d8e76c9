"""What the README shows is what the project does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import cli
from schemas.run_files import load_run, presets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

#: A Python in which neither torch nor this project can be imported.
BARE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "schemas", "ddp_tasks", "flows"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_queries_run_without_torch_and_without_this_project(finished, tmp_path):
    (queries,) = [block for block in blocks("python") if "open_datatree" in block]
    assert queries.count("\n\n") >= 3, "three queries after the opening"
    script = tmp_path / "queries.py"
    place = re.compile(r'"[^"]*store\.zarr"')
    assert place.search(queries)
    # The tiny run of the tests has other classes and vectors than the README's digits.
    queries = place.sub(repr(str(finished.store)), queries).replace('"7"', '"left"')
    script.write_text(BARE + queries + "\nassert 'torch' not in sys.modules\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^(?:\.venv/bin/)?ddp .*$", README, re.MULTILINE)))
)
def test_every_command_is_one_that_exists(command):
    words = command.partition("#")[0].split()[1:]
    names = {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    assert words[0] in names
    shown = CliRunner().invoke(cli.app, [words[0], "--help"]).output
    for option in (w for w in words if w.startswith("--")):
        assert option in shown or option == "--help"
    if words[0] in ("run", "layers") and len(words) > 1 and words[1] in presets():
        sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        assert load_run(words[1], sets).name == words[1]


def test_the_run_file_shown_is_allowed(tmp_path):
    (shown,) = [block for block in blocks("yaml") if "model:" in block]
    file = tmp_path / "run.yaml"
    file.write_text(shown)
    assert load_run(str(file)).significance.levels("fc1").quantile == 0.95


def test_make_targets_named_are_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_files_named_are_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path
