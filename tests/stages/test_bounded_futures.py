"""Futures a few at a time, on a real cluster: what is in flight, what is kept, what is lost."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from ddp_tasks.files.system_errors import refusal_of
from ddp_tasks.stages.bounded_futures import (
    FEWEST_FUTURES,
    FUTURES_PER_THREAD,
    ClusterLostError,
    WorkerKilledError,
    outcomes,
    results,
)
from flows.clusters import ending

OPTIONS = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}


@pytest.fixture(scope="module")
def cluster():
    with ending(LocalCluster(n_workers=2, **OPTIONS)) as started:
        yield started


@pytest.fixture
def client(cluster):
    with Client(cluster.scheduler_address, set_as_default=False) as connected:
        yield connected


def double(item):
    return 2 * item


def test_every_item_comes_back_once_with_its_result(client):
    found = {o.item: o.result for o in outcomes(client, double, range(50), retries=0, patience=60)}
    assert found == {item: 2 * item for item in range(50)}


def test_few_are_in_flight_and_what_is_done_is_forgotten(client):
    taken = 0

    def items():
        nonlocal taken
        for item in range(200):
            taken += 1
            yield item

    room = max(FEWEST_FUTURES, 2 * FUTURES_PER_THREAD)
    for done, _ in enumerate(outcomes(client, double, items(), retries=0, patience=60)):
        assert taken <= done + 1 + room
        assert len(client.futures) <= room + 1
    gc.collect()
    assert taken == 200
    assert len(client.futures) <= 1


def fails_twice(item):
    """Fail the first two attempts, which are counted in a file."""
    attempts = Path(item)
    with attempts.open("a") as file:
        file.write(".")
    if len(attempts.read_text()) <= 2:
        raise OSError("not yet")
    return "done"


def test_what_fails_twice_succeeds_where_there_are_two_retries(client, tmp_path):
    (outcome,) = outcomes(client, fails_twice, [str(tmp_path / "a")], retries=2, patience=60)
    assert outcome.result == "done"
    assert (tmp_path / "a").read_text() == "..."
    (outcome,) = outcomes(client, fails_twice, [str(tmp_path / "b")], retries=1, patience=60)
    assert isinstance(outcome.error, OSError)
    assert (tmp_path / "b").read_text() == ".."


def test_what_is_in_flight_is_cancelled_when_the_caller_leaves(client, tmp_path):
    flags = [str(tmp_path / str(i)) for i in range(6)]
    Path(flags[0]).touch()
    found = outcomes(client, wait_for, flags, retries=0, patience=60)
    assert next(found).item == flags[0]
    left = list(client.futures)
    assert len(left) >= 5
    found.close()
    for flag in flags:  # lets go what was begun
        Path(flag).touch()
    deadline = time.monotonic() + 30
    while set(left) & set(client.run_on_scheduler(keys_of_tasks)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def keys_of_tasks(dask_scheduler):
    return list(dask_scheduler.tasks)


def fills_memory(_):
    kept = []
    while True:
        kept.append(bytearray(b"x") * 2**24)
        time.sleep(0.005)


def kills_itself(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (fills_memory, r"it used \d.*iB and its memory limit of 1.46 GiB was reached"),
        (kills_itself, r"nothing is known of why .its memory limit was 1.46 GiB.*ran out of mem"),
    ],
)
def test_a_worker_that_dies_is_named_with_its_item_and_whether_it_was_for_memory(function, said):
    options = {**OPTIONS, "memory_limit": "1500MiB"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        ending(LocalCluster(n_workers=1, **options)) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as connected,
        pytest.raises(WorkerKilledError, match=rf"worker tcp://127.* at work on layer 7.*{said}"),
    ):
        list(results(connected, function, [7], patience=60, named="layer {}".format))


def refuses(_):
    raise PermissionError(13, "Permission denied", "/some/place")


def test_what_the_system_refuses_a_worker_names_the_item(client):
    with pytest.raises(PermissionError) as refused:
        list(results(client, refuses, [3], patience=60, named="item {}".format))
    assert refusal_of(refused.value, None) == "item 3: Permission denied (/some/place)"
    assert refusal_of(OSError("away"), Path("/a/store.zarr")) == "away (/a/store.zarr)"


def test_what_happens_meanwhile_is_seen(client, tmp_path):
    looks = []

    def look():
        looks.append(time.monotonic())
        if len(looks) == 3:
            (tmp_path / "0").touch()

    (outcome,) = outcomes(client, wait_for, [str(tmp_path / "0")], patience=60, meanwhile=look)
    assert outcome.error is None
    assert len(looks) >= 3


def test_without_a_worker_the_wait_ends_with_an_error_that_says_so():
    with (
        ending(LocalCluster(n_workers=0, **OPTIONS)) as empty,
        Client(empty.scheduler_address, set_as_default=False) as connected,
        pytest.raises(ClusterLostError, match=r"no worker has been connected to .*tcp://127"),
    ):
        list(outcomes(connected, double, [1], retries=0, patience=1))


def test_a_worker_that_comes_late_is_waited_for():
    with (
        ending(LocalCluster(n_workers=0, **OPTIONS)) as late,
        Client(late.scheduler_address, set_as_default=False) as connected,
    ):

        def items():
            late.scale(1)
            yield 21

        (outcome,) = outcomes(connected, double, items(), retries=0, patience=None)
    assert outcome.result == 42


_SCHEDULER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1",
                      dashboard_address="127.0.0.1:0") as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""


def wait_for(flag):
    while not Path(flag).exists():
        time.sleep(0.05)


def test_a_lost_scheduler_ends_the_wait(tmp_path):
    (tmp_path / "cluster.py").write_text(_SCHEDULER)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "cluster.py"], stdout=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().strip()
        with Client(address, set_as_default=False, timeout=5) as connected:
            (tmp_path / "0").touch()
            found = outcomes(
                connected,
                wait_for,
                [str(tmp_path / str(i)) for i in range(3)],
                retries=2,
                patience=60,
            )
            assert next(found).item == str(tmp_path / "0")
            process.kill()
            with pytest.raises(ClusterLostError, match=f"scheduler at {address} is lost"):
                next(found)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for i in range(3):  # lets the worker go, should it outlive its cluster
            (tmp_path / str(i)).touch()
