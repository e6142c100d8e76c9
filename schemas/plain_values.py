"""Values that are the same in a run file, in a store and in a worker: those that JSON has."""

from __future__ import annotations

import math
from typing import Any

from schemas.shown import shown


def plain(value: Any, key: str = "") -> Any:
    """A value of text, truth values, whole and finite numbers and null, in lists and mappings.

    A run's parameters reach its workers and its store as JSON. What JSON would hand on changed,
    such as a number as a key, would be one thing here and another there.

    Parameters
    ----------
    key
        names the value in refusals.

    Returns
    -------
    the value, tuples as lists

    Raises
    ------
    ValueError
        Naming the first that is of another kind.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [plain(one, f"{key}.{place}") for place, one in enumerate(value)]
    if isinstance(value, dict):
        if other := next((name for name in value if not isinstance(name, str)), None):
            raise ValueError(f"{key}: the key {other!r} is no text")
        return {name: plain(one, f"{key}.{name}" if key else name) for name, one in value.items()}
    raise ValueError(
        f"{key}: {shown(repr(value))} is neither text, a finite number, true, false or null, nor "
        "a list or mapping of these"
    )
