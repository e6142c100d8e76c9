"""Parameters of flows as Prefect's form for a custom run shows them: titles and descriptions.

Prefect takes descriptions from docstrings of another style and names of parameters for titles;
what a type says itself goes before both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ddp_tasks.queries.finished_run import FinishedRun, open_finished
from flows.output_folder import Out
from schemas.parameters import RunParameters
from schemas.requests import Opening, RunFile, ZooFile
from schemas.run_files import load_run, load_zoo, with_paths, zoo_with_paths
from schemas.zoo import ZooParameters

#: Of a path in a form.
PLACE = "path on the machine that carries out the flow, or an address such as s3://bucket/folder"


def shown_as(title: str, description: str, ge: float | None = None) -> Any:
    """What the form says of a parameter, and the least value that it takes."""
    return Field(ge=ge, json_schema_extra={"title": title, "description": description})


Run = Annotated[
    RunFile | RunParameters,
    shown_as("Run", "what is analysed: RunFile names a preset or a run file, RunParameters has "
             "all keys of a run file"),
]  # fmt: skip
Zoo = Annotated[
    ZooFile | ZooParameters,
    shown_as("Models", "the list of models: ZooFile names it, ZooParameters has all its keys"),
]
Results = Annotated[
    Out,
    shown_as("Folder for the results", f"{PLACE}; made if it does not exist, continued if it "
             "holds this run"),
]  # fmt: skip
Finished = Annotated[Out, shown_as("Folder of a finished run", PLACE)]
Opened = Annotated[
    Opening, shown_as("Model and images", "how they are opened again; seldom needed for presets")
]


def run_of(asked: RunFile | RunParameters) -> RunParameters:
    """The parameters of a run, from the file that is named.

    Raises
    ------
    RunError
        If there is no such preset or file, or anything in it is refused.
    """
    if isinstance(asked, RunFile):
        return load_run(asked.file, asked.changes)
    return with_paths(asked, Path.cwd())


def zoo_of(asked: ZooFile | ZooParameters) -> ZooParameters:
    """The list of models, from the file that is named.

    Raises
    ------
    RunError
        If there is no such list, or anything in it is refused.
    """
    if isinstance(asked, ZooFile):
        return load_zoo(asked.file, asked.changes)
    return zoo_with_paths(asked, Path.cwd())


def finished_of(out: Path, opening: Opening) -> FinishedRun:
    """A finished run, opened as a person asks.

    Raises
    ------
    RunError
        As in ``open_finished``.
    """
    finished = open_finished(out, opening.changes, trust=opening.trust, run_file=opening.run_file)
    return finished if opening.cluster is None else finished.on_cluster(opening.cluster)
