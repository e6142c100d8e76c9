"""What a process keeps of memory that it has freed."""

import os
import subprocess
import sys

import pytest

#: Arrays are freed below a small one that stays, twice: glibc has seen the size the second time.
CODE = """
import numpy as np, psutil
from flows.freed_memory import give_back
if {called}:
    give_back()
small = []
for _ in range(3):
    arrays = [np.ones(3 << 20) for _ in range(6)]
    small.append(np.ones(1 << 16))
    before = psutil.Process().memory_info().rss
    del arrays
print((before - psutil.Process().memory_info().rss) / 2**20)
"""


def _given_back(called):
    # Local clusters leave settings for their workers' memory in the environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", CODE.format(called=called)]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_arrays_that_are_freed_go_back_to_the_system():
    assert _given_back(called=False) < 72
    assert _given_back(called=True) > 136  # of 6 arrays of 24 MiB
