"""Workers that join a cluster of several hosts later, and turn out to differ from the flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from distributed import Client, Reschedule, get_client, get_worker

from ddp_tasks.workers.agreement import Agreement, compared
from schemas.run_error import RunError

Result = TypeVar("Result")

#: What workers are compared with, by the address of their scheduler.
_AGREEMENTS: dict[str, Agreement] = {}

#: Why workers were turned away, by the same.
_REASONS: dict[str, list[str]] = {}


@contextmanager
def turning_away(
    client: Client, agreement: Agreement, warn: Callable[[str], None]
) -> Iterator[None]:
    """Within this context, workers that differ carry nothing out.

    Each is compared before its first task. One that joins later leaves; one that was there before
    may be at work for others, so it stays, and the run is refused.

    Parameters
    ----------
    client
        kept open in this context, to hear of them.
    warn
        called with a sentence for each of them.
    """
    address, topic = client.scheduler.address, _topic(agreement)

    def heard(event: tuple[float, str]) -> None:
        _REASONS[address].append(event[1])
        warn(event[1])

    _AGREEMENTS[address], _REASONS[address] = agreement, []
    client.set_metadata(_there(agreement), list(client.nthreads()))
    client.subscribe_topic(topic, heard)
    try:
        yield
    finally:
        del _AGREEMENTS[address], _REASONS[address]


def reason(scheduler: str) -> str | None:
    """Why the last worker that was turned away was; None if none was."""
    return reasons[-1] if (reasons := _REASONS.get(scheduler)) else None


def comparing(scheduler: str, function: Callable[..., Result]) -> Callable[..., Result]:
    """A function for workers of a scheduler, which only those carry out that agree."""
    agreement = _AGREEMENTS.get(scheduler)
    return function if agreement is None else partial(_if_it_agrees, agreement, function)


def _if_it_agrees(agreement: Agreement, function: Callable[..., Result], *args: Any) -> Result:
    if agreement.differences():
        found, worker = compared(agreement), get_worker()
        who, why = f"worker {worker.address} on {found.host}", "; ".join(found.differences)
        if worker.address in get_client().get_metadata(_there(agreement), default=[]):
            raise RunError(f"cluster: {who} may not take part in the run: {why}")
        worker.log_event(
            _topic(agreement), f"{who} was turned away, as it differs from the flow: {why}"
        )
        worker.loop.add_callback(worker.close_gracefully, reason="it differs from the flow")
        raise Reschedule
    return function(*args)


def _there(agreement: Agreement) -> list[str]:
    """Where the scheduler keeps which workers were there at the start."""
    return ["ddp-there", agreement.token]


def _topic(agreement: Agreement) -> str:
    return f"ddp-turned-away-{agreement.token}"
