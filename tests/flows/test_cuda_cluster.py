"""The cluster of GPUs as dask-cuda starts it, here on processors.

No GPU is needed to see how workers are started: dask-cuda itself has a switch that leaves out what
asks the driver, and two answers of the driver are given in its place. That each worker computes on
its own GPU is asked where there are any (``test_clusters``).
"""

import inspect
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from distributed import Worker
from run_stages import cube, fill
from runs import tiny_run

from ddp_tasks.stages.bounded_futures import connected
from flows import clusters

FILES = Path(__file__).parents[2] / "deployment/clusters"
DEVICES = 2

dask_cuda = pytest.importorskip("dask_cuda")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture
def two_gpus(monkeypatch):
    """Two devices, as far as the flow and dask-cuda are concerned; torch finds none."""
    from dask_cuda import local_cuda_cluster

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC", "1")
    monkeypatch.setattr(local_cuda_cluster, "parse_device_memory_limit", lambda *_, **__: 2**30)
    monkeypatch.setattr(local_cuda_cluster, "nvml_device_index", lambda *_: 0)
    monkeypatch.setattr(clusters, "cuda_devices", lambda: DEVICES)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("named", ["cuda", "auto"])
def test_there_is_one_worker_for_each_device_with_a_certificate(named):
    with clusters.scheduler(named) as address, connected(address) as client:
        assert address.startswith("tls://127.0.0.1:")
        client.wait_for_workers(DEVICES, timeout=60)
        visible = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        # Each sees its own first, which is the one that torch takes.
        assert sorted(visible.values()) == ["0,1", "1,0"]
        # One of two threads writes a shard while the other computes the next.
        assert set(client.nthreads().values()) == {2}
        told = client.scheduler_info()["workers"].values()
        assert [worker["resources"] for worker in told] == [{"GPU": 1}] * DEVICES
        memory = client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
        assert len(set(memory.values())) == 1


@pytest.mark.usefixtures("two_gpus", "prefect_server")
def test_its_workers_write_the_cube_of_the_local_cluster(undisturbed, tmp_path):
    with clusters.scheduler("cuda") as address:
        fill(tiny_run(cluster="cuda"), tmp_path / "store.zarr", address)
    np.testing.assert_array_equal(cube(tmp_path / "store.zarr"), cube(undisturbed))


@pytest.mark.parametrize("file", ["gpus.yaml", "gpus-ucx.yaml"])
def test_the_files_for_gpus_have_what_dask_cuda_takes(file):
    own = yaml.safe_load((FILES / file).read_text())
    taken = {
        name
        for cls in (*dask_cuda.LocalCUDACluster.__mro__, Worker)
        for name in inspect.signature(cls.__init__).parameters
    }
    assert own["factory"] == "dask_cuda:LocalCUDACluster"
    assert set(own["kwargs"]) <= taken
    assert "torch" in own["kwargs"]["rmm_allocator_external_lib_list"]
