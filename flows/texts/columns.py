"""Tables as lines of text."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.shown import shown

_LONGEST_CELL, _LONGEST_LAST_CELL = 100, 1000
#: Wider than any table: a terminal wraps lines itself, and a file keeps them whole.
_WIDTH = 100_000


def columns(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    longest = [*(_LONGEST_CELL for _ in header[1:]), _LONGEST_LAST_CELL]
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in header:
        table.add_column(Text(name), no_wrap=True)
    for row in rows:
        cells = zip(row, longest, strict=True)
        table.add_row(*(Text(shown(str(cell), most)) for cell, most in cells))
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]
