"""Whatever file of a finished store is damaged: it is named, and no answer is another."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import damage
from ddp_tasks.store import wholeness

ROOT = Path(__file__).parents[2]

#: Of some 1,000 pairs of a kind of file and a damage, every so manieth is tried here.
_EVERY = 97


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    return shutil.copytree(finished.store.parent, tmp_path_factory.mktemp("damaged") / "run")


def test_every_kind_of_file_is_damaged_in_every_way(copied):
    found = damage.kinds(copied / "store.zarr")
    assert {kind[0] for kind in found} > {"zarr.json", "signals", "significance", "stability"}
    tried = [(kind, how) for kind, how, _, _ in damage.damaged_files(copied / "store.zarr")]
    assert len(tried) == len(set(tried)) > 4 * len(found)
    assert {how for _, how in tried} == set(damage.DAMAGES)


def test_a_damaged_file_is_named_and_no_answer_is_another(copied):
    run, _ = damage._jobs()
    found = damage.read_damaged(run, copied, _EVERY)
    assert found["tried"] == found["named"] == found["refused"] > 10
    assert found["wrong"] == 0
    assert list(wholeness.check_store(copied / "store.zarr")) == []


def test_another_answer_and_another_error_would_be_told():
    def fails():
        raise KeyError("signal")

    asked = {"same": lambda: 1, "other": lambda: 2, "fails": fails}
    counted = damage.outcomes({"same": 1, "other": 1, "fails": 1}, asked)
    assert counted == {"right": 1, "wrong": 2}


def test_killed_and_damaged_runs_end_with_the_same_bits_or_refuse(tmp_path):
    command = [sys.executable, "-m", "benchmarks.damage", "--kills", "2", "--every", "480"]
    command += ["--results", str(tmp_path / "results.md")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    rows = [re.findall(r"[^|]+", line) for line in told.stdout.splitlines() if "|" in line]
    last = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert len(last) == 8  # three parts of a run and of a list, and the head of the table
    for name, row in last.items():
        if "killed" in name:
            tried, _, right, _, wrong = row
            assert (tried, right, wrong) == ("2", "2", "0")
    assert "0 |" in (tmp_path / "results.md").read_text()
