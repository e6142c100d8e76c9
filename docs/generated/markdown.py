"""Markdown of generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def escaped(text: str) -> str:
    """Text that Markdown shows as it stands, on one line; what stands in backticks stays code."""
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", " ".join(text.split()))
    return "".join(
        piece.replace("``", "`").replace("|", r"\|")
        if piece.startswith("`")
        else re.sub(r"([\\*_\[\]<>|#${}])", r"\\\1", piece)
        for piece in pieces
    )


def code(text: str) -> str:
    """A name, a path or a value; a bar does not end the cell that it stands in."""
    return f"`{text}`".replace("|", r"\|") if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
