"""What the README and the pages for people show is what the project does."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows import cli
from schemas.run_files import load_run, presets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text()
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}

#: A Python in which neither torch nor this project can be imported.
BARE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "schemas", "ddp_tasks", "flows"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
"""

#: Commands that read a finished run in a moment; others are carried out by tests of their own.
CARRIED_OUT = {
    *("table", "hypergraph", "distinguish", "check", "misclassified", "describe", "figure"),
    *("steps", "compare"),
}
#: Addresses that the pages give to runs; runs in object stores are tested in tests/flows.
IN_A_BUCKET = "s3://my-bucket/"
#: The tiny run of the tests has other classes, images and groups than the digits.
OF_THE_TINY_RUN = {
    **{"3": "left", "8": "right", "007": "07"},
    **{"round": "left", "straight": "right", "--superclasses": ""},
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def commands(pages) -> list[str]:
    """Lines of shell blocks that call ddp, without their comments."""
    lines = [line for page in pages for block in blocks(page, "sh") for line in block.splitlines()]
    called = {re.sub(r"\s+# .*", "", line).strip() for line in lines}
    return sorted(line for line in called if re.match(r"(\.venv/bin/)?ddp ", line))


HOW_TOS = [page for page in PAGES if page.startswith(("docs/howto/", "docs/tutorial"))]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any("open_datatree" in b for b in blocks(page, "python"))]
)
def test_queries_run_without_torch_and_without_this_project(page, finished, tmp_path):
    place = re.compile(r'"[^"]*store\.zarr"')
    for queries in [block for block in blocks(page, "python") if "open_datatree" in block]:
        assert place.search(queries)
        own = place.sub(repr(str(finished.store)), queries).replace('"7"', '"left"')
        script = tmp_path / "queries.py"
        script.write_text(BARE + own + "\nassert 'torch' not in sys.modules\n")
        done = subprocess.run(
            [sys.executable, "-W", "error", script],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) >= queries.count("print(")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any("open_run(" in b for b in blocks(page, "python"))]
)
def test_questions_to_a_run_are_answered(page, finished):
    names = {"3": "left", "7": "left", "8": "right", "0": "both", "000": "00"}
    for block in blocks(page, "python"):
        if "open_run(" in block:
            own = re.sub(
                r'"(\d+)"', lambda name: f'"{names.get(name[1], name[1])}"', block
            ).replace(IN_A_BUCKET, "ddp-results/")
            own = own.replace("ddp-results/digits", str(finished.store.parent))
            exec(own, {})


@pytest.mark.parametrize("command", commands(PAGES))
def test_every_command_is_one_that_exists(command):
    words = shlex.split(command)[1:]
    names = {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    assert words[0] in names
    shown = CliRunner().invoke(cli.app, [words[0], "--help"]).output
    for option in (w for w in words if w.startswith("--")):
        assert option in shown or option == "--help"
    if words[0] in ("run", "layers") and len(words) > 1 and words[1] in presets():
        sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        assert load_run(words[1], sets).name == words[1]


@pytest.fixture(scope="module")
def two_runs(finished, tmp_path_factory):
    """The tiny run under the name that the pages give to a run, and once more under another."""
    folder = tmp_path_factory.mktemp("how to")
    for name in ("digits", "again", "other"):
        shutil.copytree(finished.store.parent, folder / "ddp-results" / name)
    return folder


@pytest.mark.parametrize("command", [c for c in commands(HOW_TOS) if c.split()[1] in CARRIED_OUT])
def test_a_how_to_that_asks_a_finished_run_is_answered(command, two_runs, ddp):
    on_disk = command.replace(IN_A_BUCKET, "ddp-results/")
    words = [OF_THE_TINY_RUN.get(word, word) for word in shlex.split(on_disk)[1:]]
    is_file = re.compile(r"ddp-results/|.*\.(csv|json|html|parquet|svg|png)$")
    words = [two_runs / word if is_file.match(word) else word for word in words if word]
    status, said = ddp(*words, *(["--trust"] if words[0] in ("steps", "figure") else []))
    assert status == 0, said.err
    assert said.out.strip()


def test_run_files_shown_are_allowed(tmp_path):
    shown = [block for page in PAGES for block in blocks(page, "yaml") if "\nimages:" in block]
    runs = []
    for number, block in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        runs.append(load_run(str(file)))
    assert any(run.significance.levels("fc1").quantile == 0.95 for run in runs)
    assert any("round" in run.significance.superclasses for run in runs)


def test_the_readme_is_short():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert len(prose.split()) <= 600


def test_make_targets_named_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert {"demo", "test", "docs"} <= named <= targets


def test_files_named_are_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


def test_the_citation_is_of_this_version_and_names_the_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    (paper,) = cited["references"]
    assert paper["authors"][0]["family-names"] == "Praggastis"
