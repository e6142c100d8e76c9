"""Processes that end at once: without a last search for garbage among millions of objects."""

from __future__ import annotations

import atexit
import gc
from typing import Any


def quick_exit() -> None:
    """Have this process leave its objects to the system when it ends.

    Python looks through them all for cycles first. With what torch, HyperNetX and HoloViews make
    that takes so long that a person waits for the prompt, and that Dask, which grants its workers
    four seconds, kills them with a warning.
    """
    atexit.register(gc.freeze)


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each worker that loads this module as a preload."""
    quick_exit()
