"""The command ``ddp cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import completion
from flows.commands import Set, path
from flows.terminal import say


def cluster(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CLUSTER",
            help="A cluster file, or anything else that the key cluster of a run takes.",
            autocompletion=completion.clusters,
        ),
    ],
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The run to try: a preset's name or a YAML file.",
            autocompletion=completion.runs,
        ),
    ] = "digits",
    *,
    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            metavar="DIR",
            parser=path,
            help="A folder that all machines see, for what the trial writes and removes; default "
            "the present one.",
            show_default=False,
        ),
    ] = Path(),
    overrides: Set = None,
) -> None:
    """Start a cluster, say what it is, and what a run would cost there.

    Its workers decompose the run's layers and compute a shard each, as they would in the run, three
    times; the first does not count. A cluster that adapts keeps its fewest workers, or one. Nothing
    is kept, and the cluster ends, unless it ran before.
    """
    from rich.console import Console
    from rich.text import Text

    from schemas.object_paths import ObjectPath
    from schemas.run_error import RunError
    from schemas.run_files import load_run

    parameters = load_run(run, overrides or ())
    import shutil
    from tempfile import TemporaryDirectory

    from ddp_tasks.prepared_run import opened_once
    from ddp_tasks.stages.trial import try_cluster
    from flows import stopping
    from flows.agreement import agreed
    from flows.clusters import check_cluster, scheduler, workers_of
    from flows.output_folder import made_folder
    from flows.texts import cluster as cluster_texts

    if isinstance(folder, ObjectPath):
        raise RunError(f"--folder: {folder} is in an object store; a trial writes to a folder")
    check_cluster(source)
    fewest, most = workers_of(source)
    with (
        opened_once(),
        TemporaryDirectory(prefix=".cluster-", dir=made_folder(folder)) as place,
        stopping.closed_by(lambda _: shutil.rmtree(place)),
        Console(stderr=True).status(Text(f"starting {source}")) as status,
        # A worker that is tried must not be retired.
        scheduler(source, adapts=False) as address,
        agreed(source, address, Path(place).resolve()),
    ):

        def doing(what: str) -> None:
            status.update(Text(f"{source}: {what}"))

        trial = try_cluster(parameters, Path(place).resolve(), address, fewest, doing)
    say(cluster_texts.lines(source, parameters, trial, most))
