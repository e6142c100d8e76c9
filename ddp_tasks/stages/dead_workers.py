"""Why Dask workers died, as far as the cluster knows."""

from __future__ import annotations

from contextlib import suppress

from dask.utils import format_bytes
from distributed import Client
from distributed.scheduler import KilledWorker

#: Topic under which a nanny reports that it ended its worker because of its memory.
_OF_MEMORY = "worker-restart-memory"

_CAUSES = (
    "Likely causes: the machine ran out of memory and its system killed the process, compiled "
    "code of the network or of the images crashed, or a person or a queue ended it"
)


def why_killed(client: Client, error: KilledWorker, item: str) -> str:
    """The message about an item whose workers all died.

    Parameters
    ----------
    item
        name of the item.
    """
    worker = error.last_worker
    limit = worker.memory_limit
    before = f", as {n} before it" if (n := error.allowed_failures) else ""
    message = f"worker {worker.address} was killed while at work on {item}{before}: "
    used = _memory_used(client, worker.address)
    if used is not None:
        return message + (
            f"it used {format_bytes(used)} and its memory limit of {format_bytes(limit)} was "
            "reached. Give the workers more memory, have fewer on a machine, or make "
            "shards.batch_size smaller"
        )
    has = f" (its memory limit was {format_bytes(limit)})" if limit else ""
    return f"{message}the cause is not known{has}. {_CAUSES}"


def _memory_used(client: Client, address: str) -> int | None:
    """Bytes that a worker used when its nanny ended it for that; None if it was not."""
    with suppress(OSError, ValueError):
        for _, event in reversed(client.get_events(_OF_MEMORY)):
            if event["worker"] == address:
                return int(event["rss"])
    return None
