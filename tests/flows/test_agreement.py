"""Workers that differ from the flow take no part, whether they are there at its start or not."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import run_stages
from runs import tiny_run

from ddp_tasks.prepared_run import opened_once
from ddp_tasks.stages.bounded_futures import ClusterLostError, OverWorkers, connected
from flows.agreement import agreed
from schemas.run_error import RunError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty():
    with run_stages.cluster(0) as cluster:
        yield cluster


@contextmanager
def other_worker(cluster, folder):
    """A worker whose NumPy says that it is of another release."""
    info = folder / "site" / "numpy-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address),
            *("--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"),
            *("--dashboard-address", "127.0.0.1:0"),
        ],
        env={**os.environ, "PYTHONPATH": f"{info.parent}:{ROOT}:{ROOT / 'tests'}"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def after_a_while(item):
    """Long enough that a worker has no time for all of them, and the scheduler asks another."""
    time.sleep(0.2)
    return str(item)


@contextmanager
def agreeing(cluster, folder):
    address = cluster.scheduler_address
    with opened_once(), agreed(address, address, folder, tiny_run()), connected(address) as client:
        yield client


def test_a_worker_that_differs_is_refused_before_work(empty, tmp_path):
    with other_worker(empty, tmp_path):
        empty.wait_for_workers(1)
        with (
            pytest.raises(RunError, match=r"numpy is 0\.0\.1 there and ") as refused,
            agreeing(empty, tmp_path),
        ):
            pytest.fail("it was not compared")
    first, _, last = str(refused.value).splitlines()
    assert first.startswith("cluster: worker tcp://127.0.0.1:")
    assert "constraints.txt" in last
    assert not list(tmp_path.glob(".agreement*"))


def test_a_worker_that_joins_later_and_differs_ends_a_run_without_another(empty, tmp_path):
    with (
        agreeing(empty, tmp_path) as client,
        other_worker(empty, tmp_path),
        pytest.raises(ClusterLostError, match=r"no worker is left: .* numpy is 0\.0\.1 there"),
    ):
        list(OverWorkers(client, patience=None)(str, range(3)))


def test_a_run_goes_on_with_others_when_one_that_differs_is_turned_away(empty, tmp_path, caplog):
    empty.scale(1)
    empty.wait_for_workers(1)
    with agreeing(empty, tmp_path) as client, other_worker(empty, tmp_path) as other:

        def items():
            yield from range(4)
            while other.poll() is None:
                yield 0

        found = list(OverWorkers(client, patience=None)(after_a_while, items()))
        assert len(client.nthreads()) == 1
    assert {result for _, result in found} == {"0", "1", "2", "3"}
    assert "was turned away, as it differs from the flow: numpy is 0.0.1 there" in caplog.text


def test_a_busy_worker_that_differs_ends_this_run_and_goes_on_for_others(empty, tmp_path):
    with other_worker(empty, tmp_path) as other, connected(empty.scheduler_address) as they:
        empty.wait_for_workers(1)
        theirs = they.map(after_a_while, range(30), pure=False)
        while not any(future.done() for future in theirs):
            time.sleep(0.05)
        with (
            agreeing(empty, tmp_path) as client,
            pytest.raises(RunError, match=r"may not take part in the run: numpy is 0\.0\.1 there"),
        ):
            list(OverWorkers(client, patience=None)(str, range(3)))
        assert sorted(they.gather(theirs), key=int) == [str(i) for i in range(30)]
        assert other.poll() is None
        assert len(they.nthreads()) == 1
