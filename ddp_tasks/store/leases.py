"""One run at a time at an address in an object store: a lease that its holder renews.

An object store holds no locks for a process, but it writes an object only if a condition holds:
that there is none yet (``If-None-Match: *``), or that it has not changed (``If-Match``). Of several
writers at once, one succeeds. So the lease is an object that says who holds it. Its holder writes
it anew every few seconds; who finds it unchanged for longer than ``SECONDS`` may take it over.

No two machines' clocks are compared. How long ago the lease was renewed is the difference between
its time and that of an object written now, both by the store's own clock. The holder counts by the
monotonic clock of its machine, and gives up well before others may take over. What is assumed: the
store's clock does not jump, and both clocks run equally fast.

The holder notices a loss between two steps of its work. What its workers are writing at that moment
is written: a shard of the same run, since another run is refused, and so of the same bits.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from schemas.object_paths import ObjectPath, Tag, repeated
from schemas.run_error import RunError

#: Seconds after its last renewal when a lease may be taken over.
SECONDS = 60.0

#: Parts of that time after which the holder renews, and after which it counts the lease as lost.
_RENEWED, _LOST = 0.2, 0.7

#: Attempts to take a lease while others end or begin.
_LOOKS = 3


class LeaseLostError(RunError):
    """A run may no longer write, since another may have begun at its address."""


def in_use(folder: Path, by: str, seconds: float | None = None) -> RunError:
    """The refusal of a folder that another run works in.

    Parameters
    ----------
    seconds
        after which its lock ends by itself if the other run was killed.
    """
    killed = "" if seconds is None else f" (if it was killed: {max(seconds, 1):.0f} s)"
    return RunError(
        f"{folder} is in use by another run, {by}. Wait for it to end{killed}, or choose another "
        "folder",
        change=("out",),
    )


def holder(content: str | bytes) -> str:
    """Who holds a lock, from what it holds.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the content is none of a lock.
    """
    named = json.loads(content)
    return f"process {named['pid']} on {named['host']} since {named['since']}"


def check_held() -> None:
    """Refuse to go on if this process has lost a lease that it held.

    Raises
    ------
    LeaseLostError
        Naming the address and why.
    """
    for lease in list(_HELD):
        lease.check()


def give_all_back() -> None:
    """Let others begin at once, as the last that a process does before it ends."""
    for lease in list(_HELD):
        lease.ended.set()
        lease.give_back()


@contextmanager
def held(
    path: ObjectPath, ourselves: Mapping[str, object], seconds: float | None = None
) -> Iterator[None]:
    """Hold a lease for as long as the context lasts, renewed by a thread.

    Parameters
    ----------
    path
        of the object.
    ourselves
        process, machine and time, for the refusals of others.
    seconds
        after its last renewal when it may be taken over; None takes ``SECONDS``.

    Raises
    ------
    RunError
        If another run holds it, or the store does not heed conditions of writing.
    OSError
        If the store refuses a request.
    """
    lease = _Lease(path, ourselves, SECONDS if seconds is None else seconds)
    lease.take()
    _HELD.add(lease)
    thread = threading.Thread(target=lease.renew_always, daemon=True, name="lease")
    thread.start()
    try:
        yield
    finally:
        _HELD.discard(lease)
        lease.ended.set()
        thread.join()
        lease.give_back()


class _Lease:
    def __init__(self, path: ObjectPath, ourselves: Mapping[str, object], seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._token = secrets.token_hex(8)
        self._content = {**ourselves, "lease": seconds, "token": self._token}
        self._tag: Tag | None = None
        self._renewed = 0.0
        self._times = 0
        self._why_lost = self._trouble = ""
        self.ended = threading.Event()

    def take(self) -> None:
        for _ in range(_LOOKS):
            if repeated(lambda: self._write(None)):
                break
            try:
                content, tag, renewed = self._path.read_tagged()
            except FileNotFoundError:
                continue  # the other run has ended since
            left = renewed + _lease_of(content, self._seconds) - self._now()
            if left >= 0:
                raise in_use(self._path.parent, _holder(content), left)
            if repeated(partial(self._write, tag)):
                break
        else:
            raise in_use(self._path.parent, "which has just begun")
        self._refuse_ignored_conditions()

    def renew_always(self) -> None:
        while not self.ended.wait(self._seconds * _RENEWED):
            try:
                if self._why_lost or not self._write(self._tag):
                    self._why_lost = self._why_lost or self._taken()
                    return
            except OSError as error:
                # Tried again until ``check`` finds that it took too long.
                self._trouble = f" ({error.strerror or error})"

    def check(self) -> None:
        silent = time.monotonic() - self._renewed
        if not self._why_lost and silent > self._seconds * _LOST:
            self._why_lost = f"it could not be renewed for {silent:.0f} s{self._trouble}"
        if self._why_lost:
            raise LeaseLostError(
                f"the lock {self._path} is lost: {self._why_lost}. Nothing more is written; the "
                "same command continues"
            )

    def give_back(self) -> None:
        # What cannot be removed ends by itself; what may be another's by now is left alone.
        if not self._why_lost and time.monotonic() - self._renewed < self._seconds * _LOST:
            with suppress(OSError):
                if self._is_ours(self._path.read_bytes()):
                    self._path.unlink()

    def _write(self, tag: Tag | None) -> bool:
        """Write the lease if the object is as it was; whether it is ours now."""
        begun = time.monotonic()
        before, self._times = self._times, self._times + 1
        try:
            written = self._path.write_if(self._text(), tag)
            if written is None:
                content, found, _ = self._path.read_tagged()
                if not self._is_ours(content):
                    self._times = before
                    return False
                # The answer to an earlier request was lost; nobody knows when that was stored.
                return self._write(found)
        except OSError:
            self._times = before
            raise
        self._tag, self._renewed = written, begun
        return True

    def _is_ours(self, content: bytes) -> bool:
        return self._token.encode() in content

    def _text(self) -> bytes:
        return json.dumps({**self._content, "renewed": self._times}).encode()

    def _taken(self) -> str:
        try:
            return f"it belongs to {_holder(self._path.read_bytes())}"
        except OSError as error:
            return f"it is gone ({error.strerror or error})"

    def _now(self) -> float:
        """The store's time, from an object that is written and removed."""
        clock = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        clock.write_bytes(b"")
        try:
            return clock.stat().st_mtime
        finally:
            clock.unlink()

    def _refuse_ignored_conditions(self) -> None:
        before = self._tag
        repeated(lambda: self._write(before))
        for condition, tag in (("If-None-Match", None), ("If-Match", before)):
            if repeated(partial(self._path.write_if, self._text(), tag)) is not None:
                self._path.unlink()
                raise RunError(
                    f"{self._path.parent}: the store heeds no condition of writing ({condition}), "
                    "so two runs could write to it at once",
                    change=("out",),
                )


def _holder(content: bytes) -> str:
    try:
        return holder(content)
    except (ValueError, KeyError, TypeError):
        return "whose name cannot be read"


def _lease_of(content: bytes, default: float) -> float:
    try:
        return float(json.loads(content)["lease"])
    except (ValueError, KeyError, TypeError):
        return default


#: Leases that this process holds.
_HELD: set[_Lease] = set()
