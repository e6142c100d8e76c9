"""Ctrl-C and SIGTERM end a command within seconds, with one line, wherever it is.

What a run has written stays good however its process ends, so nothing is unwound: a thread that
no work holds up says what is written, ends what was started, and then the process. The system
tells it of a signal at once (``signal.set_wakeup_fd``), also while the main thread computes in C,
or while Prefect has put a handler of its own in place of ours.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

#: Seconds that a stop may take in all; for a sentence on what is written; for what is to be
#: ended elsewhere.
_LONGEST = 4.5
_SECONDS_TO_TELL = 1.5
_SECONDS_TO_CLOSE = 2.5

#: Two deliveries of one signal, as a terminal's and that of a parent, lie closer than this.
_SAME = 0.5

_NAMES = {int(signal.SIGINT): "Ctrl-C", int(signal.SIGTERM): "SIGTERM"}


class _Stop:
    """What is done when a signal comes; one for each process."""

    def __init__(self) -> None:
        self.watched = False
        self.told: Callable[[], str] | None = None
        self.closings: list[Callable[[str], None]] = []
        self._begun: float | None = None
        self._lock, self._leaving = threading.Lock(), threading.Lock()

    def signalled(self, number: int) -> None:
        """End the process; at once if that has begun already."""
        with self._lock:
            begun, now = self._begun, time.monotonic()
            if begun is None:
                self._begun = now
        if begun is None:
            _in_background(lambda: self._end(number))
            _in_background(lambda: self._end_at_the_latest(number))
        elif now - begun > _SAME:
            self._leave(number, "")

    def _end(self, number: int) -> None:
        said: list[str] = []
        begun = time.monotonic()
        telling = _in_background(lambda: said.append(self.told() if self.told else ""))
        closing = [
            _in_background(lambda close=close: close(_NAMES[number]))  # type: ignore[misc]
            for close in reversed(self.closings)
        ]
        telling.join(_SECONDS_TO_TELL)
        for one in closing:
            one.join(max(0.0, begun + _SECONDS_TO_CLOSE - time.monotonic()))
        self._leave(number, "".join(said))

    def _end_at_the_latest(self, number: int) -> None:
        time.sleep(_LONGEST)
        self._leave(number, "")

    def _leave(self, number: int, said: str) -> None:
        self._leaving.acquire()  # and is never released: one thread leaves
        _end_children()
        if sys.stderr.isatty():  # a progress bar may be there, and hides the cursor
            os.write(2, b"\r\x1b[K\x1b[?25h")
        with suppress(OSError):
            os.write(2, f"ddp: stopped by {_NAMES[number]}{said}\n".encode())
        os._exit(128 + number)


_STOP = _Stop()


def watch() -> None:
    """From here on Ctrl-C and SIGTERM end this process; to be called in its main thread."""
    if _STOP.watched:
        return
    _STOP.watched = True
    ours, systems = socket.socketpair()
    systems.setblocking(False)
    signal.set_wakeup_fd(systems.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ours,), daemon=True, name="stopping").start()
    keep_watching()


def keep_watching() -> None:
    """Put our handlers back in place, should others be there: Prefect replaces that of SIGTERM."""
    if _STOP.watched and threading.current_thread() is threading.main_thread():
        for number in _NAMES:
            signal.signal(number, _held)


@contextmanager
def told_by(told: Callable[[], str]) -> Iterator[None]:
    """While in the context, a stop's line goes on with what this gives.

    It is called in a thread of its own, and left out if it takes long.
    """
    before, _STOP.told = _STOP.told, told
    try:
        yield
    finally:
        _STOP.told = before


@contextmanager
def closed_by(close: Callable[[str], None]) -> Iterator[None]:
    """While in the context, a stop calls this with the signal's name, in a thread of its own.

    The stop does not wait long for it, nor for its errors.
    """
    _STOP.closings.append(close)
    try:
        yield
    finally:
        _STOP.closings.remove(close)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Have processes that threads begun in the context start not see a terminal's Ctrl-C.

    Their parent ends them; by themselves each would write a traceback first.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def this_command() -> str:
    """The command line of this process, as a person would type it again."""
    return shlex.join(["ddp", *sys.argv[1:]])


def _listen(ours: socket.socket) -> None:
    while received := ours.recv(1):
        if received[0] in _NAMES:
            _STOP.signalled(received[0])


def _held(number: int, _frame: FrameType | None) -> None:
    """Keep the main thread where it is, while other threads end the process."""
    _STOP.signalled(number)
    threading.Event().wait()


def _end_children() -> None:
    with suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()


def _in_background(do: Callable[[], object]) -> threading.Thread:
    def quietly() -> None:
        # The process ends: an error of what is done on the way has nobody to go to.
        with suppress(Exception):
            do()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    return thread
