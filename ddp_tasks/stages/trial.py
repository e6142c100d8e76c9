"""Trying a cluster: some shards of a run, computed as a run does, to tell what it would cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from prefect.logging import disable_run_logger

from ddp_tasks.networks.models import open_model
from ddp_tasks.prepared_run import trained_model
from ddp_tasks.stages.bounded_futures import ClusterLostError, connected
from ddp_tasks.stages.chosen_workers import ClusterWorker, await_workers, call_on, connected_workers
from ddp_tasks.stages.decomposition import decompose_layers
from ddp_tasks.store import shards
from ddp_tasks.workers.stored_run import StoredRun
from ddp_tasks.workers.trial import TimedShard, WorkerFacts, timed_shard, worker_facts
from schemas.parameters import RunParameters

#: Passes over the trial's shards that count, after one that opens model and images.
REPEATS = 2


@dataclass(frozen=True)
class TriedWorker:
    """A worker, and what it did."""

    worker: ClusterWorker
    facts: WorkerFacts
    rates: Sequence[float] = ()
    """images a second in each repeat, over all its threads; empty if it had no shard."""
    memory: int = 0
    """greatest bytes of main memory that its process has held."""
    device_memory: int = 0
    """the same of its GPU; 0 without one."""


@dataclass(frozen=True)
class Trial:
    """What a cluster is, and what a part of a run took on it."""

    scheduler: str
    workers: Sequence[TriedWorker]
    images: int
    """of the whole run."""
    shards: int
    """of the whole run."""
    images_per_shard: int
    tried: int
    """shards that were computed at the same time."""
    decomposition_seconds: float
    opening_seconds: float
    """of the first shards, with which workers open model and images; the others do not count it."""
    decomposition_bytes: int
    signals_bytes: int
    """of the whole run, as those of the trial's shards are on disk."""

    def signals_seconds(self, workers: int | None = None) -> tuple[float, float]:
        """Seconds expected for the signals of the whole run, by the fastest and slowest repeat.

        Shards are as fast as those of the trial, and no more work at a time than there are.

        Parameters
        ----------
        workers
            on so many workers like these; by default on those that were tried.
        """
        threads = sum(tried.worker.threads for tried in self.workers)
        if workers is not None:
            threads = threads * workers // len(self.workers)
        at_once = min(self.shards, threads) / self.tried
        rates = [
            sum(each) for each in zip(*(w.rates for w in self.workers if w.rates), strict=True)
        ]
        return self.images / (max(rates) * at_once), self.images / (min(rates) * at_once)


def try_cluster(
    run: RunParameters, folder: Path, scheduler: str, fewest: int, doing: Callable[[str], None]
) -> Trial:
    """Decompose a run's layers on a cluster, and have its workers compute shards.

    Each thread of the cluster computes one shard, all at the same time, as long as there are
    shards. Nothing is trained: a network that is to be trained is tried as it begins.

    Parameters
    ----------
    folder
        empty, for a store; all workers must see it.
    fewest
        number of workers to wait for.
    doing
        called with what is done now.

    Raises
    ------
    RunError
        If the run cannot be carried out there.
    """
    path = folder / "store.zarr"
    with disable_run_logger(), connected(scheduler) as client:

        def seen(workers: int) -> None:
            doing(f"waiting for workers: {workers} of {fewest}")

        workers = await_workers(client, fewest, run.shards.patience, seen)
        doing(f"looking at {len(workers)} workers")
        facts = {
            address: told
            for address, (told,) in call_on(
                client, {w.address: [worker_facts] for w in workers}
            ).items()
        }
        run = _with_weights(run, folder)
        doing("decomposing layers")
        began = time.monotonic()
        decompose_layers.without_prefect(run, path, scheduler)
        decomposed = time.monotonic() - began
        empty = _bytes(path / "signals")
        workers = [w for w in connected_workers(client) if w.address in facts]
        if not workers:
            raise ClusterLostError(
                f"the {len(facts)} workers that were looked at are gone: those that the cluster "
                "starts do not stay, or were killed, perhaps for their memory"
            )
        calls = _calls(run, path, workers)
        rounds = []
        for repeat in range(REPEATS + 1):
            doing(f"computing shards, {'opening' if repeat == 0 else f'repeat {repeat}'}")
            rounds.append(call_on(client, calls))
    every = shards.shards(path)
    tried = sum(map(len, calls.values()))
    opening = [shard for of_worker in rounds[0].values() for shard in of_worker]
    return Trial(
        scheduler=scheduler,
        workers=[
            _tried(w, facts[w.address], [r.get(w.address, []) for r in rounds]) for w in workers
        ],
        images=every[-1].stop,
        shards=len(every),
        images_per_shard=len(every[0]),
        tried=tried,
        decomposition_seconds=decomposed,
        opening_seconds=max(shard.ended - shard.began for shard in opening),
        decomposition_bytes=_bytes(path / "decomposition"),
        signals_bytes=empty + (_bytes(path / "signals") - empty) * len(every) // tried,
    )


def _with_weights(run: RunParameters, folder: Path) -> RunParameters:
    """The run with the weights with which its network begins, if it is to be trained."""
    if run.model.training is None:
        return run
    checkpoint = folder / "network.pt"
    torch.save({"state_dict": open_model(run.model).state_dict()}, checkpoint)
    return run.model_copy(update={"model": trained_model(run, checkpoint)})


def _calls(
    run: RunParameters, path: Path, workers: Sequence[ClusterWorker]
) -> dict[str, list[Callable[[], TimedShard]]]:
    """One shard for each thread, dealt to the workers in turn until there are no more."""
    stored, left = StoredRun.of(path, run), iter(shards.shards(path))
    calls: dict[str, list[Callable[[], TimedShard]]] = {}
    for turn in range(max(worker.threads for worker in workers)):
        for worker in workers:
            if turn < worker.threads and (shard := next(left, None)) is not None:
                calls.setdefault(worker.address, []).append(partial(timed_shard, stored, shard))
    return calls


def _tried(
    worker: ClusterWorker, facts: WorkerFacts, rounds: Sequence[Sequence[TimedShard]]
) -> TriedWorker:
    done = [shard for of_round in rounds for shard in of_round]
    if not done:
        return TriedWorker(worker, facts)
    return TriedWorker(
        worker,
        facts,
        rates=[_rate(of_round) for of_round in rounds[1:]],
        memory=max(shard.memory for shard in done),
        device_memory=max(shard.device_memory for shard in done),
    )


def _rate(of_worker: Sequence[TimedShard]) -> float:
    """Images a second of one worker."""
    took = max(shard.ended for shard in of_worker) - min(shard.began for shard in of_worker)
    return sum(shard.images for shard in of_worker) / took


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
