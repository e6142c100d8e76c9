"""Shards a second through the flow's loop, with 2 to 128 workers that sleep.

    python -m benchmarks.scheduler_scaling [--workers 2 8 32 128] [--seconds 0.384]

A Dask scheduler in a process of its own, workers of one thread each in a few more, and this
process as the flow: a stage in a Prefect flow, on a temporary server, that sends shards as that of
the signals does, each with the parameters of a run of the digits. A shard sleeps for the time that
a GPU takes for one of VGG-16's (576 images at 1,500 a second); with ``--seconds 0``, for none, to
show the most that flow and scheduler pass. Between the first and the last result: shards a second,
and milliseconds of processor for each shard in the flow, the scheduler and the workers' processes,
which say what a machine with a core for each of them would pass. Appends a section to
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from distributed import Client
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from benchmarks.sleeping_workers import sleep_shard
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store.identity import MadeOf
from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.stored_run import StoredRun
from schemas.run_files import load_run

RESULTS = Path(__file__).with_name("RESULTS.md")

IMAGES = 576
#: Processes that hold the workers: more would take memory, fewer would share one lock.
MOST_PROCESSES = 4
#: Shards that are sent before counting begins: every worker has its own and one that waits.
WARM = 2
SECONDS_OF_EACH = 15

#: Processes by the part that they have in the work.
Parts = dict[str, list[Any]]


@contextmanager
def started(*command: str) -> Iterator[psutil.Process]:
    """A process of this benchmark, which ends with the context."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "error"}
    process = subprocess.Popen([sys.executable, *command], env=environment)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, psutil.Process, list[psutil.Process]]]:
    """A scheduler and workers: its address, its process, and those of the workers."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "scheduler.json"
        command = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        pages = ("--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(place))
        scheduler = stack.enter_context(
            started("-m", "distributed.cli.dask_scheduler", *command, *pages)
        )
        while not place.exists():
            time.sleep(0.1)
        with Client(scheduler_file=str(place), set_as_default=False) as client:
            address = str(client.scheduler.address)
            processes = min(workers, MOST_PROCESSES)
            holders = [
                stack.enter_context(
                    started(
                        *("-m", "benchmarks.sleeping_workers", address),
                        str(workers // processes + (i < workers % processes)),
                    )
                )
                for i in range(processes)
            ]
            client.wait_for_workers(workers, timeout=1200)
        yield address, scheduler, holders


def processor(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor that processes have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@flow(name="scheduler-scaling")
def sent(address: str, shards: int, seconds: float, parts: Parts) -> dict[str, float]:
    """Send shards; seconds by the clock and of processor in each part, but for the first tenth."""
    marks: list[tuple[float, dict[str, float]]] = []
    run = load_run("digits")
    stored = StoredRun(
        Path("/results/digits/store.zarr"), run.model_dump_json(), MadeOf("0" * 64, "0" * 64)
    )
    every = [Shard(i, i * IMAGES, (i + 1) * IMAGES) for i in range(shards)]

    def mark() -> None:
        marks.append((time.perf_counter(), {part: processor(p) for part, p in parts.items()}))

    @stage("shards")
    def fill() -> None:
        with over_workers(
            address,
            600,
            key="shards",
            description="sleeping shards",
            total=shards * IMAGES,
            size=len,
        ) as mapped:
            work = partial(sleep_shard, seconds, stored)
            for done, _ in enumerate(mapped.outcomes(work, every), 1):
                if done in (max(shards // 10, 1), shards):
                    mark()

    fill()
    (start, before), (end, after) = marks
    return {"seconds": end - start, **{part: after[part] - before[part] for part in parts}}


def measured(workers: int, seconds: float, shards: int) -> str:
    """A row of the table."""
    with cluster(workers) as (address, scheduler, holders):
        parts = {"flow": [psutil.Process()], "scheduler": [scheduler], "workers": holders}
        sent(address, max(WARM * workers, 10), 0, parts)
        spent = sent(address, shards, seconds, parts)
    counted = shards - shards // 10
    rate = counted / spent["seconds"]
    asked = f"{workers / seconds:.1f} | {rate * seconds / workers:.0%}" if seconds else "| "
    each = [f"{1e3 * spent[part] / counted:.1f}" for part in parts]
    return f"| {workers} | {shards} | {rate:.1f} | {asked} | {' | '.join(each)} |"


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=IMAGES / 1500, help="that a shard sleeps")
    parser.add_argument("--shards", type=int, help="by default so many that each row takes 15 s")
    asked = parser.parse_args()
    lines = [
        "",
        f"## Sleeping workers: the flow and the scheduler, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.scheduler_scaling --seconds {asked.seconds:.3g}`: {os.cpu_count()} "
        f"cores for all processes, load {os.getloadavg()[0]:.1f} before. Milliseconds of processor "
        "for each shard.",
        "",
        "| workers | shards | a second | of so many possible | share | flow, ms | scheduler, ms "
        "| workers' processes, ms |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines), flush=True)
    with prefect_test_harness(server_startup_timeout=900):
        for workers in asked.workers:
            rate = workers / max(asked.seconds, 0.01)
            shards = asked.shards or round(min(rate * SECONDS_OF_EACH, 2000) + 10 * workers)
            lines.append(measured(workers, asked.seconds, max(shards, 20)))
            print(lines[-1], flush=True)
    with RESULTS.open("a", encoding="utf-8") as results:
        results.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
