"""Tables written to files, and files refused before anything is computed for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ddp_tasks.files.whole import may_be_folder, may_write_to, replacing
from schemas.parameters import RunError

_SUFFIXES = (".csv", ".parquet")


def check_file(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be written, before its contents are computed.

    Raises
    ------
    RunError
        If its ending is none of these, its folder is missing or may not be written to, or a
        folder is in its place.
    """
    if not path.name.endswith(tuple(suffixes)):
        raise RunError(f"out: {str(path)!r}: the ending must be {' or '.join(suffixes)}")
    place = path.expanduser()
    if not may_be_folder(place.parent):
        raise RunError(f"out: {str(path)!r}: there is no folder {str(path.parent)!r}")
    if not may_write_to(place.parent):
        raise RunError(f"out: {str(path)!r}: no permission to write to {str(path.parent)!r}")
    if place.is_dir():
        raise RunError(f"out: {str(path)!r} is a folder")


def check_table_file(path: Path, also: Sequence[str] = ()) -> None:
    """Refuse a file that a table cannot be written to, before it is computed.

    Parameters
    ----------
    also
        endings of other files that may be asked for in its place.

    Raises
    ------
    RunError
        If its ending is not .csv, .parquet or one of these, its folder is missing, or Parquet is
        not installed.
    """
    check_file(path, (*_SUFFIXES, *also))
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise RunError(
            f"out: {str(path)!r}: Parquet needs pyarrow; pip install 'ddp-flows[parquet]', "
            "or write .csv"
        )


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, by its ending, whole or not at all.

    Raises
    ------
    RunError
        As ``check_table_file`` does.
    """
    check_table_file(path)
    path = path.expanduser()
    with replacing(path) as file:
        if path.suffix == ".csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)
