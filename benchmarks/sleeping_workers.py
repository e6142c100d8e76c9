"""Dask workers that only sleep, many in one process: for ``benchmarks.scheduler_scaling``.

python -m benchmarks.sleeping_workers ADDRESS WORKERS
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass

from distributed import Worker

from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.stored_run import StoredRun


@dataclass(frozen=True)
class Filled:
    """What the result of a shard holds."""

    shard: Shard
    unreadable: dict[str, str]


def sleep_shard(seconds: float, _: StoredRun, shard: Shard) -> Filled:
    """Sleep as long as the shard's passes take."""
    time.sleep(seconds)
    return Filled(shard, {})


async def hold(address: str, workers: int) -> None:
    """Workers of one thread each, until their scheduler ends."""
    held = [
        await Worker(
            address,
            nthreads=1,
            memory_limit=0,
            host="127.0.0.1",
            dashboard=False,
            local_directory=tempfile.gettempdir(),
        )
        for _ in range(workers)
    ]
    await asyncio.gather(*(worker.finished() for worker in held))


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2])))
