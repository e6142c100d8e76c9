"""Errors of a stage that pass by themselves, and when the stage is tried again."""

from __future__ import annotations

import errno

#: Attempts at a stage after the first, and the seconds before each; up to half as much again at
#: random, so that runs that one file server has refused do not come back together.
RETRIES = 3
SECONDS = (2.0, 8.0, 32.0)
JITTER = 0.5

#: What a file system or a network says while its server is away or busy. A full disk, a missing
#: file or permission, and refusals of a run stay as they are.
_PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


def passes(error: BaseException | None) -> bool:
    """Whether a stage's error may be gone at the next attempt: the system said so."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return isinstance(error, OSError) and error.errno in _PASSING
