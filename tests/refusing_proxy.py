"""A proxy in front of a Prefect server that refuses some requests, or is away for a while."""

import re
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

_REFUSAL = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class RefusingProxy:
    """Passes on what it does not refuse.

    A request's head comes in one piece, so a piece says whether it is to be refused.
    """

    def __init__(self, url):
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = set()
        self._refused = None
        self._away = False
        self.refusals = 0
        port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self, paths, status=500):
        """Answer requests under paths, an alternation such as ``artifacts|logs``, with a status."""
        self._refused = re.compile(rf"[A-Z]+ \S*/api/({paths})\b".encode())
        self._status = status

    def leave(self, seconds):
        """Close all connections, and new ones at once, for so long."""
        self._away = True
        threading.Timer(seconds, self._come_back).start()
        for one in list(self._open):
            _close(one)

    def _come_back(self):
        self._away = False

    def close(self):
        for one in (self._listener, *self._open):
            _close(one)

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._away:
                    self.refusals += 1
                    _close(near)
                    continue
                far = socket.create_connection(self._target)
                self._open |= {near, far}
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _ask(self, near, far):
        with suppress(OSError):
            while data := near.recv(2**16):
                if self._refused is not None and self._refused.match(data):
                    self.refusals += 1
                    near.sendall(_REFUSAL % self._status)
                    near.shutdown(socket.SHUT_WR)
                    while near.recv(2**16):  # its body, so that the answer is read
                        pass
                    break
                far.sendall(data)
        _close(far)

    def _answer(self, far, near):
        with suppress(OSError):
            while data := far.recv(2**16):
                near.sendall(data)
        _close(near)


def _close(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
