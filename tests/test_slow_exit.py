"""The tests' process ends with pytest's status, or shows what keeps it from ending."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys, pytest, slow_exit
slow_exit.SECONDS = {seconds}
raise SystemExit(pytest.main(["-q", "-p", "slow_exit", "-p", "no:cacheprovider", sys.argv[1]]))
"""

_LEAVES_A_THREAD = """
import atexit, threading, time
def waits_for_ever():
    while True:
        time.sleep(0.1)
def test_leaves_a_thread():
    atexit.register(print, "at the end")
    threading.Thread(target=waits_for_ever, daemon={daemon}).start()
    assert {passes}
"""


def run(folder, seconds, **test):
    file = folder / "test_leaves_a_thread.py"
    file.write_text(_LEAVES_A_THREAD.format(**{"daemon": True, "passes": True, **test}))
    return subprocess.run(
        [sys.executable, "-c", _RUN.format(seconds=seconds), file],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_thread_that_keeps_pytest_from_ending_is_shown_and_fails_the_session(tmp_path):
    done = run(tmp_path, 1, daemon=False)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "in waits_for_ever" in done.stderr


@pytest.mark.parametrize(("passes", "status"), [(True, 0), (False, 1)])
def test_a_session_keeps_its_status_and_what_is_registered_to_run_at_its_end(
    tmp_path, passes, status
):
    done = run(tmp_path, 60, passes=passes)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.endswith("at the end\n")
