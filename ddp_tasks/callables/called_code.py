"""Calling code that a person named, without letting it end this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.run_error import RunError
from schemas.shown import error_shown

#: Exceptions that one item of a data set or one pass of a network may end with; scripts call
#: ``sys.exit``.
ENDINGS = (Exception, SystemExit)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn what is no ``Exception``, such as ``sys.exit`` in a factory, into a ``RunError``.

    Parameters
    ----------
    what
        names the code in the message.

    Raises
    ------
    RunError
        In place of whatever would end the process; Ctrl-C is passed on.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RunError(f"{what} tries to end the process: {error_shown(error)}") from error
