"""The error that refuses a run."""

from __future__ import annotations

from collections.abc import Sequence


class RunError(ValueError):
    """A run that cannot be carried out as asked; the message says what to change.

    Parameters
    ----------
    message
        names keys of the run file; begins with ``argument: `` if it is about an argument.
    change
        dotted keys, or arguments, that may be given another value; the command line adds how.
    """

    def __init__(self, message: str, *, change: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.change = tuple(change)
