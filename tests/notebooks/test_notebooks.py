"""The notebooks, carried out as the site shows them."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

#: Each in a process of its own, which imports everything anew; some carry out small runs.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def carried_out(file, folder, monkeypatch, digits=None):
    """The cells of a notebook with what they gave."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "error::FutureWarning,error::DeprecationWarning:__main__")
    # A server of the tests is not the notebook's.
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    if digits is not None:
        monkeypatch.setenv("DDP_DIGITS", str(digits[0] / "ddp-results" / "digits"))
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cells, kind="text/plain"):
    """All that a notebook shows of a kind, and what it prints."""
    outputs = [output for cell in cells for output in cell.outputs]
    shown = [output.data[kind] for output in outputs if kind in output.get("data", {})]
    printed = [output.text for output in outputs if output.get("name") == "stdout"]
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert warned == []
    return "\n".join([*shown, *(printed if kind == "text/plain" else [])])


def named(number):
    (file,) = [file for file in NOTEBOOKS if file.name.startswith(f"{number}-")]
    return file


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebooks_are_kept_small_and_without_results(file):
    notebook = json.loads(file.read_text())
    assert file.stat().st_size < 25_000
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize(
    ("number", "pictures"), [(1, 1), (2, 4), (4, 3)], ids=["first steps", "ten questions", "real"]
)
def test_a_notebook_on_the_digits_is_carried_out(number, pictures, digits, tmp_path, monkeypatch):
    cells = carried_out(named(number), tmp_path, monkeypatch, digits)
    assert "500 images of 10 classes" in said(cells)
    assert "classified correctly" in said(cells, "text/html")
    assert len(said(cells, "image/png").split()) >= pictures


def test_a_model_and_images_of_ones_own_are_analysed(tmp_path, monkeypatch):
    cells = carried_out(named(3), tmp_path, monkeypatch)
    assert "not analysed: 1 (BatchNorm2d" in said(cells)
    assert "<run mine: 240 images of 4 classes" in said(cells)


def test_a_run_is_watched_and_scheduled(tmp_path, monkeypatch):
    cells = carried_out(named(5), tmp_path, monkeypatch)
    for words in ("digits: Completed", "summary-digits-papernetwork", "0 2 * * *", "has ended"):
        assert words in said(cells)
