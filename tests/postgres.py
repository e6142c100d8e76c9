"""A PostgreSQL server of Debian's package, as an unprivileged user, on this machine alone."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect_processes import await_true, free_port

_USER = "postgres"


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return Path(on_path).resolve().parent if on_path else next(reversed(folders), None)


@contextmanager
def database() -> Iterator[str]:
    """A new database, with a password; Prefect's address of it."""
    programs = _programs()
    if programs is None:
        pytest.skip("needs Debian's package postgresql")
    # Not pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="ddp-postgres-"))
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = _USER
        os.chown(folder, pwd.getpwnam(_USER).pw_uid, -1)
    password, port = secrets.token_hex(16), free_port()
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o644)
    data = folder / "data"
    options = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=prefect"]
    subprocess.run(
        [programs / "initdb", f"--pgdata={data}", *options, "--no-sync"],
        user=user,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            *(programs / "postgres", "-D", data, "-p", str(port), "-k", folder),
            *("-c", "listen_addresses=127.0.0.1"),
        ],
        user=user,
        cwd=folder,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        await_true(
            "PostgreSQL", lambda: subprocess.run(ready, check=False, cwd=folder).returncode == 0
        )
        yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait()
        log.close()
        shutil.rmtree(folder)
