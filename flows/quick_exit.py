"""Ending processes at once and silently: no last garbage collection, no closing messages."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from typing import Any


def quick_exit() -> None:
    """Skip the last garbage collection when this process ends.

    With the many objects of torch, HyperNetX and HoloViews it takes so long that a person waits
    for the prompt, and that Dask, which waits four seconds for its workers, kills them with a
    warning.
    """
    atexit.register(gc.freeze)


def leave(code: object) -> None:
    """End the process with a status, as ``SystemExit`` would.

    If Prefect is loaded, skip its last attempts to reach a server that has already ended.
    """
    if "prefect" not in sys.modules or not isinstance(code, int | None):
        raise SystemExit(code)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def quiet_tracker() -> None:
    """Let Python's semaphore tracker, which outlives a killed process, clean up silently.

    Must be called before the first process is spawned.
    """
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each worker that loads this module as a preload."""
    quick_exit()
    logging.getLogger("distributed.worker").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of a worker's log says something that the flow does not say.

    The flow reports errors of tasks itself, with the item's name. Workers lose their connection
    when their flow is killed; that is not worth a line from each either.
    """
    if record.exc_info and isinstance(record.exc_info[1], OSError):
        return False
    return not record.getMessage().startswith("Compute Failed")
