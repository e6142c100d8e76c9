import subprocess
import sys
from pathlib import Path

_RUN = """
import sys, pytest, slow_exit
slow_exit.SECONDS = 1
raise SystemExit(pytest.main(["-q", "-p", "slow_exit", "-p", "no:cacheprovider", sys.argv[1]]))
"""

_LEAVES_A_THREAD = """
import threading, time
def waits_for_ever():
    while True:
        time.sleep(0.1)
def test_leaves_a_thread():
    threading.Thread(target=waits_for_ever, daemon={daemon}).start()
"""


def run(folder, daemon):
    file = folder / "test_leaves_a_thread.py"
    file.write_text(_LEAVES_A_THREAD.format(daemon=daemon))
    return subprocess.run(
        [sys.executable, "-c", _RUN, file],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_thread_that_keeps_pytest_from_ending_is_shown_and_fails_the_session(tmp_path):
    done = run(tmp_path, daemon=False)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "in waits_for_ever" in done.stderr


def test_a_session_that_ends_by_itself_keeps_its_status(tmp_path):
    done = run(tmp_path, daemon=True)
    assert (done.returncode, done.stderr) == (0, "")
