"""What is refused: in one sentence, before any work, whatever a person hands over."""

import os
import pickle
from pathlib import Path

import pytest

from flows.output_folder import made_folder, output_folder
from flows.refusals import refusal_text
from schemas import RunError


def test_keys_and_arguments_become_options_on_the_command_line_alone():
    error = RunError("out: 'x' is a file", change=("out", "model.weights", "out"))
    assert str(error) == "out: 'x' is a file"
    assert refusal_text(error).splitlines() == [
        "--out 'x' is a file",
        "  choose another with --out",
        "  change it with --set model.weights=VALUE",
    ]
    assert refusal_text(RunError("model.weights: gone")) == "model.weights: gone"


def test_a_refusal_comes_whole_from_a_worker():
    error = pickle.loads(pickle.dumps(RunError("gone", change=("model.weights",))))
    assert (str(error), error.change) == ("gone", ("model.weights",))


def refused(function, *arguments):
    with pytest.raises(RunError) as refusal:
        function(*arguments)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("exp::2", "holds '::'"),
        ("file", "is a file, not a folder"),
        ("file/below/it", "file is a file, not a folder"),
        ("loop/x", "loop is a file, not a folder"),
        ("a\0b", "holds a NUL byte"),
        ("x" * 256, "is too long"),
        ("x/" * 3000, "is too long"),
        ("~nobody-of-this-name/x", "there is no home folder of that name"),
        ("closed/x", "closed may not be written to"),
    ],
)
def test_a_folder_that_results_cannot_go_to_is_refused(tmp_path, monkeypatch, out, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0o555)
    if why.startswith("closed") and os.geteuid() == 0:
        # Nothing is closed to root, save what a file system lets nobody write.
        monkeypatch.setattr(os, "access", lambda place, _mode: place.name != "closed")
    assert why in refused(output_folder, Path(out))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["closed", "file", "loop"]


def test_a_folder_that_cannot_be_made_is_refused():
    assert "out: '/proc/self/nothing'" in refused(made_folder, Path("/proc/self/nothing"))


@pytest.mark.parametrize("out", ["a/b/c", "d", "link/x", "e f é #%20?[x]"])
def test_other_folders_are_taken_and_made_where_they_lead(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    before = sorted(tmp_path.rglob("*"))
    path = output_folder(Path(out))
    assert sorted(tmp_path.rglob("*")) == before
    assert made_folder(Path(out)) == path
    assert (tmp_path / out).samefile(path)
