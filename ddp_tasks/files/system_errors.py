"""What the operating system refuses, in words."""

from __future__ import annotations

from pathlib import Path


def refusal_of(error: OSError, place: Path | None) -> str:
    """What the system refused and where; Zarr's errors of writing name no file of their own."""
    where = error.filename or place
    return f"{error.strerror or error}" + (f" ({where})" if where else "")
