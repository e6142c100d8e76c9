"""The default preset carried out whole, in a process of its own, once for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DDP = Path(sys.executable).with_name("ddp")

#: Writes down every address that a Python process of the run connects to or asks for.
AUDIT = """
import os, sys

def _audit(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        place = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        with open(os.environ["DDP_TEST_AUDIT"], "a") as log:
            print(event, place, file=log)

sys.addaudithook(_audit)
"""


def ddp(*arguments: str, cwd: Path | None = None, **environment: str):
    """The command in a process of its own, without this process's Prefect server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [DDP, *arguments],
        cwd=cwd,
        env={**kept, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


def carried_out(folder: Path):
    """Carry it out with Prefect's temporary server, noting what it connects to; what it said."""
    (folder / "sitecustomize.py").write_text(AUDIT)
    done = ddp(
        "run",
        cwd=folder,
        PREFECT_HOME=str(folder / "prefect"),
        PYTHONPATH=str(folder),
        DDP_TEST_AUDIT=str(folder / "audit.log"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done
