"""Signals end a process soon, with one line, and what it started ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

#: What a command does when the signal comes; each starts a process of its own first.
_AT_WORK = """
import hashlib, signal, subprocess, sys, time
from flows import stopping
stopping.watch()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def told():
    return "; 3 of 4 shards are written"
with stopping.described_by(told), stopping.closed_by(lambda name: time.sleep(600)):
    {before}
    print(child.pid, flush=True)
    {work}
"""

_WORK = {
    "python": "while True: pass",
    "waiting": "time.sleep(600)",
    "compiled code": "hashlib.pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)",
    "bearing exceptions": """while True:
        try: time.sleep(600)
        except BaseException: pass""",
}

#: As Prefect does while a flow runs.
_OTHER_HANDLER = "signal.signal(signal.SIGTERM, lambda *_: None)"


@pytest.fixture
def started():
    """Starts Python code in a process of its own; it is gone after the test."""
    processes = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def assert_gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("work", _WORK.values(), ids=_WORK)
@pytest.mark.parametrize(
    ("number", "name", "before"),
    [
        (signal.SIGINT, "Ctrl-C", "pass"),
        (signal.SIGTERM, "SIGTERM", "pass"),
        (signal.SIGTERM, "SIGTERM", _OTHER_HANDLER),
    ],
)
def test_a_signal_ends_the_process_with_one_line_and_its_children(
    started, work, number, name, before
):
    process = started(_AT_WORK.format(before=before, work=work))
    child = int(process.stdout.readline())
    process.send_signal(number)
    begun = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert process.returncode == 128 + number
    assert said == f"ddp: stopped by {name}; 3 of 4 shards are written\n"
    assert_gone(child)


def test_a_second_signal_ends_it_at_once(started):
    process = started(_AT_WORK.format(before="pass", work="time.sleep(600)"))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.8)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - begun < 1
    assert (process.returncode, said) == (130, "ddp: stopped by Ctrl-C\n")


_SERVES = """
from flows.prefect_server import TemporaryServer
server = TemporaryServer()
print(server._process.pid, flush=True)
print(server.await_url(), flush=True)
import time
time.sleep(600)
"""


@pytest.mark.parametrize("when", ["starting", "serving"])
def test_the_temporary_server_ends_when_its_run_is_killed(started, when):
    process = started(_SERVES)
    server = int(process.stdout.readline())
    if when == "serving":
        assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.kill()
    assert_gone(server)


def test_a_temporary_server_without_a_place_for_its_data_is_said(tmp_path):
    (tmp_path / "home").touch()
    code = """
from flows.prefect_server import TemporaryServer
TemporaryServer().await_url()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "unable to open database file. It keeps its data in" in done.stderr
    assert f"{tmp_path}/home; set PREFECT_HOME to use another folder" in done.stderr
