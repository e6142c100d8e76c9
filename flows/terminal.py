"""Output of a run in the terminal: escaped names, and each error once, at the end.

Prefect and Dask log each error where it occurs, with its traceback, and again wherever it passes.
Prefect's server keeps all of that; the terminal gets one sentence when the command ends.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

#: Prefect's messages that a task or flow has failed, besides the error itself.
_FAILED = re.compile(r"Finished in state (Failed|Crashed)|Crash detected!")

#: Messages of Dask's workers about tasks that failed or were cancelled at the end of a run.
_OF_TASKS = ("Compute Failed", "Async instruction for")

_LONGEST_LINE = 10_000

_SECONDS_BETWEEN_LINES = 5.0


def say(text: object, *, err: bool = False) -> None:
    """Print lines, with characters that control the terminal escaped."""
    typer.echo(as_text(str(text)), err=err)


def as_text(lines: str) -> str:
    """Lines with invisible characters escaped, except line breaks."""
    from schemas.shown import shown  # not before signals are watched: see ``flows.cli``

    return "\n".join(shown(line, _LONGEST_LINE) for line in lines.split("\n"))


@contextmanager
def counted(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of some things are done: a bar, or where there is no terminal, some lines.

    Yields a function to call with the number that is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    bar = Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    )
    told = time.monotonic()

    def done(number: int) -> None:
        nonlocal told
        bar.update(line, completed=number)
        if bar.disable and time.monotonic() - told > _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            say(f"{description}: {number:,} of {total:,}", err=True)

    with bar:
        line = bar.add_task(as_text(description), total=total)
        yield done


def quiet_errors() -> None:
    """Keep errors that end the command out of Prefect's log in the terminal."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler) and _ends_no_command not in handler.filters:
            handler.addFilter(_ends_no_command)
            handler.setFormatter(_AsText(handler.formatter))


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each worker that loads this module as a preload."""
    # The flow gets the errors of its tasks, and shares the terminal with its workers.
    for name in ("distributed.worker", "distributed.worker.state_machine"):
        logging.getLogger(name).addFilter(lambda record: not str(record.msg).startswith(_OF_TASKS))


def _ends_no_command(record: logging.LogRecord) -> bool:
    with_traceback = record.levelno >= logging.ERROR and record.exc_info
    return not with_traceback and not _FAILED.match(record.getMessage())


class _AsText(logging.Formatter):
    """Formats like another formatter, and escapes invisible characters."""

    def __init__(self, other: logging.Formatter | None) -> None:
        super().__init__()
        self._other = other or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return as_text(self._other.format(record))
