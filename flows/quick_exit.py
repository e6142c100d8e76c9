"""Processes that end at once and without a word: no last search for garbage, no farewells."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from typing import Any


def quick_exit() -> None:
    """Have this process leave its objects to the system when it ends.

    Python looks through them all for cycles first. With what torch, HyperNetX and HoloViews make
    that takes so long that a person waits for the prompt, and that Dask, which grants its workers
    four seconds, kills them with a warning.
    """
    atexit.register(gc.freeze)


def leave(code: object) -> None:
    """End the process with a status, as ``SystemExit`` would.

    Where Prefect is loaded, without its last tries to reach a server that has ended by now.
    """
    if "prefect" not in sys.modules or not isinstance(code, int | None):
        raise SystemExit(code)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def quiet_tracker() -> None:
    """Have Python's tracker of semaphores, which outlives a killed process, clear up silently.

    To be called before the first process is spawned.
    """
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each worker that loads this module as a preload."""
    quick_exit()
    logging.getLogger("distributed.worker").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the flow does not say it: it says what failed in a task, with the item's name.

    Workers of a flow that was killed end with it; that each lost it is no news either.
    """
    if record.exc_info and isinstance(record.exc_info[1], OSError):
        return False
    return not record.getMessage().startswith("Compute Failed")
