"""A TCP proxy before a scheduler: a network that can be cut without leave to touch the real one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes both ways until it drops them, or closes what it holds."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self._open: list[socket.socket] = []
        self._dropping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where a worker connects in the scheduler's stead."""
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def drop(self) -> None:
        """Pass nothing any more and close nothing, as a cable that is pulled out."""
        self._dropping = True

    def close(self) -> None:
        """Close every connection and take no new one."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if not self._dropping:
                    sink.sendall(data)
            if not self._dropping:
                sink.shutdown(socket.SHUT_WR)
