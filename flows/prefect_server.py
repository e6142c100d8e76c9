"""The Prefect server of a command: the person's own, or a temporary one that ends with it."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import IO, Any, ParamSpec, TypeVar

import httpx
from prefect import Flow, runtime
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from prefect.states import Cancelled

from flows import stopping, terminal
from flows.refused_logs import say_refused_logs_once
from schemas.run_error import RunError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: The result of the flow that ``carry_out`` calls, before Prefect learns that the flow has ended.
_LEFT: ContextVar[list[Any] | None] = ContextVar("left", default=None)

#: The last line of a traceback.
_ERROR = re.compile(r"[\w.]+(Error|Exception): ")

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_TO_END = 5.0


class TemporaryServer:
    """A server in a process of its own, with its data in Prefect's home as usual.

    It answers this process alone: other users of the machine do not know its password.
    """

    def __init__(self) -> None:
        self.password = f"ddp:{secrets.token_urlsafe()}"
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._started = time.monotonic()
        # In a session of its own, so that Ctrl-C in the terminal does not end it before its run.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.temporary_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self.password}\n".encode())
        self._process.stdin.flush()

    def await_url(self) -> str:
        """Wait until it answers; return the address of its API.

        Raises
        ------
        RunError
            If it ends, or does not answer in time.
        """
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip().decode()
        if not port:
            raise self._failed()
        url = f"http://127.0.0.1:{port}/api"
        limit = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        reported = self._started
        while not _is_well(url):
            now = time.monotonic()
            if self._process.poll() is not None:
                raise self._failed()
            if now - self._started > limit:
                raise RunError(
                    f"Prefect's temporary server did not answer within {limit:.0f} s; give it "
                    "more time with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or name a "
                    "running one in PREFECT_API_URL"
                )
            if now - reported > _SECONDS_BETWEEN_LINES:
                reported = now
                seconds = now - self._started
                sys.stderr.write(f"waiting for Prefect's temporary server, {seconds:.0f} s\n")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return url

    def _failed(self) -> RunError:
        self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").split("\n")]
        # The last line of uvicorn only says that it ends.
        errors = [line for line in lines if _ERROR.match(line)]
        last = (errors or [line for line in lines if line] or ["no message"])[-1]
        return RunError(
            f"Prefect's temporary server ended with status {self._process.returncode}: {last}. "
            f"It keeps its data in {PREFECT_HOME.value()}; set PREFECT_HOME to use another folder"
        )

    def end(self) -> None:
        """End it; kill it if that takes too long."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def _is_well(url: str) -> bool:
    """Whether a server answers; it is on this machine, so no proxy is used."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Server:
    """A server from ``served``, which may still be starting."""

    def __init__(self, temporary: TemporaryServer | None) -> None:
        self._temporary = temporary

    @contextmanager
    def used(self) -> Iterator[None]:
        """Wait until it answers, and let flows in the context use it.

        Raises
        ------
        RunError
            If a temporary server cannot be started.
        """
        say_refused_logs_once()
        terminal.quiet_errors()
        settings: dict[Any, Any] = {}
        if self._temporary is not None:
            # It ends with the run. Nobody waits for a sign of life, whose sender a run waits for.
            settings = {
                PREFECT_API_URL: self._temporary.await_url(),
                PREFECT_API_AUTH_STRING: self._temporary.password,
                # That of another server; sent, it would take the password's place.
                PREFECT_API_KEY: None,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            }
        with temporary_settings(settings):
            try:
                yield
            finally:
                # Before the server ends; and not for long if it is away.
                APILogWorker.drain_all(timeout=_SECONDS_TO_END)
                EventsWorker.drain_all(timeout=_SECONDS_TO_END)


@contextmanager
def served() -> Iterator[Server]:
    """A Prefect server: the person's, or else a temporary one that ends with the context.

    A temporary server starts in the background. It also ends whenever this process ends.

    Raises
    ------
    RunError
        If Prefect's settings allow no server.
    """
    if PREFECT_API_URL.value():
        yield Server(None)
        return
    if not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        raise RunError(
            "Prefect has no server: name one in PREFECT_API_URL, or allow a temporary one with "
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true"
        )
    temporary = TemporaryServer()
    try:
        yield Server(temporary)
    finally:
        temporary.end()


def carry_out(
    flow: Flow[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Call a flow; a server's error after the work is done does not fail it.

    The flow's function must pass its result to ``left``.

    Raises
    ------
    RunError
        As in the flow; also if the server does not accept the run.
    """
    before: list[Any] = []
    token = _LEFT.set(before)
    try:
        return flow(*args, **kwargs)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Failed to reach API"):
            raise
        if isinstance(reason := _refusal_behind(error), RunError):
            raise reason from None
        message = f"{type(error).__name__}: {error}".partition("\n")[0]
        where = PREFECT_API_URL.value()
        if before:
            sys.stderr.write(
                f"ddp: the run is finished, but the Prefect server at {where} did not record that: "
                f"{message}\n"
            )
            return before[0]
        raise RunError(
            f"the Prefect server at {where} does not accept the run: {message}. Started again, the "
            "run continues with what is missing"
        ) from error
    finally:
        _LEFT.reset(token)


@contextmanager
def within_a_flow() -> Iterator[None]:
    """In the context, flows are parts of a flow that ``carry_out`` calls: none is its result."""
    token = _LEFT.set(None)
    try:
        yield
    finally:
        _LEFT.reset(token)


def left(result: Result) -> Result:
    """Keep a flow's result, whatever error its server gives at the end; return it."""
    if (kept := _LEFT.get()) is not None:
        kept.append(result)
    return result


def _refusal_behind(error: BaseException) -> BaseException | None:
    """The refusal that could not be reported to the server, behind the server's error."""
    behind = error.__context__
    while behind is not None and not isinstance(behind, RunError):
        behind = behind.__context__
    return behind


@contextmanager
def cancelled_when_stopped() -> Iterator[None]:
    """In a flow: when the command is stopped, mark the flow's run as cancelled in Prefect."""
    context, run = copy_context(), runtime.flow_run.id

    def cancel(name: str) -> None:
        context.run(_cancel, run, name)

    stopping.keep_watching()
    with stopping.closed_by(cancel):
        yield


def _cancel(run: Any, name: str) -> None:
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True) as client,
    ):
        client.set_flow_run_state(run, Cancelled(message=f"stopped by {name}"), force=True)
