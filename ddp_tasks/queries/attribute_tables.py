"""A person's table of image attributes, joined with the images of a run by their ids."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.significance.concepts import Concepts, column_concepts
from schemas.parameters import RunError
from schemas.run_files import nearest
from schemas.shown import error_shown, shown

#: Name of the column that holds the ids.
ID = "id"

#: Ids and columns that a message names.
_NAMED = 5


@dataclass(frozen=True)
class AttributeTable:
    """Columns of attributes, a row for each image of the run."""

    frame: pd.DataFrame
    """in the order of the images; without the column ``id``."""
    notes: tuple[str, ...]
    """sentences on rows that no image of the run has."""

    def concepts(
        self, used: npt.NDArray[np.bool_], choosing: npt.NDArray[np.bool_]
    ) -> tuple[list[Concepts], tuple[str, ...]]:
        """Sets of images that the columns make, and sentences on columns that make none.

        Parameters
        ----------
        used
            shape (image,); images that count.
        choosing
            shape (used image,).

        Raises
        ------
        RunError
            If no column makes a set with enough images in and out of it.
        """
        made, left_out = [], []
        for name in self.frame.columns:
            try:
                sets = column_concepts(name, self.frame[name][used], choosing)
            except ValueError as error:
                left_out.append(f"column {shown(repr(name))} {shown(str(error))}")
                continue
            if len(sets.usable(choosing)):
                made.append(sets)
            else:
                left_out.append(f"column {shown(repr(name))} has no value of enough images")
        notes = (f"Left out: {_some(left_out, '; ')}.",) if left_out else ()
        if not made:
            raise RunError(f"attributes: no column can describe a vector: {_some(left_out, '; ')}")
        return made, notes


def read_attributes(path: Path, ids: Sequence[str], columns: Sequence[str]) -> AttributeTable:
    """Read a table of attributes and join it with a run's images.

    Parameters
    ----------
    path
        of a CSV or Parquet file with a column ``id``.
    ids
        of the images of the run.
    columns
        to keep; all of them if none is named.

    Raises
    ------
    RunError
        If the file cannot be read, has no column ``id`` or no other, lacks a column asked for,
        names an id twice, or has no row for some image of the run.
    """
    table = _read(path)
    table.columns = pd.Index([str(name) for name in table.columns])
    named = shown(repr(str(path)), 200)
    every = [name for name in table.columns if name != ID]
    if ID not in table.columns:
        raise RunError(
            f"attributes: {named} has no column 'id'{nearest(ID, every)}; it has "
            f"{_some(list(map(repr, every)))}"
        )
    if twice := [name for name in every if every.count(name) > 1]:
        raise RunError(f"attributes: {named} has several columns {twice[0]!r}")
    for name in columns:
        if name not in every:
            raise RunError(
                f"attributes: {named} has no column {shown(repr(name))}{nearest(name, every)}; "
                f"columns: {_some(list(map(repr, every)))}"
            )
    if not every:
        raise RunError(f"attributes: {named} has no column beside 'id'")
    table = table.set_index(table[ID].astype(str))[list(columns) or every]
    return AttributeTable(_joined(table, ids, named), _unused(table, ids))


def _joined(table: pd.DataFrame, ids: Sequence[str], named: str) -> pd.DataFrame:
    """The rows of the run's images, in their order."""
    if len(twice := table.index[table.index.duplicated()].unique()):
        raise RunError(
            f"attributes: {named} has {len(twice):,} ids in several rows: "
            f"{_some([repr(i) for i in twice])}"
        )
    if missing := [image for image in ids if image not in table.index]:
        known = set(ids)
        rows = [repr(i) for i in table.index if i not in known]
        others = f"; its ids of no image: {_some(rows)}" if rows else ""
        raise RunError(
            f"attributes: {named} has no row for {len(missing):,} of the run's {len(ids):,} "
            f"images: {_some([repr(i) for i in missing])}{others}. "
            "A row with empty cells says that nothing is known of an image"
        )
    return table.loc[list(ids)]


def _unused(table: pd.DataFrame, ids: Sequence[str]) -> tuple[str, ...]:
    known = set(ids)
    unused = [repr(i) for i in table.index if i not in known]
    if not unused:
        return ()
    rows = "row is of no image" if len(unused) == 1 else "rows are of no image"
    return (f"{len(unused):,} {rows} of the run: {_some(unused)}.",)


def _read(path: Path) -> pd.DataFrame:
    file, named = path.expanduser(), shown(repr(str(path)), 200)
    if file.suffix not in (".csv", ".parquet"):
        raise RunError(f"attributes: {named}: the ending must be .csv or .parquet")
    if not file.is_file():
        raise RunError(f"attributes: there is no file {named}")
    if file.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise RunError(
            f"attributes: {named}: Parquet needs pyarrow; pip install 'ddp-flows[parquet]', "
            "or give .csv"
        )
    try:
        # An id is a name: 0007 stays what it is, and so does one that is called NA.
        read = (
            pd.read_csv(file, converters={ID: str}, low_memory=False)
            if file.suffix == ".csv"
            else pd.read_parquet(file)
        )
    except (OSError, ValueError) as error:  # of pandas and pyarrow, unreadable files too
        raise RunError(f"attributes: {named} cannot be read: {error_shown(error)}") from None
    if ID in read.index.names:
        read = read.reset_index()
    if read.empty:
        raise RunError(f"attributes: {named} has no row")
    return read


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first few of some names, and how many more there are."""
    listed = between.join(shown(name) for name in names[:_NAMED])
    left = len(names) - _NAMED
    return f"{listed}{between}and {left:,} more" if left > 0 else listed
