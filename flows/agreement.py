"""Hosts of one run must agree: on their software, the output folder, the weights and the images."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Client

from ddp_tasks.files.whole import write_whole
from ddp_tasks.images.samples import Sample
from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import prepare
from ddp_tasks.stages.bounded_futures import ClusterLostError, connected
from ddp_tasks.stages.turned_away import turning_away
from ddp_tasks.store.identity import MadeOf
from ddp_tasks.workers.agreement import Agreement, Compared, Witness, compared, versions
from ddp_tasks.workers.stored_run import StoredRun
from flows.clusters import OF_THIS_MACHINE
from schemas.parameters import RunError, RunParameters
from schemas.shown import error_shown

#: Workers and differences that a message names.
_MOST_NAMED = 3

_SECONDS_BETWEEN_LOOKS = 0.05

_REMEDY = (
    "every host needs the flow's versions (constraints.txt), and its files under the same paths"
)

_LOG = logging.getLogger(__name__)


@contextmanager
def agreed(
    cluster: str, scheduler: str, folder: Path, run: RunParameters | None = None
) -> Iterator[None]:
    """Compare scheduler and workers with this process, later and busy ones before their first task.

    Workers of this machine that are forked from here have nothing to differ in, and are not asked.

    Parameters
    ----------
    cluster, scheduler
        what a run names, and the address of its scheduler.
    folder
        the output folder, in which a file lies while the context lasts.
    run
        as its workers will open it, after training; None compares neither weights nor images.

    Raises
    ------
    RunError
        If one differs; the message names it, both values, and what is to be done.
    """
    if cluster in OF_THIS_MACHINE:
        yield
        return
    with ExitStack() as stack:
        token = secrets.token_hex(8)
        # By one name each, so that what a killed flow left is written over and goes with it; runs
        # and lists may share a folder.
        witness = Witness(folder / f".agreement-{'list' if run is None else 'run'}", token)
        stack.callback(witness.path.unlink, missing_ok=True)
        write_whole(witness.path, token)
        agreement = _agreement(token, witness, run)
        client = stack.enter_context(connected(scheduler))
        _check_scheduler(client)
        _check_workers(client, agreement)
        stack.enter_context(turning_away(client, agreement, _LOG.warning))
        yield


def _agreement(token: str, witness: Witness, run: RunParameters | None) -> Agreement:
    if run is None:
        return Agreement(token, versions(), witness)
    prepared = prepare(run)
    made_of = MadeOf(model_digest(prepared.model), prepared.images.digest())
    stored = StoredRun(Path(), run.model_dump_json(), made_of)
    return Agreement(token, versions(), witness, stored, Sample.of(prepared.images))


def _check_scheduler(client: Client) -> None:
    """Of the scheduler, Dask's own report; it need not have this package."""
    known = client.get_versions()
    here, there = known["client"]["packages"], known["scheduler"]["packages"]
    differing = [
        f"{name} is {there.get(name, 'missing')} there and {here[name]} here"
        for name in ("python", "dask", "distributed")
        if _compared(name, here[name]) != _compared(name, there.get(name))
    ]
    if differing:
        raise _refusal(f"scheduler {client.scheduler.address}", differing)


def _compared(name: str, version: str | None) -> str | None:
    return ".".join(version.split(".")[:2]) if version and name == "python" else version


def _check_workers(client: Client, agreement: Agreement) -> None:
    harmless: dict[str, None] = {}
    refused: dict[str, list[str]] = {}
    for address, answer in _answers(client, agreement):
        if isinstance(answer, BaseException):
            refused[f"worker {address}"] = [f"it cannot be compared: {error_shown(answer)}"]
            continue
        harmless |= dict.fromkeys(answer.harmless)
        if answer.differences:
            refused[f"worker {address} on {answer.host}"] = answer.differences
    if harmless:
        _LOG.warning("workers differ from the flow without harm: %s", "; ".join(harmless))
    if refused:
        named = list(refused)[:_MOST_NAMED]
        more = len(refused) - len(named)
        who = ", ".join(named) + (f" and {more:,} more" if more else "")
        raise _refusal(who, next(iter(refused.values())))


def _answers(
    client: Client, agreement: Agreement
) -> Iterator[tuple[str, Compared | BaseException]]:
    """What each idle worker says, as a task: its imports would keep it from its heartbeat.

    Those that leave meanwhile are left out, and so are those that another run keeps busy, which
    compare before their first task: this one would wait for the other without a word.
    """
    try:
        waiting = {
            client.submit(compared, agreement, workers=[address], pure=False): address
            for address in _idle(client)
        }
        while waiting:
            for future in [future for future in waiting if future.done()]:
                yield waiting.pop(future), future.exception() or future.result()
            there = client.nthreads()
            waiting = {future: address for future, address in waiting.items() if address in there}
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except (CancelledError, OSError, ValueError) as error:
        raise ClusterLostError(
            f"the connection to the Dask scheduler at {client.scheduler.address} is lost: {error}"
        ) from None


def _idle(client: Client) -> list[str]:
    """Workers with a thread to spare; a cancelled task is one that still runs."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    running = {
        address: sum(counts.get(state, 0) for state in ("executing", "cancelled"))
        for address, worker in workers.items()
        for counts in [worker["metrics"]["task_counts"]]
    }
    return [address for address, count in running.items() if count < workers[address]["nthreads"]]


def _refusal(who: str, differences: list[str]) -> RunError:
    named, more = differences[:_MOST_NAMED], len(differences) - _MOST_NAMED
    what = "; ".join(named) + (f"; and {more:,} more" if more > 0 else "")
    return RunError(
        f"cluster: {who} may not take part in the run:\n  {what}\n  {_REMEDY}", change=["cluster"]
    )
