"""``ddp check``: what is said of a finished run's folder, whole and damaged, and of a list's."""

import shutil
import sys

import pytest
from zoos import model, tiny_zoo

from flows import cli
from flows.capacity import run_capacity


@pytest.fixture
def check(monkeypatch, capsys):
    """Run ``ddp check`` in this process: its status and what it prints."""

    def call(folder):
        monkeypatch.setattr(sys, "argv", ["ddp", "check", str(folder)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return end.value.code, said.out.splitlines(), said.err

    return call


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished.store.parent, tmp_path / "copied [red] run")


def test_a_finished_run_is_whole(check, finished):
    folder = finished.store.parent
    status, lines, _ = check(folder)
    assert (status, lines) == (0, [f"{folder}: whole"])


def test_each_damage_is_one_line_with_what_mends_it(check, copied):
    store = copied / "store.zarr"
    thresholds = store / "significance/threshold/c/0/0/0"
    content = bytearray(thresholds.read_bytes())
    content[len(content) // 2] ^= 1
    thresholds.write_bytes(content)
    (store / "signals/predicted/c/2").unlink()
    shutil.rmtree(store / "exemplars")
    (copied / "hypergraphs/fc1.hif.json").unlink()
    (copied / "report.html").unlink()
    status, lines, _ = check(copied)
    assert status == 1
    anew = "(the run, started again, writes it again)"
    computed = "(the run, started again, computes it again)"
    assert lines[:3] == [
        f"signals, shard 2 (images 16 to 23): is not as it was written {anew}",
        f"significance: threshold/c/0/0/0 is not as it was written {computed}",
        f"exemplars: not finished {computed}",
    ]
    assert lines[-3:-1] == [
        f"report.html: is missing {anew}",
        f"hypergraphs/fc1.hif.json: is missing {anew}",
    ]
    assert lines[-1] == f"{copied}: {len(lines) - 1} damages"


def test_what_the_signals_were_made_with_is_not_mended(check, copied):
    (copied / "store.zarr/decomposition/conv1/U/c/0/0").write_bytes(b"")
    status, lines, _ = check(copied)
    assert status == 1
    assert lines == [
        "decomposition/conv1: U/c/0/0 is not as it was written "
        "(not mended: remove the store, or choose another folder)",
        f"{copied}: 1 damage",
    ]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"zarr_format": 3}', b"\xff\xfe"])
def test_a_root_that_cannot_be_read_is_a_damage_and_no_traceback(check, copied, content):
    (copied / "store.zarr/zarr.json").write_bytes(content)
    status, lines, error = check(copied)
    assert status == 1
    assert len(lines) == 2
    assert "zarr.json is damaged" in lines[0]
    assert "Traceback" not in error


def test_a_folder_without_a_store_is_refused(check, tmp_path):
    status, lines, error = check(tmp_path)
    assert (status, lines) == (2, [])
    assert error.startswith(f"ddp: {tmp_path} holds no results")


def test_a_list_of_models_is_checked_too(check, prefect_server, address, tmp_path):
    zoo = tiny_zoo([model("a/b", 80.0), model("lost", 70.0, kwargs={"no": 1})], cluster=address)
    run_capacity(zoo, tmp_path)
    assert check(tmp_path)[:2] == (0, [f"{tmp_path}: whole"])
    file = tmp_path / "capacity.zarr/capacity/a%2Fb/alpha/c/0/0"
    file.write_bytes(file.read_bytes()[::-1])
    (tmp_path / "capacity.html").unlink()
    status, lines, _ = check(tmp_path)
    assert status == 1
    assert [line.partition(" (")[0] for line in lines] == [
        "capacity/a%2Fb: alpha/c/0/0 is not as it was written",
        "capacity.html: is missing",
        f"{tmp_path}: 2 damages",
    ]
