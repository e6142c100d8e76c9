"""The one way to Dask: few futures at a time, so that waiting and finished tasks take no memory.

``Client.map`` sends every task at once and holds every result; here the scheduler knows a few
tasks for each thread of the cluster, and a result is forgotten as soon as it is used.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast, overload

from distributed import Client, Future, Security, Worker
from distributed.scheduler import KilledWorker
from distributed.versions import VersionMismatchWarning

from ddp_tasks.stages import turned_away
from ddp_tasks.stages.dead_workers import why_killed
from ddp_tasks.store import leases
from schemas.parameters import RunError

#: Attempts at an item after the first, on another worker if its own died.
RETRIES = 2

#: Tasks in flight for each thread: one at work, one waiting on the worker, one on its way.
FUTURES_PER_THREAD = 3

#: Fewest tasks in flight, even without workers: an adaptive cluster grows with waiting tasks.
FEWEST_FUTURES = 8

#: Most results that are fetched in one question to the scheduler, which takes as long as one.
_MOST_TOGETHER = 32

#: Dask's resource of which a worker with a GPU has one.
GPU = "GPU"

_SECONDS_BETWEEN_LOOKS = 1.0

_SECONDS_TO_CONNECT = 30

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClusterLostError(RunError):
    """The scheduler is gone, or no worker is left to wait for."""


class WorkerKilledError(RunError):
    """Every worker that was at work on an item has died."""


#: Certificates by the address of their scheduler. Stages pass addresses alone, which Prefect sees.
_CERTIFICATES: dict[str, Security] = {}


@contextmanager
def certified(scheduler: str, security: Security | None) -> Iterator[None]:
    """Within this context, this process shows certificates to the Dask scheduler at an address.

    Parameters
    ----------
    security
        None takes those of Dask's configuration, if it names any.
    """
    if security is None:
        yield
        return
    before = _CERTIFICATES.get(scheduler)
    _CERTIFICATES[scheduler] = security
    try:
        yield
    finally:
        if before is None:
            del _CERTIFICATES[scheduler]
        else:
            _CERTIFICATES[scheduler] = before


def certificates(scheduler: str) -> Security | None:
    """What this process shows to the Dask scheduler at an address; None is as Dask is set."""
    return _CERTIFICATES.get(scheduler)


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the Dask scheduler at an address, with the certificates of ``certified``.

    Raises
    ------
    ClusterLostError
        If no scheduler answers there.
    """
    try:
        with warnings.catch_warnings():
            # A flow compares more than Dask does, and says so once.
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client = Client(
                scheduler,
                timeout=_SECONDS_TO_CONNECT,
                set_as_default=False,
                security=certificates(scheduler),
            )
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
    whole_gpu: bool = False
    """whether each item, or each of its parts, takes a GPU for itself where workers have one."""

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
        LeaseLostError
            If this process no longer holds the lock of the address that it writes to.
        """
        return self._outcomes(function, items, None)

    def _outcomes(
        self, function: Callable[..., Result], items: Iterable[Item], parts: Parts[Item] | None
    ) -> Generator[Outcome[Item, Result], None, None]:
        flight = _Flight(self, function, parts)
        waiting = iter(items)
        cluster = _Cluster(self.client, self.patience)
        landed: list[_Landed[Item]] = []
        try:
            while True:
                leases.check_held()
                room = cluster.room()
                # Workers that have ended an item get the next before its result is fetched.
                while len(flight) < room and (taken := list(islice(waiting, 1))):
                    flight.send(taken[0])
                yield from self._fetched(landed, cluster)
                if not len(flight):
                    return
                landed = flight.landed()
        finally:
            flight.cancel()

    def _fetched(
        self, landed: Sequence[_Landed[Item]], cluster: _Cluster
    ) -> Iterator[Outcome[Item, Result]]:
        """The outcomes of calls that have ended, whose results are fetched together."""
        failed = [each.future.status == "error" for each in landed]
        finished = [each.future for each, bad in zip(landed, failed, strict=True) if not bad]
        results = iter(cluster.results(finished))
        for each, bad in zip(landed, failed, strict=True):
            if bad:
                exception = each.future.exception()
                error = _explained(self.client, exception, self.named(each.item))
                yield Outcome(each.item, error=error)
                continue
            self.advance(each.advanced)
            yield Outcome(each.item, result=next(results))


@dataclass(frozen=True)
class _Landed(Generic[Item]):
    """The call of an item that has ended."""

    item: Item
    future: Future
    advanced: int
    """size of the item, less that of its parts."""


class _Flight(Generic[Item]):
    """Calls that the scheduler has, and those that are finished."""

    def __init__(
        self, mapped: OverWorkers, function: Callable[..., object], parts: Parts[Item] | None
    ) -> None:
        self._mapped, self._function, self._parts_of = mapped, function, parts
        self._ended: SimpleQueue[Future] = SimpleQueue()
        #: Items and their sizes, less the sizes of their parts.
        self._items: dict[Future, tuple[Item, int]] = {}
        self._resources = _one_gpu(mapped.client) if mapped.whole_gpu else None
        self._parts: dict[Future, int] = {}

    def __len__(self) -> int:
        """Calls in flight."""
        return len(self._items) + len(self._parts)

    def send(self, item: Item) -> None:
        """Submit an item after its parts, which share its size equally."""
        calls = None if self._parts_of is None else list(self._parts_of(item))
        size = self._mapped.size(item)
        each = size // (len(calls or ()) + 1)
        if calls is None:
            parts, future = [], self._submit(self._resources, self._function, item)
        else:
            parts = [self._submit(self._resources, call) for call in calls]
            future = self._submit(None, self._function, item, parts)
        self._parts |= dict.fromkeys(parts, each)
        self._items[future] = item, size - each * len(parts)
        for submitted in (*parts, future):
            submitted.add_done_callback(self._ended.put)

    def _submit(
        self, resources: dict[str, int] | None, function: Callable[..., object], *args: object
    ) -> Future:
        client, retries = self._mapped.client, self._mapped.retries
        function = turned_away.comparing(client.scheduler.address, function)
        return client.submit(function, *args, pure=False, retries=retries, resources=resources)

    def landed(self) -> list[_Landed[Item]]:
        """Items whose calls have ended meanwhile; none if none ends within a second."""
        landed = list[_Landed[Item]]()
        seconds = _SECONDS_BETWEEN_LOOKS
        with suppress(Empty):
            for _ in range(_MOST_TOGETHER):
                future = self._ended.get(timeout=seconds)
                seconds = 0
                if future in self._parts:
                    advanced = self._parts.pop(future)
                    if future.status == "finished":
                        self._mapped.advance(advanced)
                else:
                    item, advanced = self._items.pop(future)
                    landed.append(_Landed(item, future, advanced))
        return landed

    def cancel(self) -> None:
        """Cancel all calls in flight."""
        client = self._mapped.client
        if len(self) and client.status == "running":
            with suppress(OSError, CancelledError):
                client.cancel([*self._items, *self._parts], force=True)


def _one_gpu(client: Client) -> dict[str, int] | None:
    """What a task needs that takes a GPU for itself; None where no worker says that it has one.

    A worker's second thread would else take a task that waits for its GPU, while that of another
    worker has nothing to do.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return {GPU: 1} if any(GPU in worker.get("resources", ()) for worker in workers) else None


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
            elif (reason := turned_away.reason(self._address)) is not None:
                raise ClusterLostError(f"no worker is left: {reason}")
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

    def results(self, futures: list[Future]) -> list[Any]:
        """The results of finished tasks, fetched from their workers."""
        if not futures:
            return []
        gather = partial(self._client.gather, futures, asynchronous=True)
        try:
            return cast("list[Any]", self._client.sync(gather, callback_timeout=self._patience))
        except (CancelledError, OSError) as error:  # a timeout is an OSError
            raise self._lost(error) from None

    def _lost(self, why: object) -> ClusterLostError:
        return ClusterLostError(
            f"the connection to the Dask scheduler at {self._address} is lost: {why}"
        )
