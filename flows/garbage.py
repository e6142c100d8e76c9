"""No search for garbage while libraries are imported: what they make stays, and is much."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Have Python look for no cycles in this context, and later not among what it made.

    Each search goes through all objects that there are so far. Without them, importing a run's
    libraries takes a fifth less processor time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
