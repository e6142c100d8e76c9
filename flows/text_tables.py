"""Tables as lines of text."""

from __future__ import annotations

from collections.abc import Sequence


def columns(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    table = [header, *[tuple(map(str, row)) for row in rows]]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
