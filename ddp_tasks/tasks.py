"""What the stages of a run share as Prefect tasks: how they are named and show progress.

Every stage reads its inputs from the store and writes its outputs there, so tasks pass paths
and parameters, never arrays; and every stage may run twice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, cast
from uuid import UUID

from distributed import Client
from prefect import Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddp_tasks.bounded_futures import results
from schemas.parameters import RunParameters

_SECONDS_BETWEEN_UPDATES = 2.0

#: Attempts after the first that an item gets on the workers.
_RETRIES = 1

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")


def stage(name: str) -> Callable[[Callable[Arguments, Result]], Task[Arguments, Result]]:
    """A Prefect task that is never looked up in a cache: the store itself knows what is done."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)


@contextmanager
def progress(key: str, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a stage is, as a bar in the terminal and as an artifact in Prefect.

    Yields a function that is told the number of items just finished.
    """
    artifact = cast("UUID", create_progress_artifact(0.0, key=key, description=description))
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    finished, shown = 0, time.monotonic()

    def advance(items: int) -> None:
        nonlocal finished, shown
        finished += items
        bar.update(line, completed=finished)
        if time.monotonic() - shown > _SECONDS_BETWEEN_UPDATES:
            shown = time.monotonic()
            update_progress_artifact(artifact, progress=100 * finished / total)
            if bar.disable:
                get_run_logger().info("%s: %d of %d", description, finished, total)

    with bar:
        line = bar.add_task(description, total=total)
        yield advance
    update_progress_artifact(artifact, progress=100 * finished / total if total else 100.0)


def on_workers(
    run: RunParameters,
    scheduler: str,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    key: str,
    description: str,
) -> Iterator[tuple[Item, Result]]:
    """What a function finds of each item on the Dask workers, in order of completion.

    Parameters
    ----------
    key, description
        as of ``progress``.
    """
    with (
        Client(scheduler, set_as_default=False) as client,
        progress(key, description, len(items)) as done,
    ):
        for item, found in results(
            client, function, items, retries=_RETRIES, patience=run.shards.patience
        ):
            yield item, found
            done(1)
