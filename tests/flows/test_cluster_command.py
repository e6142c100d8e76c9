"""``ddp cluster``: what a cluster is, measured, and what a run would cost there."""

import os
import re
import signal
from functools import partial

import pytest
import yaml
from distributed import Client
from runs import tiny_run

from ddp_tasks.stages.bounded_futures import ClusterLostError, WorkerKilledError
from ddp_tasks.stages.chosen_workers import ClusterWorker, await_workers, call_on, connected_workers
from ddp_tasks.stages.trial import Trial, TriedWorker
from ddp_tasks.workers.trial import WorkerFacts
from flows.clusters import workers_of
from flows.texts.cluster import lines


@pytest.fixture
def tiny_file(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_run().model_dump(exclude_unset=True)))
    return file


@pytest.fixture
def shared(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def test_a_running_cluster_is_tried_and_left_as_it_was(ddp, address, tiny_file, shared):
    status, said = ddp("cluster", address, tiny_file, "--folder", shared)
    assert status == 0, said.err
    first, *_ = said.out.splitlines()
    assert first.startswith(f"{address}: 2 workers of {address}; Python 3.")
    (row,) = re.findall(r"^\S+ +2 +1 .*torch  (.*?)  (\S+) MiB$", said.out, re.MULTILINE)
    slowest, fastest = (float(rate.replace(",", "")) for rate in row[0].strip().split(" to "))
    assert 0 < slowest <= fastest
    assert 10 < float(row[1].replace(",", "")) < 10_000
    assert "Tried on 2 of 4 shards of tiny, 8 images each, 2 times" in said.out
    assert re.search(r"^images +30 in 4 shards$", said.out, re.MULTILINE)
    assert re.search(r"^signals +[\d.,e-]+( to \S+)? s on 2 workers$", said.out, re.MULTILINE)
    assert re.search(r"^on disk +\S+ KiB of signals, \S+ KiB of decomp", said.out, re.MULTILINE)
    assert list(shared.iterdir()) == []
    with Client(address, set_as_default=False) as client:
        assert len(client.nthreads()) == 2


def test_an_adaptive_cluster_keeps_one_worker_for_the_trial(ddp, tmp_path, tiny_file, shared):
    file = tmp_path / "adaptive.yaml"
    kwargs = {"n_workers": 0, "threads_per_worker": 1, "host": "127.0.0.1"}
    kwargs["dashboard_address"] = "127.0.0.1:0"
    cluster = {"factory": "distributed:LocalCluster", "kwargs": kwargs, "minimum": 0, "maximum": 3}
    file.write_text(yaml.safe_dump(cluster))
    assert workers_of(str(file)) == (1, 3)
    status, said = ddp("cluster", file, tiny_file, "--folder", shared)
    assert status == 0, said.err
    assert re.search(
        r"s on [12] workers?, \S+ (to \S+ )?s on 3 like these$", said.out, re.MULTILINE
    )
    address = re.search(r"tcp://127.0.0.1:\d+", said.out).group()
    with pytest.raises(OSError, match="Timed out"):
        Client(address, timeout=0.5, set_as_default=False)


def test_a_cluster_that_there_is_not_is_refused_before_anything_starts(ddp, tiny_file, shared):
    status, said = ddp("cluster", "slrum.yaml", tiny_file, "--folder", shared)
    assert status == 2
    assert len(said.err.splitlines()) <= 3
    assert "'slrum.yaml' is not auto, local, cuda, a scheduler address" in said.err
    assert said.out == ""


def test_too_few_workers_are_refused_after_the_patience_of_the_run(address):
    told = []
    with (
        Client(address, set_as_default=False) as client,
        pytest.raises(ClusterLostError, match=r"2 of 3 workers are connected to .* after 0.2 s"),
    ):
        await_workers(client, 3, 0.2, told.append)
    assert set(told) == {2}


def test_a_call_runs_on_its_worker_and_the_loss_of_that_worker_ends_the_wait(address):
    with Client(address, set_as_default=False) as client:
        workers = connected_workers(client)
        assert [worker.threads for worker in workers] == [1, 1]
        calls = {worker.address: [os.getpid, os.getpid] for worker in workers}
        found = call_on(client, calls)
        assert [len(set(pids)) for pids in found.values()] == [1, 1]
        assert found == {place: [pid, pid] for place, pid in client.run(os.getpid).items()}
        lost = {
            workers[0].address: [partial(os.kill, found[workers[0].address][0], signal.SIGKILL)]
        }
        with pytest.raises(WorkerKilledError, match=f"worker at {workers[0].address} is gone"):
            call_on(client, lost)


def _trial(shards=100, threads=(1, 1)):
    facts = WorkerFacts("a", "x86_64, 4 threads of torch", "3.13.0", "2.9.0")
    rates = [[10.0, 20.0], [30.0, 20.0]]
    workers = [
        TriedWorker(ClusterWorker(f"tcp://a:{i}", n, 8 * 2**30), facts, of, 3 * 2**29, 0)
        for i, (n, of) in enumerate(zip(threads, rates, strict=True))
    ]
    return Trial(
        scheduler="tcp://a:8786",
        workers=workers,
        images=1200,
        shards=shards,
        images_per_shard=12,
        tried=sum(threads),
        decomposition_seconds=4.0,
        opening_seconds=1.5,
        decomposition_bytes=2**20,
        signals_bytes=3 * 2**30,
    )


def test_seconds_follow_from_the_rates_of_all_workers_together():
    # 10 + 30 and 20 + 20 images a second.
    assert _trial().signals_seconds() == (30.0, 30.0)
    assert _trial().signals_seconds(8) == (7.5, 7.5)
    # Three shards keep at most three of four threads at work.
    assert _trial(shards=3).signals_seconds(2) == (30.0, 30.0)
    assert _trial(shards=3).signals_seconds(4) == (20.0, 20.0)


def test_the_text_says_what_was_measured():
    told = lines("slurm.yaml", tiny_run(), _trial(), 16)
    assert "a     2        1        8 GiB   x86_64, 4 threads of torch  10 to 30" in told
    assert "1.5 GiB" in told
    assert "signals        30 s on 2 workers, 3.75 s on 16 like these" in told
    assert "3 GiB of signals, 1 MiB of decomposition" in told
