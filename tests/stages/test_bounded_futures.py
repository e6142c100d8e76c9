"""Futures a few at a time, on a real cluster: what is in flight, what is kept, what is lost."""

import gc
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from ddp_tasks.files.system_errors import refusal_of
from ddp_tasks.stages.bounded_futures import (
    FEWEST_FUTURES,
    FUTURES_PER_THREAD,
    ClusterLostError,
    OverWorkers,
    WorkerKilledError,
    on_each_worker,
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
    outcomes = OverWorkers(client, 60, retries=0).outcomes(double, range(50))
    found = {outcome.item: outcome.result for outcome in outcomes}
    assert found == {item: 2 * item for item in range(50)}


def total(item, parts):
    return item, parts


def squares(item):
    return [partial(pow, part, 2) for part in range(item)]


def test_an_item_gets_the_results_of_its_parts_in_their_order(client):
    steps = []
    mapped = OverWorkers(client, 60, steps.append, size=lambda item: 10 * item + 1)
    found = dict(mapped(total, [3, 0, 25], squares))
    assert found == {n: (n, [part**2 for part in range(n)]) for n in (0, 3, 25)}
    # Parts bring the stage equally far, and an item the rest of the way.
    assert sorted(steps) == sorted([7, 7, 7, 10, 1, *25 * [9], 26])


def test_parts_count_among_what_is_in_flight(client):
    room, most = max(FEWEST_FUTURES, 2 * FUTURES_PER_THREAD), 0
    for _ in OverWorkers(client, 60)(total, [4] * 40, squares):
        most = max(most, len(client.futures))
    assert most <= room + 5
    gc.collect()
    assert len(client.futures) <= 1


def die_once(flag, part):
    if part == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def test_parts_that_a_dead_worker_held_are_computed_again(client, tmp_path):
    flag = tmp_path / "killed"
    ((_, found),) = OverWorkers(client, 60)(
        total, [1], lambda _: [partial(die_once, flag, part) for part in range(6)]
    )
    assert flag.exists()
    assert found == (1, list(range(6)))


def test_a_part_that_kills_its_workers_is_explained_as_its_item_is():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        ending(LocalCluster(n_workers=1, **OPTIONS)) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as connected,
    ):
        mapped = OverWorkers(connected, 60, named="layer {}".format)
        outcome = mapped(total, [7], lambda _: [partial(double, 1), partial(kills_itself, 2)])
        with pytest.raises(WorkerKilledError, match="while at work on layer 7: the cause is"):
            list(outcome)


def test_what_a_part_raises_is_the_items_error(client):
    mapped = OverWorkers(client, 60, named="item {}".format, retries=0)
    with pytest.raises(PermissionError, match="item 3: Permission denied"):
        list(mapped(total, [3], lambda item: [partial(refuses, item), partial(double, item)]))


def sizes(threads, memory):
    return threads, memory, os.getpid()


def test_each_worker_is_asked_once(cluster, client):
    client.wait_for_workers(2, timeout=60)
    found = on_each_worker(cluster.scheduler_address, 60, sizes)
    assert len({pid for _, _, pid in found}) == 2
    assert all(threads == 1 and memory > 2**20 for threads, memory, _ in found)
    with (
        ending(LocalCluster(n_workers=0, **OPTIONS)) as empty,
        pytest.raises(ClusterLostError, match="no worker has been connected"),
    ):
        on_each_worker(empty.scheduler_address, 0.5, sizes)


def test_few_are_in_flight_and_what_is_done_is_forgotten(client):
    taken = 0

    def items():
        nonlocal taken
        for item in range(200):
            taken += 1
            yield item

    # As many more have ended, and their results are fetched together.
    room = 2 * max(FEWEST_FUTURES, 2 * FUTURES_PER_THREAD)
    for done, _ in enumerate(OverWorkers(client, 60).outcomes(double, items())):
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
    (outcome,) = OverWorkers(client, 60, retries=2).outcomes(fails_twice, [str(tmp_path / "a")])
    assert outcome.result == "done"
    assert (tmp_path / "a").read_text() == "..."
    (outcome,) = OverWorkers(client, 60, retries=1).outcomes(fails_twice, [str(tmp_path / "b")])
    assert isinstance(outcome.error, OSError)
    assert (tmp_path / "b").read_text() == ".."


def test_what_is_in_flight_is_cancelled_when_the_caller_leaves(client, tmp_path):
    flags = [str(tmp_path / str(i)) for i in range(6)]
    Path(flags[0]).touch()
    found = OverWorkers(client, 60).outcomes(wait_for, flags)
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
        (kills_itself, r"the cause is not known .its memory limit was 1.46 GiB.*ran out of mem"),
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
        list(OverWorkers(connected, 60, named="layer {}".format)(function, [7]))


def refuses(_):
    raise PermissionError(13, "Permission denied", "/some/place")


def test_what_the_system_refuses_a_worker_names_the_item(client):
    with pytest.raises(PermissionError) as refused:
        list(OverWorkers(client, 60, named="item {}".format)(refuses, [3]))
    assert refusal_of(refused.value, None) == "item 3: Permission denied (/some/place)"
    assert refusal_of(OSError("away"), Path("/a/store.zarr")) == "away (/a/store.zarr)"


def test_without_a_worker_the_wait_ends_with_an_error_that_says_so():
    with (
        ending(LocalCluster(n_workers=0, **OPTIONS)) as empty,
        Client(empty.scheduler_address, set_as_default=False) as connected,
        pytest.raises(ClusterLostError, match=r"no worker has been connected to .*tcp://127"),
    ):
        list(OverWorkers(connected, 1).outcomes(double, [1]))


def test_a_worker_that_comes_late_is_waited_for():
    with (
        ending(LocalCluster(n_workers=0, **OPTIONS)) as late,
        Client(late.scheduler_address, set_as_default=False) as connected,
    ):

        def items():
            late.scale(1)
            yield 21

        (outcome,) = OverWorkers(connected, None).outcomes(double, items())
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
            flags = [str(tmp_path / str(i)) for i in range(3)]
            found = OverWorkers(connected, 60).outcomes(wait_for, flags)
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


def alone_in_its_process(folder, item):
    """The process, if no other item is at work in it."""
    busy = folder / f"busy-{os.getpid()}"
    busy.touch(exist_ok=False)
    time.sleep(0.05)
    busy.unlink()
    return os.getpid()


def parts_alone(folder, item):
    return [partial(alone_in_its_process, folder, part) for part in range(4)]


def gathered(item, parts):
    return set(parts)


@pytest.mark.parametrize("in_parts", [False, True])
def test_items_that_take_a_gpu_are_alone_on_it_and_use_all(tmp_path, in_parts):
    options = {**OPTIONS, "threads_per_worker": 2, "resources": {"GPU": 1}}
    with (
        ending(LocalCluster(n_workers=2, **options)) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        mapped = OverWorkers(client, 60, retries=0, whole_gpu=True)
        if in_parts:
            found = mapped(gathered, range(6), parts=partial(parts_alone, tmp_path))
            used = set().union(*(processes for _, processes in found))
        else:
            alone = partial(alone_in_its_process, tmp_path)
            used = {process for _, process in mapped(alone, range(24))}
        assert len(used) == 2


def test_without_gpus_nothing_is_asked_of_workers(client):
    found = OverWorkers(client, 60, retries=0, whole_gpu=True)(double, range(3))
    assert sorted(found) == [(0, 0), (1, 2), (2, 4)]
