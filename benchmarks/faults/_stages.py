"""The two stages that workers do, on a scheduler at an address, and what they left compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faulty
import numpy as np
from prefect import flow
from runs import tiny_run

from ddp_tasks.stages import decomposition, signals
from ddp_tasks.store import groups, shards
from schemas.parameters import RunParameters

#: A scheduler that misses a silent worker after 30 s, not the usual 5 minutes: on a slow machine a
#: worker that imports torch says nothing for 10.
SETTINGS = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s"}


@flow
def fill(run: RunParameters, path: Path, scheduler: str) -> None:
    """Decompose the layers and fill the cube."""
    decomposition.decompose_layers(run, path, scheduler)
    signals.fill_cube(run, path, scheduler)


def waiting_run(flag: Path) -> RunParameters:
    """A tiny run whose shard 2 waits in its worker until the flag is there."""
    return tiny_run(f"{faulty.HERE}:Waits", {"flag": str(flag)})


def start_scheduler() -> tuple[subprocess.Popen[str], str]:
    """A Dask scheduler in a process of its own, and its address."""
    code = (
        "import asyncio\nfrom distributed import Scheduler\n"
        "async def main():\n"
        "    async with Scheduler(host='127.0.0.1', port=0, dashboard=False) as s:\n"
        "        print(s.address, flush=True)\n        await s.finished()\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **SETTINGS},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def start_worker(scheduler: str) -> subprocess.Popen[str]:
    """A Dask worker in a process of its own, without a nanny."""
    code = (
        "import asyncio, sys\nfrom distributed import Worker\n"
        "async def main():\n"
        "    async with Worker(sys.argv[1], nthreads=1, host='127.0.0.1', dashboard=False) as w:\n"
        "        await w.finished()\n"
        "asyncio.run(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, scheduler], stderr=subprocess.DEVNULL, text=True
    )


def same_cube(path: Path, undisturbed: Path) -> bool:
    """Whether two stores hold the same whole cube, to the bit."""
    found, expected = (groups.read(p, "signals") for p in (path, undisturbed))
    names = ("image", "target", "signal", "predicted", "confidence")
    for name in names:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy())
    return not shards.missing_shards(path)
