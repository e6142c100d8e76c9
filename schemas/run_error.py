"""The refusal of what a person asked for."""

from __future__ import annotations

from collections.abc import Sequence


class RunError(ValueError):
    """A run that cannot be carried out as asked; the message says what to change.

    Parameters
    ----------
    message
        names keys of the run file and arguments, a leading ``argument: `` where it is about one.
    change
        keys, dotted, or arguments that another value may be given; whoever shows the message
        knows how that is done.
    """

    def __init__(self, message: str, *, change: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.change = tuple(change)
