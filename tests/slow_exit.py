"""Ends pytest's process where a thread that a test has left would keep it from ending.

Python waits at its end for threads that are no daemons, for as long as they take.
"""

import faulthandler
import sys

import pytest

#: After the session's last line; then all threads are shown, and the status is 1.
SECONDS = 60


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    sys.stdout.flush()
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
