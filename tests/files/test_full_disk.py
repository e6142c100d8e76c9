"""Files that cannot be written: one line with path and reason, and nothing half written."""

import resource
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
from runs import HERE

from ddp_tasks.files.whole import replacing, write_whole
from ddp_tasks.queries.table_files import write_table
from flows import cli
from schemas.parameters import RunError


@contextmanager
def little_room():
    """What is written past 64 bytes of a file is refused, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save(place):
    with replacing(place) as file:
        torch.save({"a": torch.zeros(100_000)}, file)


WRITERS = {
    "page.html": lambda place: write_whole(place, "x" * 100_000),
    "checkpoint.pt": save,
    "table.csv": lambda place: write_table(pd.DataFrame({"a": range(10_000)}), place),
    "table.parquet": lambda place: write_table(pd.DataFrame({"a": range(10_000)}), place),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_without_room_is_named_and_what_was_there_stays(tmp_path, name):
    place = tmp_path / name
    place.write_text("before")
    refused = pytest.raises(RunError, match=rf"{place} cannot be written: File too large$")
    with refused, little_room():
        WRITERS[name](place)
    assert place.read_text() == "before"
    assert list(tmp_path.iterdir()) == [place]


def test_a_place_that_is_none_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for place, why in (
        ("folder", "Is a directory"),
        ("none/page.html", "No such file or directory"),
        ("file/page.html", "Not a directory"),
    ):
        with pytest.raises(RunError, match=rf"{tmp_path / place} cannot be written: {why}$"):
            write_whole(tmp_path / place, "page")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_read_while_another_is_written_is_no_refusal(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "page.html"):
        (tmp_path / "none").read_text()


COMMANDS = {
    "table.csv": ["table", "fc1"],
    "table.parquet": ["table", "fc1"],
    "graph.json": ["hypergraph", "fc1"],
    "steps.html": ["steps", "fc1", "00", "--trust"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_room_ends_in_one_line(finished, tmp_path, monkeypatch, capsys, name):
    command, *rest = COMMANDS[name]
    folder, place = str(finished.store.parent), tmp_path / name
    monkeypatch.chdir(HERE.parent)  # where code lies is not recorded
    monkeypatch.setattr("sys.argv", ["ddp", command, folder, *rest, "--out", str(place)])
    with pytest.raises(SystemExit) as ended, little_room():
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"ddp: {place} cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []
