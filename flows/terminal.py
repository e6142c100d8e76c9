"""What a terminal shows of a run: names as text, and what goes wrong once, at the end.

Prefect and Dask tell of each error where it comes up, with its traceback, and again wherever it
passes. Prefect's server keeps all of that; the terminal gets the sentence that the command ends
with.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import typer

#: How Prefect tells that a task or flow has failed, beside the error itself.
_FAILED = re.compile(r"Finished in state (Failed|Crashed)|Crash detected!")

#: How Dask's workers tell of tasks that failed, or that a run which ends no longer wants.
_OF_TASKS = ("Compute Failed", "Async instruction for")

_LONGEST_LINE = 10_000


def say(text: object, *, err: bool = False) -> None:
    """Print lines in which nothing acts on the terminal, whatever names they hold."""
    typer.echo(as_text(str(text)), err=err)


def as_text(lines: str) -> str:
    """Lines with all that is not seen escaped, but for their ends."""
    from schemas.shown import shown  # not before signals are watched: see ``flows.cli``

    return "\n".join(shown(line, _LONGEST_LINE) for line in lines.split("\n"))


def quiet_errors() -> None:
    """Have the log that Prefect shows in the terminal leave out errors that end the command."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler) and _ends_no_command not in handler.filters:
            handler.addFilter(_ends_no_command)
            handler.setFormatter(_AsText(handler.formatter))


def dask_setup(_worker: Any) -> None:
    """Called by Dask in each worker that loads this module as a preload."""
    # Whoever asked for the task is told of its error, and the worker's terminal is ours.
    for name in ("distributed.worker", "distributed.worker.state_machine"):
        logging.getLogger(name).addFilter(lambda record: not str(record.msg).startswith(_OF_TASKS))


def _ends_no_command(record: logging.LogRecord) -> bool:
    with_traceback = record.levelno >= logging.ERROR and record.exc_info
    return not with_traceback and not _FAILED.match(record.getMessage())


class _AsText(logging.Formatter):
    """Formats as another does, and escapes what is not seen."""

    def __init__(self, other: logging.Formatter | None) -> None:
        super().__init__()
        self._other = other or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return as_text(self._other.format(record))
