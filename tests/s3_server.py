"""An S3 server on the loopback, moto's, and a proxy before it that does to it what networks do."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress

from schemas import object_paths

_REFUSAL = b"HTTP/1.1 500 Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_END_OF_HEAD = b"\r\n\r\n"

BUCKET = "s3://results-of-runs"

#: What a person sets; the values are those of no account.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "an-access-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-nobody",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def served(folder):
    """A server in a process of its own, with one empty bucket; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _make_bucket(url, process)
        # Buckets that are open have the address of the server before.
        object_paths.forget_buckets()
        yield url
    finally:
        process.kill()
        process.wait()
        object_paths.forget_buckets()


def _make_bucket(url, process):

    while process.poll() is None:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))),
        ):
            break
        time.sleep(0.1)

    request = urllib.request.Request(f"{url}/{BUCKET[5:]}", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4")
    urllib.request.urlopen(request, timeout=60).close()


class FaultyProxy:
    """Passes on requests, but for some: answers 500, waits, or cuts the connection.

    Which requests it strikes, and how, follows from a seed and their order.

    Parameters
    ----------
    share
        of requests that are struck.
    """

    def __init__(self, url, share, seed=0, slow=1.5):
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._random, self._share, self._slow = random.Random(seed), share, slow
        self._lock = threading.Lock()
        self.struck = {"refused": 0, "slow": 0, "cut": 0, "cut within": 0}
        self.requests = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _fault(self):
        with self._lock:
            self.requests += 1
            if self._random.random() >= self._share:
                return None
            kind = self._random.choice(sorted(self.struck))
            self.struck[kind] += 1
            return kind

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """One connection after another: requests of a client are not mixed on one connection."""
        with client, suppress(OSError):
            while head := _head(client):
                fault = self._fault()
                body = _length(head)
                if fault == "cut":
                    return
                if fault == "cut within":
                    _received(client, body // 2)
                    return
                content = _received(client, body)
                if fault == "refused":
                    client.sendall(_REFUSAL)
                    return
                if fault == "slow":
                    time.sleep(self._slow)
                self._passed_on(client, head, content)

    def _passed_on(self, client, head, content):
        lines = [x for x in head.split(b"\r\n") if not x.lower().startswith(b"connection:")]
        lines.insert(1, b"Connection: close")
        with socket.create_connection(self._target) as server:
            server.sendall(b"\r\n".join(lines) + content)
            while piece := server.recv(1 << 16):
                client.sendall(piece)
        # The server ends each answer by closing; the client then connects anew.
        client.shutdown(socket.SHUT_RDWR)


def _head(client):
    head = b""
    while not head.endswith(_END_OF_HEAD):
        there = client.recv(1 << 16, socket.MSG_PEEK)
        if not there:
            return b""
        end = (head + there).find(_END_OF_HEAD)
        head += client.recv(len(there) if end < 0 else end + len(_END_OF_HEAD) - len(head))
    if b"expect: 100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return head


def _length(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def _received(client, length):
    content = b""
    while len(content) < length:
        piece = client.recv(min(1 << 16, length - len(content)))
        if not piece:
            break
        content += piece
    return content


def environment(url):
    """The environment of a process that uses the server."""
    return {**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": url}
