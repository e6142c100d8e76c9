"""The short public surface of each room, and who takes what from where."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = sorted(file.parent.name for file in (ROOT / "ddp_tasks").glob("*/__init__.py"))
HEAVY = {
    *("torch", "torchvision", "holoviews", "hypernetx", "zarr", "distributed", "prefect"),
    # Known to type checkers and tests alone.
    "jaxtyping",
}


def _loaded(code):
    printed = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return HEAVY & set(printed.stdout.split())


def test_what_rooms_list_is_there():
    every = "[getattr(r, n) for r in rooms for n in getattr(r, '__all__', ())]"
    rooms = ", ".join(f"ddp_tasks.{room}" for room in ROOMS)
    assert _loaded(f"import {rooms}; rooms = [{rooms}]; assert len({every}) > 30") > {"torch"}


def test_a_room_loads_nothing_before_it_is_asked():
    rooms = ", ".join(f"ddp_tasks.{room}" for room in ROOMS)
    assert _loaded(f"import {rooms}") == set()


def test_asking_a_store_loads_no_network():
    taken = _loaded("from ddp_tasks.queries import Run, RunLayer, open_run")
    assert taken == {"zarr"}


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))], ids=lambda file: file.name
)
def test_people_are_sent_to_queries_and_figures_alone(file):
    text = file.read_text()
    for address in re.findall(r"ddp_tasks\.[\w.]+\w(?:\(|`|:)", text):
        room, name = re.fullmatch(r"ddp_tasks\.(\w+)\.?(\w*).", address).groups()
        if address.endswith(":"):  # of a factory, as run files name it
            assert (room, name) in {("networks", ""), ("images", "")}, address
        else:
            assert room in {"queries", "figures"}, address
            assert not name or name in importlib.import_module(f"ddp_tasks.{room}").__all__
