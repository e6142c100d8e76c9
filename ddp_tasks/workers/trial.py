"""What a Dask worker is, and how long it takes for one shard."""

from __future__ import annotations

import platform
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from ddp_tasks.store.shards import Shard
from ddp_tasks.workers.devices import best_device, device_name
from ddp_tasks.workers.signals import fill_shard
from ddp_tasks.workers.stored_run import StoredRun


@dataclass(frozen=True)
class WorkerFacts:
    """A Dask worker, as it describes itself."""

    host: str
    device: str
    """see ``device_name``."""
    python: str
    torch: str


def worker_facts() -> WorkerFacts:
    """Describe this worker."""
    return WorkerFacts(
        host=socket.gethostname(),
        device=device_name(best_device()),
        python=platform.python_version(),
        torch=torch.__version__,
    )


@dataclass(frozen=True)
class TimedShard:
    """How one shard went."""

    images: int
    began: float
    ended: float
    """seconds on this worker's clock."""
    memory: int
    """greatest bytes of main memory that the worker's process has held."""
    device_memory: int
    """greatest bytes that torch has held on the GPU; 0 without one."""


def timed_shard(stored: StoredRun, shard: Shard) -> TimedShard:
    """Compute and write a shard as a run does, and say how it went.

    Raises
    ------
    RunError
        As in ``fill_shard``.
    """
    began = time.time()
    fill_shard(stored, shard)
    on_gpu = torch.cuda.is_available()
    return TimedShard(
        images=len(shard),
        began=began,
        ended=time.time(),
        memory=_greatest_memory(),
        device_memory=torch.cuda.max_memory_allocated() if on_gpu else 0,
    )


def _greatest_memory() -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "darwin":
        import resource  # there is none on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss: on Linux, a process begins with what the one that started it had.
    status = Path("/proc/self/status").read_text()
    (kibibytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) * 1024
