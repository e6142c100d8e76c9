import importlib.util
import os
import time
from pathlib import Path

import pytest
import torch
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from ddp_tasks.stages.bounded_futures import OverWorkers, connected
from flows.clusters import check_cluster, ending, local_cluster, local_workers, scheduler
from flows.worker_processes import load_workers_ahead, worker_environment
from schemas.parameters import RunError

GPUS = Path(__file__).parents[2] / "deployment/clusters/gpus.yaml"


@pytest.mark.parametrize("cores", [1, 2, 3, 7, 8, 9, 16, 63, 128])
def test_worker_threads_times_torch_threads_never_exceed_the_cores(cores):
    workers, threads = local_workers(cores)
    assert workers >= 1
    assert threads >= 1
    assert workers * threads <= cores


def threads_of(dask_worker):
    """Numbers of threads that everything in a worker would compute with at once."""
    import zarr
    from threadpoolctl import threadpool_info
    from zarr.core.sync import _get_executor

    return {
        "shards": dask_worker.state.nthreads,
        "torch": torch.get_num_threads(),
        "OMP": int(os.environ["OMP_NUM_THREADS"]),
        "MKL": int(os.environ["MKL_NUM_THREADS"]),
        "blas": max((pool["num_threads"] for pool in threadpool_info()), default=1),
        "zarr": _get_executor()._max_workers,
        "zarr's setting": zarr.config.get("threading.max_workers"),
    }


@pytest.mark.parametrize(("workers", "threads"), [local_workers(CPU_COUNT), (1, 2)])
def test_no_worker_has_more_threads_than_its_share(monkeypatch, workers, threads):
    # What a shell asks for is not for each of several workers.
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("MKL_NUM_THREADS", "64")
    # As in a notebook, in which a first run has been carried out before.
    load_workers_ahead(worker_environment(local_workers(CPU_COUNT)[1]))
    monkeypatch.setenv("DDP_TEST_SET_LATER", "here")
    with (
        ending(local_cluster(workers, threads)) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        found = client.run(threads_of)
        mapped = client.run(lambda: os.environ.get("MALLOC_MMAP_MAX_"))
        later = client.run(lambda: os.environ.get("DDP_TEST_SET_LATER"))
        loaded = client.run(lambda dask_worker: [p.name for p in dask_worker.preloads])
    assert set(mapped.values()) == {"0"}, "a pass has its memory zeroed anew at every layer"
    assert set(later.values()) == {"here"}
    assert set(map(tuple, loaded.values())) == {("flows.quick_exit", "flows.terminal")}
    assert len(found) == workers
    for counted in found.values():
        assert counted.pop("shards") == 1
        assert set(counted.values()) == {threads}, str(counted)


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def test_a_cluster_grows_and_shrinks_while_the_job_goes_on(tmp_path):
    file = tmp_path / "adaptive.yaml"
    file.write_text(
        "factory: distributed:LocalCluster\n"
        "kwargs: {n_workers: 0, threads_per_worker: 1, host: 127.0.0.1, "
        'dashboard_address: "127.0.0.1:0"}\n'
        "minimum: 1\n"
        "maximum: 2\n"
    )
    asked = []
    with scheduler(str(file)) as address, Client(address, set_as_default=False) as client:

        def items():
            """Work for more than one worker until there are two, none until one retires, more."""
            while len(client.nthreads()) < 2:
                asked.append(1.0)
                yield 1.0
            while len(client.nthreads()) > 1:
                time.sleep(0.1)
            for _ in range(3):
                asked.append(0.0)
                yield 0.0

        found = [result for _, result in OverWorkers(client, patience=None)(sleep, items())]
        assert len(client.nthreads()) == 1
    assert sorted(found) == sorted(asked)
    assert len(found) > 3


@pytest.mark.skipif(importlib.util.find_spec("rmm") is not None, reason="RMM is installed")
def test_a_memory_pool_without_rmm_is_refused_before_work_starts():
    with pytest.raises(RunError, match=r"rmm_pool_size need RMM; install the extra rmm"):
        check_cluster(str(GPUS))


@pytest.mark.skipif(
    importlib.util.find_spec("distributed_ucxx") is not None, reason="UCX is installed"
)
def test_ucx_without_its_package_is_refused_before_work_starts(tmp_path):
    file = tmp_path / "ucx.yaml"
    file.write_text("factory: distributed:LocalCluster\nkwargs: {protocol: ucx}\n")
    with pytest.raises(RunError, match="protocol ucx needs UCX; pip install distributed-ucxx-cu13"):
        check_cluster(str(file))


@pytest.mark.parametrize("by_file", [False, True])
def test_a_scheduler_that_runs_already_is_used_and_left_running(tmp_path, by_file):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        named = cluster.scheduler_address
        if by_file:
            file = tmp_path / "existing.yaml"
            file.write_text(f"address: {named}\n")
            named = str(file)
        with scheduler(named) as address:
            assert address == cluster.scheduler_address
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_cluster_file_starts_its_cluster_and_ends_it(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(
        "factory: distributed:LocalCluster\n"
        "kwargs: {n_workers: 0, threads_per_worker: 1, host: 127.0.0.1, "
        'dashboard_address: "127.0.0.1:0"}\n'
        "workers: 2\n"
    )
    with scheduler(str(file)) as address, Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    with pytest.raises(OSError, match="Timed out"):
        Client(address, timeout=0.5, set_as_default=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("factory: distributed:LocalClster", "has no 'LocalClster'"),
        ("factory: distributed:LocalCluster\nworker: 2", "worker: unknown key"),
        ("factory: distributed:LocalCluster\nminimum: 2", "given together"),
        ("factory: distributed:LocalCluster\nminimum: 3\nmaximum: 2", "minimum 3 is greater"),
        ("address: wire://127.0.0.1:8786", "has an unknown protocol; known: "),
        ("address: tcp://127.0.0.1", "must end with a port, such as tcp://host:8786"),
        ("[1, 2]", "must be a mapping"),
    ],
)
def test_cluster_files_are_checked(tmp_path, content, said):
    file = tmp_path / "cluster.yaml"
    file.write_text(content)
    with pytest.raises(RunError, match=said):
        check_cluster(str(file))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_there_is_one_worker_for_each_gpu():
    with scheduler("cuda") as address, connected(address) as client:
        client.wait_for_workers(torch.cuda.device_count(), timeout=120)
        devices = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0])
    assert len(set(devices.values())) == torch.cuda.device_count()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.skipif(importlib.util.find_spec("rmm") is None, reason="needs RMM")
def test_torch_allocates_in_the_pool_that_the_gpus_file_asks_for():
    def allocated():
        import rmm.statistics

        with rmm.statistics.statistics():
            kept = torch.zeros(2**20, device="cuda")
            return rmm.statistics.get_statistics().current_bytes, kept.nbytes

    with scheduler(str(GPUS)) as address, Client(address, set_as_default=False) as client:
        client.wait_for_workers(torch.cuda.device_count(), timeout=120)
        found = client.run(allocated)
    assert all(in_pool >= wanted for in_pool, wanted in found.values())
