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
from ddp_tasks.stages.bounded_futures import GPU, certificates, certified
from ddp_tasks.workers.devices import cuda_devices
from flows import cluster_security, quick_exit, stopping, terminal
from flows.worker_processes import (
    THREAD_VARIABLES,
    later_variables,
    load_workers_ahead,
    local_workers,
    worker_environment,
)
from schemas.cluster_parameters import ClusterParameters
from schemas.parameters import RunError
from schemas.run_files import load_cluster
from schemas.shown import error_shown

#: With imports before it, a refusal is no later than 10 s.
_SECONDS_TO_CONNECT = 6

#: Dask's own pages show code and arguments to every user of the machine; a sign of life is left.
_NO_PAGES = {
    "distributed.scheduler.http.routes": ["distributed.http.health"],
    "distributed.worker.http.routes": ["distributed.http.health"],
}

#: On this machine alone, at any port, with no dashboard.
_LOOPBACK = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "scheduler_kwargs": {"dashboard": False},
}

#: Protocols of Dask whose two ends show each other certificates.
_WITH_CERTIFICATES = ("tls", "wss")

#: Clusters whose processes are started here, and end with this process.
OF_THIS_MACHINE = ("auto", "local", "cuda")

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
    if cluster in OF_THIS_MACHINE:
        return
    with _certified(cluster):
        if (address := _running(cluster)) is not None:
            _connected(address).close()
        else:
            _check_file(load_cluster(Path(cluster)))


def workers_of(cluster: str) -> tuple[int, int | None]:
    """How many workers of a cluster to wait for, and how many it may grow to, if that is known.

    Raises
    ------
    RunError
        If the cluster is a file that is refused.
    """
    if "://" in cluster or cluster in OF_THIS_MACHINE:
        return 1, None
    parameters = load_cluster(Path(cluster))
    return _fewest(parameters), parameters.maximum


def _fewest(parameters: ClusterParameters) -> int:
    asked = parameters.workers or parameters.minimum or parameters.kwargs.get("n_workers")
    return asked if isinstance(asked, int) and asked > 0 else 1


@contextmanager
def scheduler(cluster: str, *, adapts: bool = True) -> Iterator[str]:
    """The address of a Dask scheduler; a cluster that is started here ends with the context.

    Parameters
    ----------
    cluster
        auto (GPUs if there are any), local, cuda, a scheduler address, or a cluster file, which
        starts a cluster or names an address.
    adapts
        let a cluster grow and shrink if its file says so; otherwise it keeps the workers that
        ``workers_of`` says to wait for.

    Raises
    ------
    RunError
        If the cluster cannot be used.
    """
    check_cluster(cluster)
    if (address := _running(cluster)) is not None:
        _warn_if_open(address)
        with _certified(cluster):
            yield address
        return
    # At INFO, messages about workers would hide the run's own lines.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    quick_exit.quiet_tracker()
    with ExitStack() as stack:
        with stopping.kept_from_children():
            started = stack.enter_context(ending(_started(cluster, adapts)))
        if cluster not in OF_THIS_MACHINE:
            # Processes on other machines do not end with this one.
            stack.enter_context(stopping.closed_by(lambda _: started.close()))
        address = started.scheduler_address
        _warn_if_open(address)
        stack.enter_context(certified(address, getattr(started, "security", None)))
        yield address


@contextmanager
def _certified(cluster: str) -> Iterator[None]:
    """Show the certificates of a cluster file to the scheduler whose address it names."""
    if "://" in cluster:
        yield
        return
    security = cluster_security.of(load_cluster(Path(cluster)))
    with certified(_running(cluster) or cluster, security):
        yield


def _warn_if_open(address: str) -> None:
    """Say once for a run that its cluster asks nobody who they are."""
    if address.partition("://")[0] not in (*_WITH_CERTIFICATES, "inproc"):
        _LOG.warning(
            "the Dask scheduler at %s asks for no certificate: whoever reaches it can run code as "
            "its workers",
            address,
        )


