"""From a run's ``cluster`` to a Dask scheduler: moving to another cluster changes no code."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security
from distributed.comm import registry

from ddp_tasks.callables import factories
from ddp_tasks.workers.devices import cuda_devices
from flows import quick_exit, stopping, terminal
from flows.worker_processes import (
    THREAD_VARIABLES,
    load_workers_ahead,
    local_workers,
    worker_environment,
)
from schemas.parameters import ClusterParameters, RunError
from schemas.run_files import load_cluster
from schemas.shown import error_shown

_SECONDS_TO_CONNECT = 15

#: What is started here, in processes that end with this one.
_OF_THIS_MACHINE = ("auto", "local", "cuda")

_LOG = logging.getLogger(__name__)


def check_cluster(cluster: str) -> None:
    """Refuse a cluster that cannot be had, before any work starts.

    Raises
    ------
    RunError
        Naming it and what is allowed.
    """
    if cluster == "cuda" and cuda_devices() == 0:
        raise RunError("cluster: cuda is asked for, and this machine has no CUDA device; use auto")
    if "://" in cluster:
        _connected(cluster).close()
    elif cluster not in _OF_THIS_MACHINE:
        _check_file(load_cluster(Path(cluster)))


@contextmanager
def scheduler(cluster: str) -> Iterator[str]:
    """The address of a Dask scheduler; a cluster that is started here ends with the context.

    Parameters
    ----------
    cluster
        auto (GPUs where there are any), local, cuda, a scheduler address, or a cluster file.

    Raises
    ------
    RunError
        If the cluster cannot be had.
    """
    check_cluster(cluster)
    if "://" in cluster:
        yield cluster
        return
    # Their comings and goings at INFO would bury the run's own lines.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    quick_exit.quiet_tracker()
    with ExitStack() as stack:
        with stopping.kept_from_children():
            started = stack.enter_context(ending(_started(cluster)))
        if cluster not in _OF_THIS_MACHINE:
            # What runs elsewhere does not end with this process.
            stack.enter_context(stopping.closed_by(lambda _: started.close()))
        yield started.scheduler_address


@contextmanager
def ending(cluster: Any) -> Iterator[Any]:
    """A cluster that ends with the context.

    On a machine with much else to do, workers take longer to end than Dask waits for them: they
    are killed then, and what they have written stays written, so that is no failure of the run.
    """
    try:
        yield cluster
    finally:
        try:
            cluster.close()
        except TimeoutError:
            _LOG.warning("Dask's workers did not end in time and were killed")


def _started(cluster: str) -> Any:
    if cluster == "cuda" or (cluster == "auto" and cuda_devices() > 0):
        # Imported only where there is a GPU: building one without raises NVMLError.
        from dask_cuda import LocalCUDACluster

        # One worker for each GPU. Of its two threads one writes a shard while the other computes
        # the next: a pass over the images belongs to one of them at a time.
        return LocalCUDACluster(
            threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
    if cluster in ("auto", "local"):
        return local_cluster(*local_workers(CPU_COUNT))
    try:
        return _from_file(load_cluster(Path(cluster)))
    except RunError:
        raise
    # What the factory of a file raises is of any kind, and a person can act on it.
    except Exception as error:
        raise RunError(f"cluster {cluster}: {error_shown(error)}") from error


def local_cluster(workers: int, threads: int) -> LocalCluster:
    """Worker processes of one shard each, with so many threads for what computes it."""
    environment = worker_environment(threads)
    # Dask hands its workers these variables as this process has them, whatever it is configured
    # to: eight threads that a shell asks for would be eight in each worker.
    os.environ.update({name: str(environment[name]) for name in THREAD_VARIABLES})
    settings: dict[str, object] = {
        f"distributed.nanny.pre-spawn-environ.{v}": n for v, n in environment.items()
    }
    method = "forkserver" if load_workers_ahead(environment) else "spawn"
    settings["distributed.worker.multiprocessing-method"] = method
    with dask.config.set(settings):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            preload=[quick_exit.__name__, terminal.__name__],
        )


def _from_file(parameters: ClusterParameters) -> Any:
    started = factories.call(parameters.factory, parameters.kwargs)
    lacks = [name for name in ("scheduler_address", "close") if not hasattr(started, name)]
    if lacks:
        raise RunError(
            f"cluster: factory {parameters.factory!r} gave a {type(started).__name__}, no Dask "
            f"cluster: it has no {' and no '.join(lacks)}"
        )
    if parameters.workers is not None:
        started.scale(parameters.workers)
    if parameters.maximum is not None:
        started.adapt(minimum=parameters.minimum, maximum=parameters.maximum)
    return started


def _check_file(parameters: ClusterParameters) -> None:
    factories.resolve(parameters.factory)
    pooled = sorted(key for key in parameters.kwargs if key.startswith("rmm_"))
    if pooled and importlib.util.find_spec("rmm") is None:
        raise RunError(
            f"cluster: {', '.join(pooled)} need RMM; install the extra rmm "
            "(pip install 'ddp-flows[rmm]'), or leave them out"
        )


def _connected(address: str) -> Client:
    protocol, _, place = address.partition("://")
    if protocol not in registry.backends:
        allowed = ", ".join(f"{name}://" for name in sorted(registry.backends))
        raise RunError(f"cluster: {address!r} has no protocol that Dask knows here; {allowed} are")
    port = place.rpartition(":")[2]
    if protocol != "inproc" and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise RunError(
            f"cluster: {address!r} does not end with a port, such as {protocol}://host:8786"
        )
    if protocol in ("tls", "wss") and not Security().tls_client_cert:
        raise RunError(
            f"cluster: {address!r} needs certificates; name them in Dask's configuration, "
            "distributed.comm.tls.ca-file, and client.cert and client.key beside it"
        )
    try:
        return Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    # What Dask raises of an address, of certificates, or of what answers there is of any kind.
    except Exception as error:  # noqa: BLE001
        raise RunError(f"cluster: no Dask scheduler answers at {address!r}: {error}") from None
