"""The Dask scheduler that a run's ``cluster`` names; another cluster needs no other code."""

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

#: Clusters whose processes are started here, and end with this process.
_OF_THIS_MACHINE = ("auto", "local", "cuda")

_LOG = logging.getLogger(__name__)


def check_cluster(cluster: str) -> None:
    """Refuse a cluster that cannot be used, before any work starts.

    Raises
    ------
    RunError
        If it cannot be used; the message names it and what is allowed.
    """
    if cluster == "cuda" and cuda_devices() == 0:
        raise RunError("cluster: cuda is refused, as this machine has no CUDA device; use auto")
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
        auto (GPUs if there are any), local, cuda, a scheduler address, or a cluster file.

    Raises
    ------
    RunError
        If the cluster cannot be used.
    """
    check_cluster(cluster)
    if "://" in cluster:
        yield cluster
        return
    # At INFO, messages about workers would hide the run's own lines.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    quick_exit.quiet_tracker()
    with ExitStack() as stack:
        with stopping.kept_from_children():
            started = stack.enter_context(ending(_started(cluster)))
        if cluster not in _OF_THIS_MACHINE:
            # Processes on other machines do not end with this one.
            stack.enter_context(stopping.closed_by(lambda _: started.close()))
        yield started.scheduler_address


@contextmanager
def ending(cluster: Any) -> Iterator[Any]:
    """A cluster that ends with the context.

    On a busy machine, workers may take longer to end than Dask waits, and are killed. What they
    have written stays written, so the run has not failed.
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
    # The factory of a file may raise any error, and a person can act on it.
    except Exception as error:
        raise RunError(f"cluster {cluster}: {error_shown(error)}") from error


def local_cluster(workers: int, threads: int) -> LocalCluster:
    """Worker processes that compute one shard each, with this many threads of torch."""
    environment = worker_environment(threads)
    # Dask passes these variables of this process on to its workers, despite its configuration:
    # eight threads set in a shell would be eight in each worker.
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
            f"cluster: factory {parameters.factory!r} returned a {type(started).__name__}, not a "
            f"Dask cluster: it has no {' and no '.join(lacks)}"
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
        raise RunError(f"cluster: {address!r} has an unknown protocol; known: {allowed}")
    port = place.rpartition(":")[2]
    if protocol != "inproc" and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise RunError(f"cluster: {address!r} must end with a port, such as {protocol}://host:8786")
    if protocol in ("tls", "wss") and not Security().tls_client_cert:
        raise RunError(
            f"cluster: {address!r} needs certificates; name them in Dask's configuration: "
            "distributed.comm.tls.ca-file, and client.cert and client.key beside it"
        )
    try:
        return Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    # Dask may raise any error about the address, the certificates or the answer.
    except Exception as error:  # noqa: BLE001
        raise RunError(f"cluster: no Dask scheduler answers at {address!r}: {error}") from None
