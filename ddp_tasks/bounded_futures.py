"""Dask futures, few at a time: what waits and what is done take no memory.

``Client.map`` sends every task at once and holds every result; here the scheduler knows a few
tasks for each thread of the cluster, and a result is forgotten as soon as it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from distributed import Client, Future

from schemas.parameters import RunError

#: Tasks in flight for each thread: one at work, one that waits beside it, one on its way.
FUTURES_PER_THREAD = 3

#: In flight at least, also while no worker is there: a cluster that adapts grows by what waits.
FEWEST_FUTURES = 8

_SECONDS_BETWEEN_LOOKS = 1.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClusterLostError(RunError):
    """The scheduler is gone, or no worker is left to wait for."""


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result, or what its last attempt raised."""

    item: Item
    result: Result | None = None
    error: BaseException | None = None


def outcomes(
    client: Client,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    retries: int,
    patience: float | None,
) -> Iterator[Outcome[Item, Result]]:
    """Apply a function to items on the Dask workers, and give each outcome as it comes.

    Parameters
    ----------
    function
        must bear being called twice for an item: an item whose worker dies goes to another.
    items
        taken as there is room for them in flight.
    retries
        attempts after the first that raised.
    patience
        seconds to wait while no worker is connected; None waits for ever.

    Raises
    ------
    ClusterLostError
        If the connection to the scheduler ends, or no worker is connected for too long.
    """
    finished: SimpleQueue[Future] = SimpleQueue()
    in_flight: dict[Future, Item] = {}
    waiting = iter(items)
    cluster = _Cluster(client, patience)
    while True:
        for item in islice(waiting, max(0, cluster.room() - len(in_flight))):
            future = client.submit(function, item, pure=False, retries=retries)
            in_flight[future] = item
            future.add_done_callback(finished.put)
        if not in_flight:
            return
        try:
            future = finished.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            continue
        item = in_flight.pop(future)
        if future.status == "error":
            yield Outcome(item, error=future.exception())
        else:
            yield Outcome(item, result=cluster.result(future))


def results(
    client: Client,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    retries: int,
    patience: float | None,
) -> Iterator[tuple[Item, Result]]:
    """As ``outcomes``, where no item may fail.

    Yields
    ------
    items and their results, in order of completion

    Raises
    ------
    Exception
        What the function raised in an item's last attempt.
    """
    for outcome in outcomes(client, function, items, retries=retries, patience=patience):
        if outcome.error is not None:
            raise outcome.error
        yield outcome.item, cast("Result", outcome.result)


class _Cluster:
    """How many tasks the cluster can use, looked up now and then, and whether it is there."""

    def __init__(self, client: Client, patience: float | None) -> None:
        self._client, self._patience = client, patience
        self._address = client.scheduler.address
        self._threads, self._looked, self._seen = 0, -math.inf, time.monotonic()

    def room(self) -> int:
        """Tasks to have in flight."""
        if self._client.status != "running":
            raise self._lost(f"the client is {self._client.status}")
        now = time.monotonic()
        if now - self._looked >= _SECONDS_BETWEEN_LOOKS:
            try:
                self._threads = sum(self._client.nthreads().values())
            except (OSError, ValueError) as error:
                raise self._lost(error) from None
            self._looked = now
            if self._threads:
                self._seen = now
            elif self._patience is not None and now - self._seen > self._patience:
                raise ClusterLostError(
                    f"no worker has been connected to the Dask scheduler at {self._address} for "
                    f"{now - self._seen:.0f} s"
                )
        return max(FEWEST_FUTURES, FUTURES_PER_THREAD * self._threads)

    def result(self, future: Future) -> Any:
        """A finished task's result, for which its worker is asked."""
        try:
            return future.result(timeout=self._patience)
        except (CancelledError, OSError) as error:  # a timeout is an OSError
            raise self._lost(error) from None

    def _lost(self, why: object) -> ClusterLostError:
        return ClusterLostError(
            f"the connection to the Dask scheduler at {self._address} is lost: {why}"
        )
