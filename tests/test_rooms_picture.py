"""The picture of the rooms, drawn by the command that ``CONTRIBUTING.md`` names."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("grimp", reason="comes with the extra lint")

from docs import rooms

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "rooms.svg"
    rooms.main(["--out", str(out)])
    return ElementTree.parse(out).getroot()


def _bold(picture):
    return [t.text for t in picture.iter(f"{SVG}text") if t.get("font-weight") == "bold"]


def test_every_room_has_a_row_and_every_row_is_a_room(drawn):
    folders = {file.parent.name for file in ROOT.glob("ddp_tasks/*/__init__.py")}
    files = {file.stem for file in ROOT.glob("ddp_tasks/[!_]*.py")}
    rows = _bold(drawn)
    assert (rows[0], rows[-1]) == ("flows", "schemas")
    assert sorted(rows[1:-1]) == sorted(folders | files)


def test_the_picture_that_is_kept_has_the_same_rooms_in_the_same_order(drawn):
    assert _bold(ElementTree.parse(rooms.PICTURE).getroot()) == _bold(drawn)


def test_imports_are_drawn_and_none_runs_against_the_order(drawn):
    dots = list(drawn.iter(f"{SVG}circle"))
    order = _bold(drawn)
    told = [dot.find(f"{SVG}title").text.split() for dot in dots]
    assert {("stages", "workers"), ("report", "figures"), ("flows", "schemas")} <= {
        (words[0], words[-1]) for words in told
    }
    assert all(order.index(words[0]) < order.index(words[-1]) for words in told)


def test_a_dot_says_how_many_imports_it_stands_for():
    pair = rooms.svg(
        ["schemas", "ddp_tasks.store", "flows"],
        {("flows", "ddp_tasks.store"): 4, ("ddp_tasks.store", "schemas"): 1},
        {"schemas": "a < b", "ddp_tasks.store": "", "flows": ""},
    )
    circles = [
        c.find(f"{SVG}title").text for c in ElementTree.fromstring(pair).iter(f"{SVG}circle")
    ]
    assert circles == [
        "store imports 1 times from schemas",
        "flows imports 4 times from store",
    ]
