"""Values that are the same in a run file, in a store and in a worker: those that JSON has."""

from __future__ import annotations

import math
from typing import Any

from schemas.shown import shown


def plain(value: Any, key: str = "") -> Any:
    """Check that a value is text, a truth value, a finite number or null, or lists and mappings.

    A run's parameters reach its workers and its store as JSON. A value that JSON changes, such as a
    number as a key, would differ between them.

    Parameters
    ----------
    key
        name of the value in refusals.

    Returns
    -------
    the value, tuples as lists

    Raises
    ------
    ValueError
        If a value is of another kind; the message names the first one.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, f"{key}.{place}") for place, item in enumerate(value)]
    if isinstance(value, dict):
        if other := next((name for name in value if not isinstance(name, str)), None):
            raise ValueError(f"{key}: the key {other!r} is not text")
        return {name: plain(item, f"{key}.{name}" if key else name) for name, item in value.items()}
    raise ValueError(
        f"{key}: {shown(repr(value))} is neither text, a finite number, true, false or null, nor "
        "a list or mapping of these"
    )
