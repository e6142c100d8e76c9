"""Artifacts that a run shows in Prefect, sent in the background.

A run never waits long for them. If a server refuses them or is away, the run goes on without them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from schemas.shown import shown

#: Attempts after the first; few, since artifacts are soon out of date. None after a refusal.
_RETRIES = 2

#: Time at the end of a run for artifacts that are still to be sent.
_SECONDS_TO_SHOW = 15.0


class _Sender:
    """A thread that sends artifacts, one after the other."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Context, Callable[[], object]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._warned = False

    def warn(self, why: str) -> None:
        """Say in the run's log, once in this process, that artifacts are missing."""
        if not self._warned:
            self._warned = True
            get_run_logger().warning(
                "Prefect does not accept all artifacts; the run goes on without them: %s", why
            )

    def put(self, send: Callable[[], object]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, daemon=True, name="artifacts")
                self._thread.start()
        self._waiting.put((copy_context(), send))

    def _send(self) -> None:
        while True:
            context, send = self._waiting.get()
            context.run(self._try, send)

    def _try(self, send: Callable[[], object]) -> None:
        retries = 0 if self._warned else _RETRIES
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: retries}):
                send()
        # An artifact that cannot be sent does not stop the run.
        except Exception as error:  # noqa: BLE001
            self.warn(f"{type(error).__name__}: {error}".partition("\n")[0])


_SENDER = _Sender()


def show(send: Callable[[], object]) -> None:
    """Send an artifact in the background, in the context of the run.

    Parameters
    ----------
    send
        calls one of Prefect's functions; the first error is logged as a warning.
    """
    _SENDER.put(send)


def await_shown() -> None:
    """Wait until all artifacts are sent; after 15 s, give up with a warning."""
    sent = threading.Event()
    _SENDER.put(sent.set)
    if not sent.wait(_SECONDS_TO_SHOW):
        _SENDER.warn(f"they were not sent within {_SECONDS_TO_SHOW:g} s")


def as_text(name: str, most: int = 120) -> str:
    """A name escaped for Markdown, on one line: neither markup nor HTML.

    Parameters
    ----------
    most
        characters kept, counted before any are escaped.
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~&:-])", r"\\\1", shown(name, most))


class ProgressBar:
    """A stage's progress in Prefect; of values that wait to be sent, only the last is."""

    def __init__(self, key: str, description: str) -> None:
        self._key, self._description = key, as_text(description)
        self._id: UUID | None = None
        self._percent, self._waits = 0.0, False
        self._lock = threading.Lock()
        self.show(0.0)

    def show(self, percent: float) -> None:
        """Show the share that is done, in percent."""
        with self._lock:
            self._percent = percent
            if self._waits:
                return
            self._waits = True
        show(self._send)

    def _send(self) -> None:
        with self._lock:
            percent, self._waits = self._percent, False
        if self._id is None:
            made = create_progress_artifact(percent, key=self._key, description=self._description)
            self._id = cast("UUID", made)
        else:
            update_progress_artifact(self._id, progress=percent)
