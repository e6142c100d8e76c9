"""Prefect as a deployment has it: a server, workers and the command line, each a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
_PREFECT = (sys.executable, "-m", "prefect")
_SECONDS_TO_START = 180.0
_SECONDS_TO_END = 30.0


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def await_true(what: str, holds: Callable[[], Any], seconds: float = _SECONDS_TO_START) -> Any:
    """Wait until something holds; return what it gives."""
    until = time.monotonic() + seconds
    while not (given := holds()):
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return given


class Prefect:
    """A server's address and home, and processes that use them."""

    def __init__(self, home: Path, database: str | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.port = home, free_port()
        self.ui = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.ui}/api"
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = own | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        if database is not None:
            self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database

    def call(self, *arguments: str) -> str:
        """Run a command of Prefect's to its end; return what it says."""
        ended = subprocess.run(
            [*_PREFECT, "--no-prompt", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @contextmanager
    def started(self, name: str, *arguments: str, **variables: str) -> Iterator[Process]:
        """A command of Prefect's that goes on; it ends with the context."""
        process = Process(self, name, arguments, variables)
        try:
            yield process
        finally:
            process.end()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """With the server, which may be stopped and started again meanwhile."""
        self.start_server()
        try:
            yield
        finally:
            self.server.end()

    def start_server(self) -> None:
        """Start the server, and wait until it answers."""
        self.server = Process(self, "server", ("server", "start"), {})
        await_true("Prefect's server", lambda: self._is_well(self.server))

    def _is_well(self, process: Process) -> bool:
        process.check()
        try:
            return httpx.get(f"{self.api}/health", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


class Process:
    """A process of Prefect's; what it says is kept in a file."""

    def __init__(
        self, prefect: Prefect, name: str, arguments: tuple[str, ...], variables: dict[str, str]
    ) -> None:
        self.log = prefect.home / f"{name}-{time.monotonic_ns()}.log"
        self._written: IO[bytes] = self.log.open("wb")
        # A session of its own: its children end with it.
        self._process = subprocess.Popen(
            [*_PREFECT, "--no-prompt", *arguments],
            env=prefect.environment | variables,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def check(self) -> None:
        assert self._process.poll() is None, self.said()

    def signal(self, number: signal.Signals) -> None:
        """Send it alone a signal, and not its children."""
        self._process.send_signal(number)

    def await_end(self) -> None:
        """Wait until it has ended."""
        self._process.wait(_SECONDS_TO_START)

    def lose(self) -> None:
        """Kill it and all that it has started, at once, as the loss of its machine does."""
        _kill([self._process, *self._started()])

    def end(self) -> None:
        """End it, and by force what is left of what it has started."""
        started = self._started()
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_END)
        _kill([*started, self._process])
        self._process.wait()
        self._written.close()

    def _started(self) -> list[psutil.Process]:
        """Processes that it has started; runs have sessions of their own."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []


def _kill(processes: Iterable[psutil.Process | subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
