import signal
import subprocess
import sys

import pytest


def test_a_process_ends_without_looking_through_its_objects():
    # What is registered first is called last.
    code = """
import atexit, gc
from flows.quick_exit import dask_setup
atexit.register(lambda: print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 100))
print(gc.get_freeze_count() > 1000)
dask_setup(None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


_KILLED = """
import multiprocessing, os, signal
{before}
context = multiprocessing.get_context("spawn")
queue = context.Queue()
os.kill(os.getpid(), signal.SIGKILL)
"""

_QUIET = "from flows.quick_exit import quiet_tracker; quiet_tracker()"


@pytest.mark.parametrize(("before", "warned"), [("", True), (_QUIET, False)])
def test_what_outlives_a_killed_process_clears_up_silently(before, warned):
    code = _KILLED.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert ("leaked semaphore" in done.stderr) == warned
    assert warned or done.stderr == ""


_LOST = """
import logging, sys
from flows.quick_exit import dask_setup
dask_setup(None)
for error in (ConnectionResetError("by peer"), ValueError("of the network")):
    try:
        raise error
    except Exception:
        logging.getLogger("distributed.worker").exception("something")
logging.getLogger("distributed.worker").error("Compute Failed\\nKey: %s", "fill_shard")
"""


def test_workers_say_nothing_of_a_lost_connection_and_of_what_their_flow_says():
    done = subprocess.run([sys.executable, "-c", _LOST], capture_output=True, text=True, check=True)
    assert "of the network" in done.stderr
    assert "by peer" not in done.stderr
    assert "fill_shard" not in done.stderr
