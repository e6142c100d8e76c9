"""Refusals by the operating system, in words."""

from __future__ import annotations

from pathlib import Path


def refusal_of(error: OSError, place: Path | None) -> str:
    """What the system refused, and where; ``place`` stands in if the error names no file."""
    where = error.filename or place
    return f"{error.strerror or error}" + (f" ({where})" if where else "")
