"""Local worker processes: forked from one process that has loaded their libraries.

torch, HyperNetX and HoloViews take seconds of processor time to import. One process imports them
while the flow opens the model and the images, or trains; each worker then begins with everything
in memory, which it shares with the others.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.forkserver import ensure_running
from pathlib import Path

from dask.system import CPU_COUNT

from flows import quick_exit, stopping, worker_libraries
from schemas.parameters import RunParameters

#: Modules that workers use, and that Dask needs to start one, in the order of a run.
_MODULES = (
    "distributed.nanny",
    "ddp_tasks.workers.decomposition",
    "ddp_tasks.workers.signals",
    "ddp_tasks.workers.spectra",
    "ddp_tasks.workers.family",
    "ddp_tasks.workers.hypergraphs",
    "ddp_tasks.workers.controls",
    "ddp_tasks.workers.visualizations",
    "ddp_tasks.workers.sections",
    # Modules that these import only when they are called, since the flow does not need them.
    "ddp_tasks.hypergraphs.hif",
    "ddp_tasks.report.layer_section",
    "ddp_tasks.report.run_page",
)

#: Packages of factories that take seconds to import, except a person's own.
_OF_FACTORIES = ("torchvision",)

#: Exists if NVIDIA's driver is installed; workers are then those of the GPUs.
_NVIDIA = Path("/proc/driver/nvidia")

#: Of the process that workers are forked from; empty before it is started.
_ENVIRONMENT: dict[str, int] = {}

#: More workers than this on one machine cost more memory for copies of the model than they
#: gain; the cores beyond go to torch's threads.
_MOST_LOCAL_WORKERS = 8

#: What torch, the libraries under numpy, and Zarr read their numbers of threads from.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ZARR_THREADING__MAX_WORKERS",
)

#: A pass frees and allocates the same large blocks again and again. By default, glibc returns them
#: to the system each time and gets them zeroed anew. Workers keep them: no block is mapped by
#: itself, one arena for all threads, nothing trimmed below 4 GiB.
ALLOCATION = {
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_ARENA_MAX": 1,
    "MALLOC_TRIM_THRESHOLD_": 2**32,
}


def local_workers(cores: int) -> tuple[int, int]:
    """Workers on one machine and torch threads in each; their product is at most the cores."""
    workers = min(cores, _MOST_LOCAL_WORKERS)
    return workers, cores // workers


def worker_environment(threads: int) -> dict[str, int]:
    """Environment variables of a worker process with this many threads."""
    return {**dict.fromkeys(THREAD_VARIABLES, threads), **ALLOCATION}


def later_variables(environment: Mapping[str, int]) -> dict[str, str]:
    """Variables of this process that workers take beside their own.

    Forked workers would have what was set when the process they are forked from began.
    """
    return {name: value for name, value in os.environ.items() if name not in environment}


def load_workers_of(run: RunParameters) -> None:
    """Have the libraries of a run's workers loaded beside what this process does meanwhile.

    Nothing is done for workers that are not started here.
    """
    cluster = run.cluster
    if cluster == "local" or (cluster == "auto" and not _NVIDIA.exists()):
        packages = {one.factory.partition(".")[0] for one in (run.model, run.images)}
        load_workers_ahead(
            worker_environment(local_workers(CPU_COUNT)[1]),
            [package for package in _OF_FACTORIES if package in packages],
        )


def load_workers_ahead(environment: Mapping[str, int], packages: Sequence[str] = ()) -> bool:
    """Start the process that local workers are forked from, unless it runs already.

    Parameters
    ----------
    environment
        of the workers: a library reads its variables when it is loaded.
    packages
        that the workers will import besides.

    Returns
    -------
    whether it has loaded its libraries in this environment; a process has one such process
    """
    if _ENVIRONMENT:
        return environment == _ENVIRONMENT
    _ENVIRONMENT.update(environment)
    quick_exit.quiet_tracker()
    multiprocessing.set_forkserver_preload([worker_libraries.__name__])
    # Started by itself first: it would let Ctrl-C through to what is started after it.
    resource_tracker.ensure_running()
    libraries = {worker_libraries.VARIABLE: " ".join([*packages, *_MODULES])}
    with _with_variables({**environment, **libraries}), stopping.kept_from_children():
        ensure_running()
    return True


@contextmanager
def _with_variables(environment: Mapping[str, int | str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update({name: str(value) for name, value in environment.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
