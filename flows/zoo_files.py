"""The files of a list of models, looked at before anything is started.

Little is imported here, so that a list is refused at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from flows.output_folder import check_places, output_folder
from schemas.run_error import RunError
from schemas.shown import shown
from schemas.zoo import ZooParameters

#: Most checkpoints that a message names.
_SHOWN = 4


def check_zoo_files(zoo: ZooParameters, out: Path) -> str:
    """Which checkpoints of a list cannot be read, in a sentence; empty if all can.

    Raises
    ------
    RunError
        If the folder cannot hold the results, or none of the models can be opened.
    """
    check_places(output_folder(out), folders=("capacity.zarr",), files=("capacity.html",))
    files = [model.parameters.weights_file for model in zoo.models]
    missing = [file for file in files if file is not None and not _is_readable(file)]
    if not missing:
        return ""
    names = ", ".join(shown(repr(str(file))) for file in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    if len(missing) == len(files):
        raise RunError(
            f"none of the {len(files)} checkpoints of {zoo.name} can be read: {names}{more}; "
            "folder names where they are",
            change=("folder",),
        )
    return (
        f"{len(missing)} of {len(files)} models have no checkpoint that can be read, and fail: "
        f"{names}{more}"
    )


def _is_readable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK)
