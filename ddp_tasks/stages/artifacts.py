"""Artifacts that a run shows in Prefect, sent in the background.

A run never waits long for them. If a server refuses them or is away, the run goes on without them.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import cast
from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from schemas.run_error import RunError
from schemas.shown import shown

#: Attempts after the first; few, since artifacts are soon out of date. None after a refusal.
_RETRIES = 2

#: Time at the end of a run for artifacts that are still to be sent.
_SECONDS_TO_SHOW = 15.0

_LONGEST_KEY = 100
#: Of the artifact of a failure.
_LONGEST_LINE, _MOST_LINES = 2000, 30

#: What keys end with.
_OWNER: ContextVar[tuple[str, ...]] = ContextVar("owner", default=())


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


@contextmanager
def belonging_to(*names: str) -> Iterator[None]:
    """Have the keys of artifacts end with names, such as those of run and model.

    Artifacts of one key are versions of each other in Prefect's UI.
    """
    token = _OWNER.set(names)
    try:
        yield
    finally:
        _OWNER.reset(token)


def artifact_key(what: str, of: str = "") -> str:
    """The key of an artifact of the present run, or of a part of it such as a layer.

    Prefect allows lower-case letters, digits and dashes; other names have other keys.
    """
    name = "-".join([what, *_OWNER.get(), *([of] if of else [])])
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if re.fullmatch(r"[a-z0-9_.-]+", name) and len(key) <= _LONGEST_KEY:
        return key
    # Another name may give the same letters.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[:_LONGEST_KEY]}-{digest}".strip("-")


def show_failure(stage: str, error: BaseException) -> None:
    """Create an artifact that says why a stage failed, and wait until it is sent."""
    lines = [*str(error).splitlines(), *getattr(error, "__notes__", ())]
    if not isinstance(error, RunError):
        lines = [type(error).__name__, *lines]
    told = [f"- {as_text(line, _LONGEST_LINE)}" for line in lines[:_MOST_LINES]]
    if more := len(lines) - _MOST_LINES:
        told += [f"- and {more:,} more"] if more > 0 else []
    show(
        partial(
            create_markdown_artifact,
            key=artifact_key("failure"),
            markdown="\n".join([f"# {as_text(stage)} failed", "", *told]),
            description=as_text(f"why {stage} failed"),
        )
    )
    await_shown()


class ProgressBar:
    """A stage's progress in Prefect; of values that wait to be sent, only the last is.

    It appears with the first value, so that a short stage has none, and goes with the stage.
    """

    def __init__(self, key: str, description: str) -> None:
        self._key, self._description = artifact_key(key), as_text(description)
        self._id: UUID | None = None
        self._percent, self._waits, self._taken_away = 0.0, False, False
        self._lock = threading.Lock()

    def show(self, percent: float) -> None:
        """Show the share that is done, in percent; outside of a run there is nowhere to show it."""
        if runtime.flow_run.id is None:
            return
        with self._lock:
            self._percent = percent
            if self._waits:
                return
            self._waits = True
        show(self._send)

    def take_away(self) -> None:
        """Remove it, since the stage has ended."""
        with self._lock:
            self._taken_away = True
        show(self._remove)

    def _send(self) -> None:
        with self._lock:
            percent, self._waits = self._percent, False
            if self._taken_away:
                return
        if self._id is None:
            made = create_progress_artifact(percent, key=self._key, description=self._description)
            self._id = cast("UUID", made)
        else:
            update_progress_artifact(self._id, progress=percent)

    def _remove(self) -> None:
        if self._id is not None:
            with get_client(sync_client=True) as client:
                client.delete_artifact(self._id)
