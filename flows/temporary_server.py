"""A process that serves Prefect's API on this machine for as long as its standard input is open.

``flows.prefect_server`` starts it and holds the other end of the pipe. However that process ends,
the system closes the pipe, and this process ends too. Prefect's own temporary server would go on
when its run is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

from flows import garbage

_SECONDS_TO_END = 3.0


def main() -> None:
    """Serve on a free port, and write its number to standard output in one line.

    The first line of standard input is the password that the API asks for.
    """
    password = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    # Prefect reads these when it is imported.
    os.environ.update(
        PREFECT_SERVER_API_AUTH_STRING=password,
        PREFECT_SERVER_API_HOST="127.0.0.1",
        PREFECT_SERVER_API_PORT=str(port),
        PREFECT_SERVER_UI_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_UI_ENABLED="0",
        PREFECT__SERVER_EPHEMERAL="1",
        PREFECT__SERVER_FINAL="1",
    )
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # Nothing reads further output, and a full pipe would stop the server.
    os.dup2(2, 1)
    with garbage.paused():
        import prefect.server.api.server
        import uvicorn
    config = uvicorn.Config(
        prefect.server.api.server.create_app, factory=True, lifespan="on", log_level="error"
    )
    uvicorn.Server(config).run(sockets=[listening])


def _end_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    # Let it end by itself if that is quick.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    main()
