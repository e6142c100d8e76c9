"""Parts that all stages share: Prefect tasks, progress, and the way to the workers.

Every stage reads its inputs from the store and writes its outputs there, so tasks pass paths
and parameters, never arrays. Every stage may run twice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from prefect import State, Task, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import get_state_exception
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ddp_tasks.files import passing_errors
from ddp_tasks.files.system_errors import refusal_of
from ddp_tasks.stages.artifacts import ProgressBar, show_failure
from ddp_tasks.stages.bounded_futures import OverWorkers, connected
from ddp_tasks.store import leases
from schemas.parameters import RunError
from schemas.shown import shown

_SECONDS_BETWEEN_UPDATES = 2.0
_SECONDS_BETWEEN_LINES = 5.0

Arguments = ParamSpec("Arguments")
Parts = ParamSpec("Parts")
Result = TypeVar("Result")


class Stage(Generic[Arguments]):
    """A function that a flow calls as a Prefect task, if there is anything to do.

    The stages of a flow run that it reads from become the task's dependencies, so that Prefect's
    graph shows who needs whose results. A stage that has nothing to do is no task run.
    """

    def __init__(
        self,
        function: Callable[Arguments, None],
        name: str,
        task_run_name: str,
        after: Sequence[str],
        unless: Callable[..., str | None] | None,
    ) -> None:
        self.name, self._after, self._unless = name, tuple(after), unless
        self._function = self._refusing(function)
        self._task: Task[Arguments, None] = task(
            name=name,
            task_run_name=task_run_name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=passing_errors.RETRIES,
            retry_delay_seconds=list(passing_errors.SECONDS),
            retry_jitter_factor=passing_errors.JITTER,
            retry_condition_fn=_is_tried_again,
        )(self._explained(self._function))

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        """Carry the stage out; its error ends the flow.

        Raises
        ------
        RunError
            As in the function; also in place of an ``OSError``.
        """
        if (state := self.state(*args, **kwargs)) is not None and not state.is_completed():
            raise cast("BaseException", get_state_exception(state))

    def state(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> State[None] | None:
        """Carry the stage out and return the state of its task; None if there was none.

        Raises
        ------
        RunError
            As in ``unless``.
        """
        why = self._nothing_to_do(*args, **kwargs)
        if why is not None:
            if why:
                get_run_logger().info("%s", why)
            return None
        ended = _ended_stages()
        leases.check_held()
        needed = [state for name in self._after for state in ended.get(name, ())]
        # Prefect's types do not join its own arguments with those of the function.
        call: Callable[..., State[None]] = self._task
        state = call(*args, **kwargs, return_state=True, wait_for=needed)
        if state.is_completed():
            ended.setdefault(self.name, []).append(state)
        return state

    def without_prefect(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        """Carry the stage out, if there is anything to do, as no task of Prefect's.

        Raises
        ------
        RunError
            As in the function; also in place of an ``OSError``.
        """
        if self._nothing_to_do(*args, **kwargs) is None:
            self._function(*args, **kwargs)

    def _nothing_to_do(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> str | None:
        """Why there is nothing to do, which may be an empty text; None if there is something."""
        if self._unless is None:
            return None
        return self._refusing(self._unless)(*args, **kwargs)

    def _refusing(self, function: Callable[Parts, Result]) -> Callable[Parts, Result]:
        """The function, with a ``RunError`` of stage, cause and place for an ``OSError``."""

        @wraps(function)
        def refusing(*args: Parts.args, **kwargs: Parts.kwargs) -> Result:
            try:
                return function(*args, **kwargs)
            except OSError as error:
                place = next((argument for argument in args if isinstance(argument, Path)), None)
                raise RunError(f"{self.name}: {refusal_of(error, place)}") from error

        return refusing

    def _explained(self, function: Callable[Arguments, None]) -> Callable[Arguments, None]:
        """The function, whose errors are also artifacts that a person reads without a log."""

        @wraps(function)
        def explained(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:
                attempts = runtime.task_run.run_count or 1
                if not (passing_errors.passes(error) and attempts <= passing_errors.RETRIES):
                    show_failure(self.name, error)
                raise

        return explained


def _is_tried_again(_task: Task[..., None], _run: object, state: State[None]) -> bool:
    error: object = state.data
    return passing_errors.passes(error if isinstance(error, BaseException) else None)


#: States of the tasks of a flow run that have ended well, by the name of their stage.
_Ended = dict[str, list[State[None]]]

#: The run of a flow, and its states.
_ENDED: ContextVar[tuple[object, _Ended] | None] = ContextVar("ended", default=None)


def _ended_stages() -> _Ended:
    run, known = runtime.flow_run.id, _ENDED.get()
    if known is None or known[0] != run:
        known = (run, {})
        _ENDED.set(known)
    return known[1]


def stage(
    name: str,
    *,
    run_name: str | None = None,
    after: Sequence[str] = (),
    unless: Callable[..., str | None] | None = None,
) -> Callable[[Callable[Arguments, None]], Stage[Arguments]]:
    """Make a function a Prefect task without a cache: the store knows which work is done.

    An ``OSError``, such as that of a full disk, becomes a ``RunError`` that names stage, cause and
    place. One that may pass by itself has the stage tried again, see ``passing_errors``.

    Parameters
    ----------
    run_name
        name of the task's runs, a template over the function's arguments; by default the stage's.
    after
        stages whose results it reads.
    unless
        called before, with the same arguments. Says why there is nothing to do, which is logged
        unless it is empty; None if there is.
    """

    def of(function: Callable[Arguments, None]) -> Stage[Arguments]:
        return Stage(function, name, run_name or name, after, unless)

    return of


class Advance(Protocol):
    """Says that items of a stage are finished."""

    def __call__(self, items: int, said: Callable[[], str] | None = None) -> None:
        """Count finished items.

        Parameters
        ----------
        said
            called where a line is logged, for what the line says beside the number and the rate.
        """


@contextmanager
def progress(key: str, description: str, total: int) -> Iterator[Advance]:
    """Show the progress of a stage, as a bar in the terminal and as an artifact in Prefect.

    Where no terminal shows a bar, a line is logged a tenth of the way, but not every few seconds.

    Yields a function to call with the number of items just finished.
    """
    shown_in_prefect = ProgressBar(key, description)
    description = shown(description)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    started = time.monotonic()
    finished, tenths, updated, logged = 0, 0, started, started

    def advance(items: int, said: Callable[[], str] | None = None) -> None:
        nonlocal finished, tenths, updated, logged
        finished += items
        bar.update(line, completed=finished)
        now = time.monotonic()
        if now - updated > _SECONDS_BETWEEN_UPDATES:
            updated = now
            shown_in_prefect.show(100 * finished / total)
        reached = 10 * finished // total
        if bar.disable and reached > tenths and now - logged > _SECONDS_BETWEEN_LINES:
            tenths, logged = reached, now
            get_run_logger().info(
                "%s: %s of %s, %s a second%s",
                description,
                f"{finished:,}",
                f"{total:,}",
                f"{finished / (now - started):,.3g}",
                f", {said()}" if said is not None else "",
            )

    try:
        with bar:
            line = bar.add_task(description, total=total)
            yield advance
    finally:
        shown_in_prefect.take_away()


@contextmanager
def over_workers(
    scheduler: str,
    patience: float | None,
    *,
    key: str,
    description: str,
    total: int,
    size: Callable[[Any], int] = lambda _: 1,
    named: Callable[[Any], str] = str,
    whole_gpu: bool = False,
) -> Iterator[OverWorkers]:
    """Maps functions over the Dask workers for one stage, and shows its progress.

    Parameters
    ----------
    key, description, total
        as in ``progress``.
    patience, size, named, whole_gpu
        as in ``OverWorkers``.

    Raises
    ------
    ClusterLostError
        If no scheduler answers at the address; when mapping, also as in ``OverWorkers.outcomes``.
    """
    with connected(scheduler) as client, progress(key, description, total) as advance:
        yield OverWorkers(client, patience, advance, size, named, whole_gpu=whole_gpu)
