"""What of a flow's log the terminal shows: not the failure that the command's last line says."""

from __future__ import annotations

import logging

from prefect.logging.handlers import PrefectConsoleHandler

_RUNS = ("prefect.flow_runs", "prefect.task_runs")


def say_failures_once() -> None:
    """Leave failures of runs, and their tracebacks, to whoever catches the error.

    Prefect logs each twice for a task and twice for its flow. Its server keeps them all.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_is_no_failure)


def _is_no_failure(record: logging.LogRecord) -> bool:
    if not record.name.startswith(_RUNS):
        return True
    return not record.exc_info and not record.getMessage().startswith("Finished in state Failed")
