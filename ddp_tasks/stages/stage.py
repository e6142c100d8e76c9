"""Parts that all stages share: Prefect tasks, progress, and the way to the workers.

Every stage reads its inputs from the store and writes its outputs there, so tasks pass paths
and parameters, never arrays. Every stage may run twice.
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
    """Make a function a Prefect task without a cache: the store knows which work is done.

    An ``OSError``, such as that of a full disk, becomes a ``RunError`` that names stage, cause and
    place.
    """

    def of(function: Callable[Arguments, Result]) -> Task[Arguments, Result]:
        @wraps(function)
        def refusing(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            try:
                return function(*args, **kwargs)
            except OSError as error:
                place = next((argument for argument in args if isinstance(argument, Path)), None)
                raise RunError(f"{name}: {refusal_of(error, place)}") from error

        return task(name=name, cache_policy=NO_CACHE, persist_result=False)(refusing)

    return of


@contextmanager
def progress(key: str, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of a stage, as a bar in the terminal and as an artifact in Prefect.

    Yields a function to call with the number of items just finished.
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
    finished, updated, logged = 0, time.monotonic(), time.monotonic()

    def advance(items: int) -> None:
        nonlocal finished, updated, logged
        finished += items
        bar.update(line, completed=finished)
        now = time.monotonic()
        if now - updated > _SECONDS_BETWEEN_UPDATES:
            updated = now
            shown_in_prefect.show(100 * finished / total)
        if bar.disable and now - logged > _SECONDS_BETWEEN_LINES:
            logged = now
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
    """Maps functions over the Dask workers for one stage, and shows its progress.

    Parameters
    ----------
    key, description, total
        as in ``progress``.
    patience, size, named
        as in ``OverWorkers``.

    Raises
    ------
    ClusterLostError
        If no scheduler answers at the address; when mapping, also as in ``OverWorkers.outcomes``.
    """
    with connected(scheduler) as client, progress(key, description, total) as advance:
        yield OverWorkers(client, patience, advance, size, named)
