"""Refusals as the command line shows them: with options in place of keys and arguments."""

from __future__ import annotations

import tempfile
import traceback

from schemas.run_error import RunError
from schemas.shown import error_shown, shown

#: Options of the commands, by the names of the arguments that they set.
_OPTIONS = {"out": "--out", "overrides": "--set", "vectors": "--vectors"}


_LONGEST_LINE, _MOST_LINES = 2000, 30


def refusal_text(error: RunError) -> str:
    """A refusal as the terminal shows it, with the options that change the refused values."""
    argument, colon, rest = str(error).partition(": ")
    message = f"{_OPTIONS[argument]} {rest}" if colon and argument in _OPTIONS else str(error)
    # Names and errors may hold characters that control the terminal.
    lines = [shown(line, _LONGEST_LINE) for line in message.splitlines()]
    if (more := len(lines) - _MOST_LINES) > 0:
        lines = [*lines[:_MOST_LINES], f"  and {more:,} more lines"]
    changes = dict.fromkeys(_change(key) for key in error.change)
    return "\n".join([*lines, *(f"  {change}" for change in changes)])


def unexpected_text(error: Exception) -> str:
    """One line about an unexpected error, whose traceback goes to a log file."""
    reason = error_shown(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ddp-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as log:
            log.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"unexpected error, {reason}"
    return f"unexpected error, {reason}; the traceback is in {log.name}"


def _change(key: str) -> str:
    if key == "trust":
        return "name your run file with --run RUN, or trust the store with --trust"
    if key == "run":
        return "name your run file with --run RUN"
    if key in _OPTIONS:
        return f"choose another with {_OPTIONS[key]}"
    return f"change it with --set {key}=VALUE"
