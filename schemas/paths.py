"""Paths as people write them; a path that no file can have is refused."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.object_paths import SCHEMES, path_of
from schemas.run_error import RunError
from schemas.shown import shown

_KIND = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
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
        If it is empty, holds a NUL byte, is longer than file systems allow, begins with the home
        folder of an unknown user, or is an address of another kind than ``object_paths`` reads.
    """
    prefix, written = (f"{key}: " if key else ""), shown(repr(str(text)))
    if not str(text):
        raise RunError(f"{prefix}a path is empty")
    if "\0" in str(text):
        raise RunError(f"{prefix}{written} holds a NUL byte, which no path may hold")
    if (kind := _KIND.match(str(text))) is not None:
        _check_address(str(text), kind[1], f"{prefix}{written}")
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


def _check_address(address: str, kind: str, written: str) -> None:
    bucket, *names = address.partition("://")[2].lstrip("/").split("/")
    if kind not in SCHEMES:
        raise RunError(
            f"{written} is no path, and of addresses s3://BUCKET/FOLDER and gs://BUCKET/FOLDER "
            "are allowed"
        )
    if "@" in bucket:
        raise RunError(
            f"{kind}://...@{shown(bucket.rpartition('@')[2])}: an address holds no credentials, "
            "which come from the environment"
        )
    if not {".", ".."}.isdisjoint(names) or not address.isprintable():
        raise RunError(f"{written}: names in an address may not be . or .., nor unprintable")


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
