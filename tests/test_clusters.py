import pytest
import torch
from distributed import Client, LocalCluster

from flows.clusters import check_cluster, local_workers, scheduler
from schemas.parameters import RunError


@pytest.mark.parametrize("cores", [1, 2, 3, 7, 8, 9, 16, 63, 128])
def test_worker_threads_times_torch_threads_never_exceed_the_cores(cores):
    workers, threads = local_workers(cores)
    assert workers >= 1
    assert threads >= 1
    assert workers * threads <= cores


def test_a_scheduler_that_runs_already_is_used_and_left_running():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        with scheduler(cluster.scheduler_address) as address:
            assert address == cluster.scheduler_address
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_cluster_file_starts_its_cluster_and_ends_it(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(
        "factory: distributed:LocalCluster\n"
        "kwargs: {n_workers: 0, threads_per_worker: 1, host: 127.0.0.1, dashboard_address: null}\n"
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
    with scheduler("cuda") as address, Client(address, set_as_default=False) as client:
        client.wait_for_workers(torch.cuda.device_count(), timeout=120)
        devices = client.run(lambda: torch.cuda.current_device() is not None)
    assert len(devices) == torch.cuda.device_count()
