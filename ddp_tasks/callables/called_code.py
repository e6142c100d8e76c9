"""Code that a person named, kept from ending this process: however it ends, that is an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.parameters import RunError
from schemas.shown import error_shown

#: What one item of a data set or one pass of a network may end with. Scripts call ``sys.exit``.
ENDINGS = (Exception, SystemExit)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Make what is no ``Exception`` a refusal, such as ``sys.exit`` of a factory.

    Parameters
    ----------
    what
        names the code in the refusal.

    Raises
    ------
    RunError
        In place of whatever ends a process; a Ctrl-C stays one.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RunError(f"{what} tries to end the process: {error_shown(error)}") from error
