"""Imported in the process that local workers are forked from: all that they will need.

See ``flows.worker_processes``, which names the modules in an environment variable, since
``multiprocessing`` passes nothing else on.
"""

from __future__ import annotations

import importlib
import os
from contextlib import suppress

from flows import garbage

#: Names the modules, separated by blanks.
VARIABLE = "DDP_WORKER_LIBRARIES"


def load(modules: str) -> None:
    """Import modules; what cannot be imported is for the workers that need it to report."""
    with garbage.paused():
        for module in modules.split():
            with suppress(ImportError):
                importlib.import_module(module)


if modules := os.environ.get(VARIABLE):
    load(modules)
