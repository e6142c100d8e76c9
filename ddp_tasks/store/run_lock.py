"""One run at a time in a folder: a lock that ends with the process that holds it.

At an address in an object store it is a lease instead: see ``leases``.
"""

from __future__ import annotations

import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ddp_tasks.store import leases
from schemas.object_paths import ObjectPath

#: The lock's file in the folder of a run or of a list of models; it says who holds the lock.
NAME = "run.lock"
OF_A_LIST = "capacity.lock"


@contextmanager
def held(folder: Path, name: str = NAME) -> Iterator[None]:
    """Keep other runs out of a folder for as long as the context, or the process, lasts.

    The kernel holds the lock (flock) for the process: however the process ends, the lock ends
    with it, and nobody has to remove a file by hand. On a file system shared by several machines
    the server holds the lock for all of them (NFS from version 4 or Linux 2.6.12, Lustre mounted
    with ``flock``, Ceph, GPFS), so a run may be continued from another machine once the first has
    ended. On a file system without locks the run goes on with a warning. Where each machine has
    its own locks (mounted with ``nolock`` or ``local_lock``), two machines do not see each other,
    and the person must start one run only.

    Raises
    ------
    RunError
        If another run holds it, naming its process and machine.
    """
    path = folder / name
    if isinstance(path, ObjectPath):
        with leases.held(path, _ourselves()):
            yield
        return
    # Without flock, filelock would leave a file that outlives a killed process.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise leases.in_use(folder, _holder(path)) from None
    except OSError as error:
        warnings.warn(
            f"{folder} cannot be locked ({error}): nothing keeps a second run out of it",
            stacklevel=3,
        )
        yield
        return
    try:
        with suppress(OSError):  # a full disk stops the run where it needs the room
            path.write_text(json.dumps(_ourselves()))
        yield
    finally:
        # Unlinked while it is held, so that a process that waits for it sees that the name is gone.
        path.unlink(missing_ok=True)
        lock.release()


def _ourselves() -> dict[str, object]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": started}


def _holder(path: Path) -> str:
    try:
        return leases.holder(path.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        # It holds the lock, but has not written its name yet.
        return "which has just started"
