"""What the stages of a run share as Prefect tasks: how they are named and show progress.

Every stage reads its inputs from the store and writes its outputs there, so tasks pass paths
and parameters, never arrays; and every stage may run twice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddp_tasks.files.system_errors import refusal_of
from ddp_tasks.stages.artifacts import ProgressBar
from ddp_tasks.stages.bounded_futures import OverWorkers, connected
from schemas.parameters import RunError
from schemas.shown import shown

_SECONDS_BETWEEN_UPDATES = 2.0
_SECONDS_BETWEEN_LINES = 20.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def stage(name: str) -> Callable[[Callable[Arguments, Result]], Task[Arguments, Result]]:
    """A Prefect task that is never looked up in a cache: the store itself knows what is done.

    What the system refuses it, such as room on a full disk, is a ``RunError`` that names stage,
    cause and place.
    """

    def of(function: Callable[Arguments, Result]) -> Task[Arguments, Result]:
        @wraps(function)
        def told(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            try:
                return function(*args, **kwargs)
            except OSError as error:
                place = next((one for one in args if isinstance(one, Path)), None)
                raise RunError(f"{name}: {refusal_of(error, place)}") from error

        return task(name=name, cache_policy=NO_CACHE, persist_result=False)(told)

    return of


@contextmanager
def progress(key: str, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a stage is, as a bar in the terminal and as an artifact in Prefect.

    Yields a function that is told the number of items just finished.
    """
    shown_in_prefect = ProgressBar(key, description)
    description = shown(description)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    finished, updated, told = 0, time.monotonic(), time.monotonic()

    def advance(items: int) -> None:
        nonlocal finished, updated, told
        finished += items
        bar.update(line, completed=finished)
        now = time.monotonic()
        if now - updated > _SECONDS_BETWEEN_UPDATES:
            updated = now
            shown_in_prefect.show(100 * finished / total)
        if bar.disable and now - told > _SECONDS_BETWEEN_LINES:
            told = now
            get_run_logger().info("%s: %d of %d", description, finished, total)

    with bar:
        line = bar.add_task(description, total=total)
        yield advance
    shown_in_prefect.show(100 * finished / total if total else 100.0)


@contextmanager
def over_workers(
    scheduler: str,
    patience: float | None,
    *,
    key: str,
    description: str,
    total: int,
    size: Callable[[Any], int] = lambda _: 1,
    named: Callable[[Any], str] = str,
) -> Iterator[OverWorkers]:
    """What maps functions over the Dask workers for one stage, and shows how far the stage is.

    Parameters
    ----------
    key, description, total
        as of ``progress``.
    patience, size, named
        as of ``OverWorkers``.

    Raises
    ------
    ClusterLostError
        If no scheduler answers at the address; when mapping, also as ``OverWorkers.outcomes``.
    """
    with connected(scheduler) as client, progress(key, description, total) as advance:
        yield OverWorkers(client, patience, advance, size, named)
