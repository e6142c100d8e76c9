"""Refusals as the command line shows them: with options in place of keys and arguments."""

from __future__ import annotations

import tempfile
import traceback

from schemas.run_error import RunError
from schemas.shown import error_shown, shown

#: Options of the commands, by the names of the arguments that they set.
_OPTIONS = {"out": "--out", "overrides": "--set", "vectors": "--vectors"}


#: A refusal is so many lines; what would be more is said together in the last.
_MOST_LINES = 3
_LONGEST_LINE, _LONGEST_LAST = 2000, 1200


def refusal_text(error: RunError) -> str:
    """A refusal as the terminal shows it, with the options that change the refused values."""
    argument, colon, rest = str(error).partition(": ")
    message = f"{_OPTIONS[argument]} {rest}" if colon and argument in _OPTIONS else str(error)
    # Names and errors may hold characters that control the terminal.
    lines = [shown(line, _LONGEST_LINE) for line in message.splitlines()]
    changes = [f"  {change}" for change in dict.fromkeys(map(_change, error.change))]
    kept = _MOST_LINES - bool(changes)
    if len(lines) > kept:
        rest = "; ".join(line.strip() for line in lines[kept - 1 :])
        lines = [*lines[: kept - 1], f"  {shown(rest, _LONGEST_LAST)}"]
    if len(changes) > _MOST_LINES - len(lines):
        changes = [f"  {'; '.join(change.strip() for change in changes)}"]
    return "\n".join([*lines, *changes])


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
    if key == "two layers":
        return "name them with --layers A B"
    if key == "run":
        return "name your run file with --run RUN"
    if key.startswith("--"):
        return f"choose another with {key}"
    if key in _OPTIONS:
        return f"choose another with {_OPTIONS[key]}"
    return f"change it with --set {key}=VALUE"