def _running(cluster: str) -> str | None:
    """The address of a scheduler that runs already; None if one is to be started."""
    if "://" in cluster:
        return cluster
    return None if cluster in OF_THIS_MACHINE else load_cluster(Path(cluster)).address


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


def _started(cluster: str, adapts: bool) -> Any:
    if cluster == "cuda" or (cluster == "auto" and cuda_devices() > 0):
        # Imported only where there is a GPU: building one without raises NVMLError.
        from dask_cuda import LocalCUDACluster

        # One worker for each GPU. Of its two threads one writes a shard while the other computes
        # the next: a pass over the images belongs to one of them at a time.
        with dask.config.set(_NO_PAGES):
            return LocalCUDACluster(
                threads_per_worker=2,
                resources={GPU: 1},
                security=cluster_security.temporary(),
                **_LOOPBACK,
            )
    if cluster in ("auto", "local"):
        return local_cluster(*local_workers(CPU_COUNT))
    try:
        return _from_file(load_cluster(Path(cluster)), adapts)
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
    with dask.config.set({**settings, **_NO_PAGES}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            security=cluster_security.temporary(),
            **_LOOPBACK,
            env=later_variables(environment),
            preload=[quick_exit.__name__, terminal.__name__],
        )


def _from_file(parameters: ClusterParameters, adapts: bool) -> Any:
    assert parameters.factory is not None  # a file has a factory or an address
    security = cluster_security.of(parameters)
    kwargs = {**parameters.kwargs, **({} if security is None else {"security": security})}
    # Of schedulers and workers in this process; jobs have what their file exports.
    with dask.config.set(_NO_PAGES):
        started = factories.call(parameters.factory, kwargs)
    lacks = [name for name in ("scheduler_address", "close") if not hasattr(started, name)]
    if lacks:
        raise RunError(
            f"cluster: factory {parameters.factory!r} returned a {type(started).__name__}, not a "
            f"Dask cluster: it has no {' and no '.join(lacks)}"
        )
    if parameters.workers is not None:
        started.scale(parameters.workers)
    if parameters.maximum is not None and adapts:
        started.adapt(minimum=parameters.minimum, maximum=parameters.maximum)
    elif parameters.maximum is not None:
        started.scale(_fewest(parameters))
    return started


def _check_file(parameters: ClusterParameters) -> None:
    assert parameters.factory is not None
    factories.resolve(parameters.factory)
    pooled = sorted(key for key in parameters.kwargs if key.startswith("rmm_"))
    if pooled and importlib.util.find_spec("rmm") is None:
        raise RunError(
            f"cluster: {', '.join(pooled)} need RMM; install the extra rmm "
            "(pip install 'ddp-flows[rmm]'), or leave them out"
        )
    protocol = parameters.kwargs.get("protocol")
    if protocol in ("ucx", "ucxx") and importlib.util.find_spec("distributed_ucxx") is None:
        raise RunError(
            f"cluster: protocol {protocol} needs UCX; pip install distributed-ucxx-cu13, or leave "
            "protocol out"
        )


def _connected(address: str) -> Client:
    protocol, _, place = address.partition("://")
    if protocol not in registry.backends:
        allowed = ", ".join(f"{name}://" for name in sorted(registry.backends))
        raise RunError(f"cluster: {address!r} has an unknown protocol; known: {allowed}")
    port = place.rpartition(":")[2]
    if protocol != "inproc" and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise RunError(f"cluster: {address!r} must end with a port, such as {protocol}://host:8786")
    security = certificates(address) or Security()
    if protocol in _WITH_CERTIFICATES and not security.tls_client_cert:
        raise RunError(
            f"cluster: {address!r} needs certificates; name them in a cluster file with this "
            "address (security: ca_file, cert, key) or in Dask's configuration"
        )
    try:
        return Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False, security=security)
    # Dask may raise any error about the address, the certificates or the answer.
    except Exception as error:  # noqa: BLE001
        raise RunError(f"cluster: no Dask scheduler answers at {address!r}: {error}") from None
