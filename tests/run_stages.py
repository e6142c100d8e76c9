"""The stages of a run that make its cube, without those that follow, and workers for them."""

from contextlib import contextmanager

import dask
from dask.system import CPU_COUNT
from distributed import LocalCluster
from prefect import flow

from ddp_tasks.stages import decomposition, extraction, signals
from ddp_tasks.store import groups
from flows.clusters import ending
from flows.worker_processes import (
    later_variables,
    load_workers_ahead,
    local_workers,
    worker_environment,
)

_ADDRESS = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "threads_per_worker": 1,
    "preload": ["flows.quick_exit"],
}


@contextmanager
def cluster(workers, **options):
    """Worker processes behind an open address, forked as those of a run on this machine are."""
    environment = worker_environment(local_workers(CPU_COUNT)[1])
    load_workers_ahead(environment)
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        ending(
            LocalCluster(
                n_workers=workers, env=later_variables(environment), **{**_ADDRESS, **options}
            )
        ) as started,
    ):
        yield started


@flow
def fill(run, path, scheduler):
    """Decompose the layers and have the workers write the cube."""
    decomposition.decompose_layers(run, path, scheduler)
    extraction.measure_extraction(run, path, scheduler)
    signals.fill_cube(run, path, scheduler)


def cube(path):
    """The signals of a store, shape (image, layer, singular vector)."""
    return groups.read(path, "signals")["signal"].to_numpy()
