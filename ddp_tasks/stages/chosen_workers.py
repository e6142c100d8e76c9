"""Calls on workers that are chosen: to look at each worker of a cluster, not to get work done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from distributed import Client, Future

from ddp_tasks.stages.bounded_futures import ClusterLostError, WorkerKilledError
from ddp_tasks.stages.turned_away import comparing, reason

_SECONDS_BETWEEN_LOOKS = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class ClusterWorker:
    """A worker, as the scheduler knows it."""

    address: str
    threads: int
    """tasks at a time."""
    memory: int | None
    """bytes of main memory that it may hold; None without a limit."""


def await_workers(
    client: Client, fewest: int, patience: float | None, seen: Callable[[int], None]
) -> list[ClusterWorker]:
    """Wait until a cluster has workers.

    Parameters
    ----------
    fewest
        number of workers to wait for.
    patience
        seconds to wait for them; None waits for ever.
    seen
        called now and then with the number of workers that are there.

    Raises
    ------
    ClusterLostError
        If they are not all there in time, or the scheduler is lost.
    """
    began = time.monotonic()
    while len(workers := connected_workers(client)) < fewest:
        seen(len(workers))
        if patience is not None and time.monotonic() - began > patience:
            raise ClusterLostError(
                f"{len(workers)} of {fewest} workers are connected to the Dask scheduler at "
                f"{client.scheduler.address} after {patience:g} s"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS / 4)
    return workers


def connected_workers(client: Client) -> list[ClusterWorker]:
    """The workers that are there now.

    Raises
    ------
    ClusterLostError
        If the scheduler is lost.
    """
    try:
        known = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, ValueError) as error:
        raise ClusterLostError(f"the Dask scheduler does not answer: {error}") from None
    return [
        ClusterWorker(address, told["nthreads"], told["memory_limit"] or None)
        for address, told in known.items()
    ]


def call_on(
    client: Client, calls: Mapping[str, Sequence[Callable[[], Result]]]
) -> dict[str, list[Result]]:
    """Carry calls out on the workers of these addresses, all at the same time.

    Raises
    ------
    WorkerKilledError
        If a worker goes meanwhile, or is turned away; nothing is tried again.
    Exception
        The first error of a call.
    """
    ended: SimpleQueue[Future] = SimpleQueue()
    scheduler = client.scheduler.address
    places = {
        client.submit(comparing(scheduler, call), workers=[address], pure=False): address
        for address, of_worker in calls.items()
        for call in of_worker
    }
    results: dict[str, list[Result]] = {address: [] for address in calls}
    try:
        for future in places:
            future.add_done_callback(ended.put)
        waiting = dict(places)
        while waiting:
            try:
                future = ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except Empty:
                _refuse_lost(client, set(waiting.values()))
                continue
            results[waiting.pop(future)].append(future.result())
    finally:
        with suppress(OSError, CancelledError):
            client.cancel(list(places), force=True)
    return results


def _refuse_lost(client: Client, addresses: set[str]) -> None:
    gone = sorted(addresses - {worker.address for worker in connected_workers(client)})
    if gone:
        lost = f"the worker at {gone[0]} is gone while its shard was computed"
        raise WorkerKilledError(reason(client.scheduler.address) or lost)
