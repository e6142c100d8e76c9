"""Ctrl-C and SIGTERM end a command within seconds, with one line, at any time.

What a run has written stays valid however its process ends, so no cleanup runs. A separate thread
says what is written, ends what was started, and then ends the process. The system notifies it of a
signal at once (``signal.set_wakeup_fd``), even while the main thread computes in C, or while
Prefect's signal handler has replaced ours.
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

from ddp_tasks.store import leases

#: Seconds that a stop may take in all, for the words on what is written, and for ending clusters.
_LONGEST = 4.5
_SECONDS_TO_DESCRIBE = 1.5
_SECONDS_TO_CLOSE = 2.5
_SECONDS_TO_GIVE_BACK = 1.5

#: Seconds within which two deliveries of a signal, by terminal and parent, count as one.
_SAME = 0.5

_NAMES = {int(signal.SIGINT): "Ctrl-C", int(signal.SIGTERM): "SIGTERM"}


class _Stop:
    """Ends this process when a signal arrives; one for each process."""

    def __init__(self) -> None:
        self.watched = False
        self.describe: Callable[[], str] | None = None
        self.closings: list[Callable[[str], None]] = []
        self._begun: float | None = None
        self._lock, self._leaving = threading.Lock(), threading.Lock()

    def signalled(self, number: int) -> None:
        """End the process; at once if it is already ending."""
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
        words: list[str] = []
        begun = time.monotonic()
        describing = _in_background(lambda: words.append(self.describe() if self.describe else ""))
        closing = [
            _in_background(lambda close=close: close(_NAMES[number]))  # type: ignore[misc]
            for close in reversed(self.closings)
        ]
        describing.join(_SECONDS_TO_DESCRIBE)
        for thread in closing:
            thread.join(max(0.0, begun + _SECONDS_TO_CLOSE - time.monotonic()))
        _end_children()
        # Nothing of this run is written any more, so the same command may be given at once.
        _in_background(leases.give_all_back).join(_SECONDS_TO_GIVE_BACK)
        self._leave(number, "".join(words))

    def _end_at_the_latest(self, number: int) -> None:
        time.sleep(_LONGEST)
        self._leave(number, "")

    def _leave(self, number: int, words: str) -> None:
        self._leaving.acquire()  # never released: only one thread ends the process
        _end_children()
        if sys.stderr.isatty():  # a progress bar may hide the cursor
            os.write(2, b"\r\x1b[K\x1b[?25h")
        with suppress(OSError):
            os.write(2, f"ddp: stopped by {_NAMES[number]}{words}\n".encode())
        os._exit(128 + number)


_STOP = _Stop()


def watch() -> None:
    """Let Ctrl-C and SIGTERM end this process; must be called in its main thread."""
    if _STOP.watched:
        return
    _STOP.watched = True
    ours, systems = socket.socketpair()
    systems.setblocking(False)
    signal.set_wakeup_fd(systems.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ours,), daemon=True, name="stopping").start()
    keep_watching()


def keep_watching() -> None:
    """Set our handlers again if they were replaced: Prefect replaces that of SIGTERM."""
    if _STOP.watched and threading.current_thread() is threading.main_thread():
        for number in _NAMES:
            signal.signal(number, _held)


@contextmanager
def described_by(describe: Callable[[], str]) -> Iterator[None]:
    """In the context, add the text that a function returns to the line of a stop.

    The function is called in a thread of its own; its text is left out if it takes long.
    """
    before, _STOP.describe = _STOP.describe, describe
    try:
        yield
    finally:
        _STOP.describe = before


@contextmanager
def closed_by(close: Callable[[str], None]) -> Iterator[None]:
    """In the context, have a stop call a function with the signal's name, in a thread of its own.

    The stop does not wait long for it, and ignores its errors.
    """
    _STOP.closings.append(close)
    try:
        yield
    finally:
        _STOP.closings.remove(close)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Keep the terminal's Ctrl-C from processes that are started by threads begun in the context.

    Their parent ends them; otherwise each would write a traceback first.
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
    """Hold the main thread while other threads end the process."""
    _STOP.signalled(number)
    threading.Event().wait()


def _end_children() -> None:
    with suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()


def _in_background(do: Callable[[], object]) -> threading.Thread:
    def quietly() -> None:
        # The process is ending; nobody can act on an error here.
        with suppress(Exception):
            do()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    return thread
