"""Paths as people write them; a path that no file can have is refused."""

from __future__ import annotations

from pathlib import Path

from schemas.object_paths import path_of
from schemas.run_error import RunError
from schemas.shown import shown

_MOST_BYTES, _MOST_BYTES_OF_A_NAME = 4095, 255


def expanded(text: str | Path, key: str = "") -> Path:
    """A path with ``~`` written out.

    Parameters
    ----------
    key
        name of the path in refusals.

    Raises
    ------
    RunError
        If it is empty, holds a NUL byte, is longer than file systems allow, or begins with the
        home folder of an unknown user.
    """
    prefix, written = (f"{key}: " if key else ""), shown(repr(str(text)))
    if not str(text):
        raise RunError(f"{prefix}a path is empty")
    if "\0" in str(text):
        raise RunError(f"{prefix}{written} holds a NUL byte, which no path may hold")
    try:
        path = path_of(text).expanduser()
    except RuntimeError:
        raise RunError(f"{prefix}{written}: there is no home folder of that name") from None
    longest = max((len(_bytes(part)) for part in path.parts), default=0)
    if longest > _MOST_BYTES_OF_A_NAME or len(_bytes(str(path))) > _MOST_BYTES:
        raise RunError(
            f"{prefix}{written} is too long: {_MOST_BYTES_OF_A_NAME} bytes for each name and "
            f"{_MOST_BYTES:,} in all are allowed"
        )
    return path


def check_store(path: Path) -> None:
    """Refuse a path where no Zarr store is, which takes one look at the disk.

    Raises
    ------
    RunError
        If the metadata of its root group is not there.
    """
    if not (path / "zarr.json").is_file():
        raise RunError(f"{path} is not a Zarr store: there is no {path / 'zarr.json'}")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
