"""The lock of a run's folder, against other processes."""

import json
import os
import subprocess
import sys

import pytest

from ddp_tasks.store import run_lock
from schemas.parameters import RunError

_HOLDER = """
import sys, time
from pathlib import Path
from ddp_tasks.store.run_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_by_the_name_of_the_first(holder, tmp_path):
    with pytest.raises(RunError, match=rf"process {holder.pid} on {os.uname().nodename}"):
        run_lock.held(tmp_path).__enter__()
    assert json.loads((tmp_path / run_lock.NAME).read_text())["pid"] == holder.pid


def test_the_lock_goes_with_its_process_even_when_that_is_killed(holder, tmp_path):
    holder.kill()
    holder.wait()
    with run_lock.held(tmp_path):
        assert json.loads((tmp_path / run_lock.NAME).read_text())["pid"] == os.getpid()


def test_nothing_is_left_behind_and_the_folder_is_free_again(tmp_path):
    for _ in range(2):
        with run_lock.held(tmp_path):
            assert [file.name for file in tmp_path.iterdir()] == [run_lock.NAME]
            with pytest.raises(RunError, match="in use by another run"):
                run_lock.held(tmp_path).__enter__()
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), run_lock.held(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_two_folders_do_not_disturb_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with run_lock.held(tmp_path / "a"), run_lock.held(tmp_path / "b"):
        pass


def test_a_folder_that_cannot_be_locked_is_warned_of(tmp_path):
    # A folder in the place of the lock's file stands for a file system that refuses it.
    (tmp_path / run_lock.NAME).mkdir()
    with pytest.warns(UserWarning, match="cannot be locked"), run_lock.held(tmp_path):
        pass
