"""Ends pytest's process with its own status, and soon, whatever a test has left in it.

Python waits at its end for threads that are no daemons, for as long as they take, and then takes
apart what is loaded, which needs a minute on a busy machine once Prefect and torch are.
"""

import atexit
import faulthandler
import os
import sys
import threading

import pytest

#: For threads and what is registered to run at the end; then all threads are shown, status 1.
SECONDS = 60

_status = 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus):
    global _status  # noqa: PLW0603 - pytest tells it here alone
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    sys.stdout.flush()
    sys.stderr.flush()
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status)
