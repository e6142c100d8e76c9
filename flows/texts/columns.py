"""Tables as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.shown import shown

_LONGEST_CELL, _LONGEST_LAST_CELL = 100, 1000


def columns(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    longest = [*(_LONGEST_CELL for _ in header[1:]), _LONGEST_LAST_CELL]
    table = [
        tuple(shown(str(cell), most) for cell, most in zip(row, longest, strict=True))
        for row in (header, *rows)
    ]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
