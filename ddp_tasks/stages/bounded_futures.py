"""The one way to Dask: few futures at a time, so that waiting and finished tasks take no memory.

``Client.map`` sends every task at once and holds every result; here the scheduler knows a few
tasks for each thread of the cluster, and a result is forgotten as soon as it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast, overload

from distributed import Client, Future, Worker
from distributed.scheduler import KilledWorker

from ddp_tasks.stages.dead_workers import why_killed
from schemas.parameters import RunError

#: Attempts at an item after the first, on another worker if its own died.
RETRIES = 2

#: Tasks in flight for each thread: one at work, one waiting on the worker, one on its way.
FUTURES_PER_THREAD = 3

#: Fewest tasks in flight, even without workers: an adaptive cluster grows with waiting tasks.
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
    """The outcome of one item: a result, or the error of its last attempt."""

    item: Item
    result: Result | None = None
    error: BaseException | None = None


#: Further calls for an item, whose results its function takes too.
Parts = Callable[[Item], Sequence[Callable[[], object]]]


def _ignore(_: int) -> None:
    pass


def _one(_: object) -> int:
    return 1


@dataclass(frozen=True)
class OverWorkers:
    """Applies functions to items on the Dask workers, a few items at a time.

    All stages use it. An item that fails is tried again, on another worker if its own died; so a
    function may be called twice for an item.
    """

    client: Client
    patience: float | None
    """seconds to wait while no worker is connected; None waits for ever."""
    advance: Callable[[int], None] = _ignore
    """called with the size of each finished item."""
    size: Callable[[Any], int] = _one
    """size of an item, in the units of the stage's progress."""
    named: Callable[[Any], str] = str
    """name of an item in messages."""
    retries: int = RETRIES
    """attempts at an item after the first."""

    @overload
    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[tuple[Item, Result]]: ...

    @overload
    def __call__(
        self,
        function: Callable[[Item, list[Any]], Result],
        items: Iterable[Item],
        /,
        parts: Parts[Item],
    ) -> Iterator[tuple[Item, Result]]: ...

    def __call__(
        self,
        function: Callable[..., Result],
        items: Iterable[Item],
        /,
        parts: Parts[Item] | None = None,
    ) -> Iterator[tuple[Item, Result]]:
        """Apply a function to items as ``outcomes`` does; the first failure ends it.

        Parameters
        ----------
        function
            called with an item, and with ``parts`` also with the list of their results.
        parts
            calls for an item that its own call waits for. Any workers carry them out and keep
            their results, so an item of many parts keeps all workers busy.

        Yields
        ------
        items and their results, in order of completion

        Raises
        ------
        RunError
            If the workers of an item died; the message names the item.
        OSError
            If the system refused an item's last attempt something; the message names the item.
        Exception
            Any other error of an item's last attempt.
        """
        with closing(self._outcomes(function, items, parts)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome.error, OSError):
                    raise _of_item(outcome.error, self.named(outcome.item)) from outcome.error
                if outcome.error is not None:
                    raise outcome.error
                yield outcome.item, cast("Result", outcome.result)

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Apply a function to items, and yield each outcome as it arrives.

        Calls in flight are cancelled when the caller stops. Failed items do not count as progress.

        Parameters
        ----------
        items
            taken one by one, as there is room for them in flight.

        Raises
        ------
        ClusterLostError
            If the connection to the scheduler ends, or no worker is connected for too long.
        """
        return self._outcomes(function, items, None)

    def _outcomes(
        self, function: Callable[..., Result], items: Iterable[Item], parts: Parts[Item] | None
    ) -> Generator[Outcome[Item, Result], None, None]:
        flight = _Flight(self, function, parts)
        waiting = iter(items)
        cluster = _Cluster(self.client, self.patience)
        try:
            while True:
                room = cluster.room()
                while len(flight) < room and (taken := list(islice(waiting, 1))):
                    flight.send(taken[0])
                if not len(flight):
                    return
                landed = flight.landed()
                if landed is None:
                    continue
                item, future, advanced = landed
                if future.status == "error":
                    error = _explained(self.client, future.exception(), self.named(item))
                    yield Outcome(item, error=error)
                    continue
                result = cluster.result(future)
                self.advance(advanced)
                yield Outcome(item, result=result)
        finally:
            flight.cancel()


class _Flight(Generic[Item]):
    """Calls that the scheduler has, and those that are finished."""

    def __init__(
        self, mapped: OverWorkers, function: Callable[..., object], parts: Parts[Item] | None
    ) -> None:
        self._mapped, self._function, self._parts_of = mapped, function, parts
        self._ended: SimpleQueue[Future] = SimpleQueue()
        #: Items and their sizes, less the sizes of their parts.
        self._items: dict[Future, tuple[Item, int]] = {}
        self._parts: dict[Future, int] = {}

    def __len__(self) -> int:
        """Calls in flight."""
        return len(self._items) + len(self._parts)

    def send(self, item: Item) -> None:
        """Submit an item after its parts, which share its size equally."""
        calls = None if self._parts_of is None else list(self._parts_of(item))
        size = self._mapped.size(item)
        each = size // (len(calls or ()) + 1)
        parts = [self._submit(call) for call in calls or ()]
        future = self._submit(self._function, item, *(() if calls is None else (parts,)))
        self._parts |= dict.fromkeys(parts, each)
        self._items[future] = item, size - each * len(parts)
        for submitted in (*parts, future):
            submitted.add_done_callback(self._ended.put)

    def _submit(self, function: Callable[..., object], *args: object) -> Future:
        return self._mapped.client.submit(function, *args, pure=False, retries=self._mapped.retries)

    def landed(self) -> tuple[Item, Future, int] | None:
        """An item whose call has ended, its future and its size.

        None if there is none after a second, or if a part has ended.
        """
        try:
            future = self._ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            return None
        if future in self._parts:
            advanced = self._parts.pop(future)
            if future.status == "finished":
                self._mapped.advance(advanced)
            return None
        item, advanced = self._items.pop(future)
        return item, future, advanced

    def cancel(self) -> None:
        """Cancel all calls in flight."""
        client = self._mapped.client
        if len(self) and client.status == "running":
            with suppress(OSError, CancelledError):
                client.cancel([*self._items, *self._parts], force=True)


def _explained(client: Client, error: BaseException, item: str) -> BaseException:
    """The error of an item, with an explanation if its workers died."""
    if not isinstance(error, KilledWorker):
        return error
    return WorkerKilledError(why_killed(client, error, item))


def _of_item(error: OSError, item: str) -> OSError:
    message = f"{item}: {error.strerror or error}"
    return OSError(error.errno, message, error.filename) if error.errno else OSError(message)


def on_each_worker(
    scheduler: str, patience: float | None, function: Callable[[int, int | None], Result]
) -> list[Result]:
    """Call a function once on each connected worker; wait for the first one.

    Parameters
    ----------
    patience
        as in ``OverWorkers``.
    function
        called with the worker's number of threads and its memory limit in bytes, or None.

    Raises
    ------
    ClusterLostError
        If no worker is connected for too long, or there is no scheduler.
    """
    with connected(scheduler) as client:
        cluster = _Cluster(client, patience)
        while cluster.threads() == 0:
            time.sleep(_SECONDS_BETWEEN_LOOKS / 10)
        return list(client.run(_with_its_size, function).values())


def _with_its_size(function: Callable[[int, int | None], Result], dask_worker: Worker) -> Result:
    return function(dask_worker.state.nthreads, dask_worker.memory_manager.memory_limit)


class _Cluster:
    """Number of tasks that the cluster can use, looked up now and then, and whether it is there."""

    def __init__(self, client: Client, patience: float | None) -> None:
        self._client, self._patience = client, patience
        self._address = client.scheduler.address
        self._threads, self._looked, self._seen = 0, -math.inf, time.monotonic()

    def room(self) -> int:
        """Tasks to have in flight."""
        return max(FEWEST_FUTURES, FUTURES_PER_THREAD * self.threads())

    def threads(self) -> int:
        """Number of threads of all workers, looked up at most once a second."""
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
        """Threads by worker; a scheduler that does not answer in time counts as lost."""
        longest = None if self._patience is None else max(self._patience, _SECONDS_TO_CONNECT)
        return self._client.nthreads(callback_timeout=longest)

    def result(self, future: Future) -> Any:
        """The result of a finished task, fetched from its worker."""
        try:
            return future.result(timeout=self._patience)
        except (CancelledError, OSError) as error:  # a timeout is an OSError
            raise self._lost(error) from None

    def _lost(self, why: object) -> ClusterLostError:
        return ClusterLostError(
            f"the connection to the Dask scheduler at {self._address} is lost: {why}"
        )
