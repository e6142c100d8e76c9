"""Dask futures, few at a time: what waits and what is done take no memory.

``Client.map`` sends every task at once and holds every result; here the scheduler knows a few
tasks for each thread of the cluster, and a result is forgotten as soon as it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from ddp_tasks.stages.dead_workers import why_killed
from schemas.parameters import RunError

#: Attempts after the first that an item gets, on another worker where its own died.
RETRIES = 2

#: Tasks in flight for each thread: one at work, one that waits beside it, one on its way.
FUTURES_PER_THREAD = 3

#: In flight at least, also while no worker is there: a cluster that adapts grows by what waits.
FEWEST_FUTURES = 8

_SECONDS_BETWEEN_LOOKS = 1.0

_SECONDS_TO_CONNECT = 30

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClusterLostError(RunError):
    """The scheduler is gone, or no worker is left to wait for."""


class WorkerKilledError(RunError):
    """Every worker that was at work on an item has died."""


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the Dask scheduler at an address.

    Raises
    ------
    ClusterLostError
        If no scheduler answers there.
    """
    try:
        client = Client(scheduler, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterLostError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    try:
        yield client
    finally:
        with suppress(TimeoutError):  # of a scheduler that is gone
            client.close()


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
    patience: float | None,
    retries: int = RETRIES,
    named: Callable[[Item], str] = str,
    meanwhile: Callable[[], None] | None = None,
) -> Generator[Outcome[Item, Result], None, None]:
    """Apply a function to items on the Dask workers, and give each outcome as it comes.

    What is in flight when the caller leaves is cancelled.

    Parameters
    ----------
    function
        must bear being called twice for an item: an item whose worker dies goes to another.
    items
        taken as there is room for them in flight.
    patience
        seconds to wait while no worker is connected; None waits for ever.
    retries
        attempts after the first that raised.
    named
        what a message calls an item.
    meanwhile
        called now and then, in this thread, while the workers are at work.

    Raises
    ------
    ClusterLostError
        If the connection to the scheduler ends, or no worker is connected for too long.
    """
    finished: SimpleQueue[Future] = SimpleQueue()
    in_flight: dict[Future, Item] = {}
    waiting = iter(items)
    cluster = _Cluster(client, patience)
    try:
        while True:
            for item in islice(waiting, max(0, cluster.room() - len(in_flight))):
                future = client.submit(function, item, pure=False, retries=retries)
                in_flight[future] = item
                future.add_done_callback(finished.put)
            if not in_flight:
                return
            if meanwhile is not None:
                meanwhile()
            try:
                future = finished.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except Empty:
                continue
            item = in_flight.pop(future)
            if future.status == "error":
                yield Outcome(item, error=_told(client, future.exception(), named(item)))
            else:
                yield Outcome(item, result=cluster.result(future))
    finally:
        if in_flight and client.status == "running":
            with suppress(OSError, CancelledError):
                client.cancel(list(in_flight), force=True)


def _told(client: Client, error: BaseException, item: str) -> BaseException:
    """An item's error; a worker that died has no word of its own for it."""
    if not isinstance(error, KilledWorker):
        return error
    return WorkerKilledError(why_killed(client, error, item))


def results(
    client: Client,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    patience: float | None,
    retries: int = RETRIES,
    named: Callable[[Item], str] = str,
    meanwhile: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result]]:
    """As ``outcomes``, where no item may fail.

    Yields
    ------
    items and their results, in order of completion

    Raises
    ------
    RunError
        Naming the item, if its workers died.
    OSError
        Naming the item, if the system refused its last attempt something.
    Exception
        What else the function raised in an item's last attempt.
    """
    found = outcomes(
        client,
        function,
        items,
        patience=patience,
        retries=retries,
        named=named,
        meanwhile=meanwhile,
    )
    with closing(found):
        for outcome in found:
            if isinstance(outcome.error, OSError):
                raise _of_item(outcome.error, named(outcome.item)) from outcome.error
            if outcome.error is not None:
                raise outcome.error
            yield outcome.item, cast("Result", outcome.result)


def _of_item(error: OSError, item: str) -> OSError:
    said = f"{item}: {error.strerror or error}"
    return OSError(error.errno, said, error.filename) if error.errno else OSError(said)


def await_worker(client: Client, patience: float | None) -> None:
    """Wait until a worker is connected.

    Raises
    ------
    ClusterLostError
        If there is none for too long, or no scheduler.
    """
    cluster = _Cluster(client, patience)
    while cluster.threads() == 0:
        time.sleep(_SECONDS_BETWEEN_LOOKS / 10)


class _Cluster:
    """How many tasks the cluster can use, looked up now and then, and whether it is there."""

    def __init__(self, client: Client, patience: float | None) -> None:
        self._client, self._patience = client, patience
        self._address = client.scheduler.address
        self._threads, self._looked, self._seen = 0, -math.inf, time.monotonic()

    def room(self) -> int:
        """Tasks to have in flight."""
        return max(FEWEST_FUTURES, FUTURES_PER_THREAD * self.threads())

    def threads(self) -> int:
        """Threads of all workers, at the last look."""
        if self._client.status != "running":
            raise self._lost(f"the client is {self._client.status}")
        now = time.monotonic()
        if now - self._looked >= _SECONDS_BETWEEN_LOOKS:
            try:
                self._threads = sum(self._nthreads().values())
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
        return self._threads

    def _nthreads(self) -> dict[str, int]:
        """By worker; a scheduler that does not answer in time is as good as gone."""
        longest = None if self._patience is None else max(self._patience, _SECONDS_TO_CONNECT)
        return self._client.nthreads(callback_timeout=longest)

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
