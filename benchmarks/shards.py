"""Shards as Prefect tasks beside shards as Dask futures.

    python -m benchmarks.shards [--shards 1000] [--milliseconds 10]

The same empty shards (each sleeps for a few milliseconds) on the same LocalCluster of two workers:
as futures in one Prefect task, as the stage of the signals sends them; as one Prefect task each,
whose threads hand them to Dask; and, where prefect-dask is installed, as one task each on its
DaskTaskRunner. Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, LocalCluster
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

from ddp_tasks.stages.stage import over_workers, stage
from flows.clusters import ending

RESULTS = Path(__file__).with_name("RESULTS.md")


def empty_shard(seconds: float, shard: int) -> int:
    """Sleep, and give the shard's number back."""
    time.sleep(seconds)
    return shard


@flow
def as_futures(address: str, shards: int, seconds: float) -> int:
    """One Prefect task, whose shards are futures."""

    filled = list[int]()

    @stage("shards")
    def fill() -> None:
        with over_workers(
            address, 60, key="shards", description="empty shards", total=shards
        ) as mapped:
            filled.extend(
                shard for shard, _ in mapped(partial(empty_shard, seconds), range(shards))
            )

    fill()
    return len(filled)


def as_tasks(runner: Any, address: str | None, shards: int, seconds: float) -> int:
    """One Prefect task a shard on a task runner; with an address, the task hands it to Dask."""
    client = Client(address, set_as_default=False) if address else None

    @task(retries=2, cache_policy=NO_CACHE, persist_result=False)
    def fill(shard: int) -> int:
        if client is None:
            return empty_shard(seconds, shard)
        return int(client.submit(empty_shard, seconds, shard, pure=False).result())

    @flow(task_runner=runner)
    def fill_all() -> int:
        return len([future.result() for future in [fill.submit(i) for i in range(shards)]])

    try:
        return int(fill_all())
    finally:
        if client is not None:
            client.close()


def measured(function: Callable[[], int], shards: int) -> tuple[float, float, float]:
    """Seconds by the clock and of processor (server included), and MiB that the flow grew."""
    process = psutil.Process()

    def processor() -> float:
        every = [process, *process.children(recursive=True)]
        return sum(sum(p.cpu_times()[:2]) for p in every)

    memory, spent, start = process.memory_info().rss, processor(), time.perf_counter()
    assert function() == shards
    seconds = time.perf_counter() - start
    return seconds, processor() - spent, (process.memory_info().rss - memory) / 2**20


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--milliseconds", type=float, default=10, help="that a shard sleeps")
    asked = parser.parse_args()
    seconds, rows = asked.milliseconds / 1000, []
    with (
        prefect_test_harness(server_startup_timeout=180),
        ending(
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            )
        ) as cluster,
    ):
        address = cluster.scheduler_address
        ways: dict[str, Callable[[], int]] = {
            "Dask futures, a few in flight": partial(as_futures, address, asked.shards, seconds),
            "Prefect tasks on 8 threads that hand shards to Dask": partial(
                as_tasks, ThreadPoolTaskRunner(max_workers=8), address, asked.shards, seconds
            ),
        }
        if importlib.util.find_spec("prefect_dask"):
            from prefect_dask import DaskTaskRunner

            ways["Prefect tasks on prefect_dask.DaskTaskRunner"] = partial(
                as_tasks, DaskTaskRunner(address=address), None, asked.shards, seconds
            )
        as_futures(address, 10, seconds)  # imports and connections are in no figure
        for name, way in ways.items():
            rows.append((name, *measured(way, asked.shards)))
            print(rows[-1], flush=True)
    first = rows[0][1]
    versions = ", ".join(
        f"{n} {importlib.metadata.version(n)}"
        for n in ("prefect", "distributed", "prefect-dask")
        if importlib.util.find_spec(n.replace("-", "_"))
    )
    lines = [
        f"\n## Shards as Prefect tasks and as Dask futures, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.shards --shards {asked.shards}`: {asked.shards} shards that sleep "
        f"{asked.milliseconds:g} ms on two workers ({asked.shards * seconds / 2:.1f} s asleep), "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}; {versions}.",
        "",
        "| way | seconds | times the first | ms a shard | processor, s | memory, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *[
            f"| {name} | {s:.1f} | {s / first:.1f} | {1000 * s / asked.shards:.1f} "
            f"| {processor:.1f} | {memory:+.0f} |"
            for name, s, processor, memory in rows
        ],
    ]
    with RESULTS.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
