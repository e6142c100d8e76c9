"""The folder for the results of a run, refused if it cannot hold them."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from schemas import object_paths
from schemas.object_paths import ObjectPath
from schemas.paths import expanded
from schemas.run_error import RunError
from schemas.shown import shown

#: Names in the folder that a run or a list of models writes to.
_PLACES = (
    "store.zarr",
    "store.zarr.part",
    "hypergraphs",
    "capacity.zarr",
    "capacity.zarr.part",
    "run.lock",
    "capacity.lock",
)


#: A folder, or an address in an object store, as a flow's parameter.
Out = Annotated[Path, BeforeValidator(object_paths.path_of)]


@dataclass(frozen=True)
class RunFiles:
    """Paths of a run's results in its folder."""

    store: Path
    report: Path
    hypergraphs: Path
    """folder of the HIF files."""
    checkpoint: Path
    """checkpoint of a network that the run trains."""

    @classmethod
    def of(cls, out: Path) -> RunFiles:
        """The paths in a folder that exists or can be made.

        Raises
        ------
        RunError
            As in ``output_folder``; also if one of the paths is something of another kind.
        """
        out = output_folder(out)
        names = ("store.zarr", "report.html", "hypergraphs", "checkpoint.pt")
        check_places(out, folders=(names[0], names[2]), files=(names[1], names[3]))
        return cls(*(out / name for name in names))


def output_folder(out: Path) -> Path:
    """The absolute path of a folder that exists or can be made, or an address that answers.

    Raises
    ------
    RunError
        If there is no bucket, no credentials or no answer at an address, within seconds; if the
        path or one above it is a file, if the folder is not writable, if readers of the
        store would take its name for an address, or if links in it lead elsewhere.
    """
    written = f"out: {shown(repr(str(out)))}"
    if isinstance(address := expanded(out, "out"), ObjectPath):
        _refuse_closed(address)
        return address
    path = Path(os.path.realpath(address))
    if "::" in str(path):
        # xarray.open_zarr("a::b") asks fsspec for the file system a over b.
        problem = "holds '::', which readers of Zarr stores take for a chain of addresses"
        raise RunError(f"{written} {problem}", change=("out",))
    place = path
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        above = "" if place == path else f": {place}"
        raise RunError(f"{written}{above} is a file, not a folder", change=("out",))
    if not _is_writable(place):
        raise RunError(f"{written}: no permission to write to {place}", change=("out",))
    for name in _PLACES:
        if (path / name).is_symlink():
            raise RunError(
                f"{written}: {path / name} is a link, and results go only into their own folder; "
                "remove it, or name the folder that it leads to",
                change=("out",),
            )
    return path


def check_places(out: Path, *, folders: Sequence[str], files: Sequence[str]) -> None:
    """Refuse a folder in which a result's name belongs to something of another kind.

    Raises
    ------
    RunError
        If there is one; the message names it.
    """
    for name in (*folders, *files):
        place = out / name
        if not place.is_symlink() and not place.exists():
            continue
        wanted = "folder" if name in folders else "file"
        if not (place.is_dir() if wanted == "folder" else place.is_file()):
            raise RunError(f"out: {place} is not a {wanted}; move it away", change=("out",))


def _refuse_closed(address: ObjectPath) -> None:
    try:
        address.answers()
    except OSError as error:
        raise RunError(
            f"out: {shown(str(address))}: {shown(str(error.strerror), 300)}", change=("out",)
        ) from None


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; its permissions alone do not show that."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        Path(tempfile.mkdtemp(prefix=".ddp-", dir=folder)).rmdir()
    except OSError as error:
        return error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        )  # a full disk is reported later
    return True


def made_folder(out: Path) -> Path:
    """The same as ``output_folder``, but make the folder if it does not exist."""
    path = output_folder(out)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"out: {shown(repr(str(out)))} cannot be made: {error.strerror}", change=("out",)
        ) from None
    return path
