"""What clusters do to a run: each fault ends in the cube of an undisturbed run, or in an error
that names shard and cause, after which the run continues with the missing shards alone."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import faulty
import numpy as np
import pytest
import run_stages
from distributed import Client
from prefect.settings import get_current_settings
from run_stages import fill
from runs import tiny_run

from ddp_tasks.store import groups, shards
from flows.pipeline import run_pipeline
from schemas.parameters import RunError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.zarr"


@pytest.fixture
def log():
    """Lines that stages and flows log, as Prefect's loggers do not reach pytest's."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    loggers = [logging.getLogger(f"prefect.{kind}_runs") for kind in ("task", "flow")]
    handler = Keep()
    for logger in loggers:
        logger.addHandler(handler)
    yield lines
    for logger in loggers:
        logger.removeHandler(handler)


def struck(images, **kwargs):
    """The tiny run over an image set of ``faulty``."""
    return tiny_run(f"{faulty.HERE}:{images}", kwargs)


def networked(network, **kwargs):
    return tiny_run(model={"factory": f"{faulty.HERE}:{network}", "kwargs": kwargs})


def missing(path):
    return [shard.index for shard in shards.missing_shards(path)]


def times(path):
    return {f.name: f.stat().st_mtime_ns for f in (path / "signals/signal/c").iterdir()}


def assert_same_cube(path, undisturbed):
    assert missing(path) == []
    found, expected = (groups.read(p, "signals") for p in (path, undisturbed))
    for name in ("image", "target", "signal", "predicted", "confidence"):
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy())


def test_a_shard_that_fails_twice_is_tried_a_third_time(address, undisturbed, path, tmp_path):
    attempts = tmp_path / "attempts"
    fill(networked("FailsTwice", attempts=str(attempts)), path, address)
    assert attempts.read_text() == "..."
    assert_same_cube(path, undisturbed)


def test_a_shard_that_fails_for_good_is_named_and_the_others_are_written(
    address, undisturbed, path, tmp_path, log
):
    attempts = tmp_path / "attempts"
    run = networked("FailsTwice", attempts=str(attempts), most=3)
    with pytest.raises(
        RunError,
        match=r"(?s)^shard 2 \(images 16 to 23\): the accelerator fell off the bus.*"
        r"3 of 4 shards are written; started again, the run writes the rest",
    ):
        fill(run, path, address)
    assert attempts.read_text() == "..."
    assert missing(path) == [2]
    before = times(path)
    fill(run, path, address)
    assert "1 of 4 shards to write" in log
    assert {name: t for name, t in times(path).items() if name in before} == before
    assert_same_cube(path, undisturbed)


def test_infinity_is_named_by_shard_layer_and_image_and_mended(
    address, undisturbed, path, tmp_path, log
):
    flag = tmp_path / "flag"
    flag.touch()
    run = networked("OverflowsOnce", flag=str(flag))
    with pytest.raises(RunError, match=r"shard 2 .*layer conv1 gives NaN or infinity"):
        fill(run, path, address)
    assert any("for image '18'" in line for line in log)
    assert missing(path) == [2]
    flag.unlink()
    fill(run, path, address)
    assert_same_cube(path, undisturbed)


def test_a_full_disk_is_named_and_nothing_half_written_counts(
    address, undisturbed, path, tmp_path, log
):
    flag = tmp_path / "flag"
    flag.touch()
    run = struck("FillsItsDisk", flag=str(flag))
    with pytest.raises(RunError, match=r"shard 2 \(images 16 to 23\): .*File too large"):
        fill(run, path, address)
    assert missing(path) == [2]
    assert list(path.rglob("*.partial")) == []
    flag.unlink()
    with Client(address, set_as_default=False) as client:
        client.run(faulty.make_room)
    fill(run, path, address)
    assert "1 of 4 shards to write" in log
    assert_same_cube(path, undisturbed)


def test_a_store_deleted_during_the_run_is_said_and_not_half_made_again(address, path):
    run = struck("DeletesTheStore", flag=str(path))
    with pytest.raises(RunError, match=rf"shard \d .*{path} is not a Zarr store"):
        fill(run, path, address)
    assert not (path / "zarr.json").exists()


def test_a_store_that_took_the_place_of_another_is_not_written_to(address, path):
    run = struck("ReplacesTheStore", flag=str(path))
    with pytest.raises(RunError, match=r"shard \d .*the store was replaced by another one"):
        fill(run, path, address)
    assert 2 in missing(path)


def test_a_worker_with_other_images_is_refused(address, path):
    run = struck("OtherOnWorkers")
    with pytest.raises(RunError, match=r"shard \d .*the images differ"):
        fill(run, path, address)
    assert missing(path) == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut off", "gone", "not recorded"])
def test_a_damaged_shard_is_written_again_and_no_other(address, undisturbed, path, log, damage):
    shutil.copytree(undisturbed, path)
    file = path / "signals/signal/c/1/0/0"
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-7])
    elif damage == "gone":
        file.unlink()
    else:
        (path / "signals/complete/c/1").unlink()
    file.with_suffix(".0123abcd.partial").write_bytes(b"of a process that was killed")
    others = {name: t for name, t in times(path).items() if name != "1"}
    fill(tiny_run(), path, address)
    assert "1 of 4 shards to write" in log
    assert "1 half-written files of a run that was killed are removed" in log
    assert {name: t for name, t in times(path).items() if name != "1"} == others
    assert list(path.rglob("*.partial")) == []
    assert_same_cube(path, undisturbed)


def test_the_model_is_opened_once_by_each_worker_however_many_threads_it_has(
    undisturbed, path, tmp_path
):
    makers = tmp_path / "makers"
    with run_stages.cluster(1, threads_per_worker=3) as cluster:
        fill(networked("CountsItself", makers=str(makers)), path, cluster.scheduler_address)
    counted = makers.read_text().split()
    workers = [pid for pid in counted if pid != str(os.getpid())]
    assert len(workers) == len(set(workers)) == 1
    assert_same_cube(path, undisturbed)


_CLUSTER = """
import time
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1",
                      dashboard_address="127.0.0.1:0") as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""

_FLOW = """
import json, sys
from pathlib import Path
from flows.clusters import ending
from flows.pipeline import run_pipeline
from schemas.run_files import recorded_run
if __name__ == "__main__":
    run_pipeline(recorded_run(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def started(tmp_path):
    """Starts a Python program with this tree to import from; it is gone after the test."""
    processes = []

    def start(code, *arguments):
        program = tmp_path / f"program{len(processes)}.py"
        program.write_text(code)
        folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        process = subprocess.Popen(
            [sys.executable, program, *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": folders,
                "PREFECT_API_URL": get_current_settings().api.url or "",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)


def test_a_lost_scheduler_is_said_and_the_next_run_writes_what_is_missing(
    started, address, undisturbed, path, log
):
    flag = path.with_name("flag")
    run = struck("Waits", flag=str(flag))
    process = started(_CLUSTER)
    lost = process.stdout.readline().strip()

    def strike():
        wait_until(lambda: path.exists() and missing(path) == [2])
        process.send_signal(signal.SIGKILL)

    striker = Thread(target=strike, daemon=True)
    striker.start()
    with pytest.raises(
        RunError, match=rf"(?s)scheduler at {lost} is lost.*3 of 4 shards are written; started aga"
    ):
        fill(run, path, lost)
    striker.join()
    flag.touch()
    fill(run, path, address)
    assert "1 of 4 shards to write" in log
    assert_same_cube(path, undisturbed)


def test_a_killed_flow_keeps_others_out_while_it_lives_and_is_continued(
    started, address, undisturbed, tmp_path, log
):
    flag, out = tmp_path / "flag", tmp_path / "out"
    path = out / "store.zarr"
    # The cluster outlives the flow, so the shard it was at goes on as an orphan.
    run = struck("Waits", flag=str(flag)).model_copy(update={"cluster": address})
    first = started(_FLOW, run.model_dump_json(), out)
    wait_until(lambda: path.exists() and missing(path) == [2])
    # Two runs on one store: the second is refused by the first's name.
    with pytest.raises(RunError, match=rf"in use by another run, process {first.pid} on"):
        run_pipeline(run, out)
    first.send_signal(signal.SIGKILL)
    first.wait()
    written = times(path)

    def go_on():
        # The orphan keeps its worker until then, and what it writes is as good as a new shard.
        wait_until(lambda: f"continuing {path}" in log)
        flag.touch()

    Thread(target=go_on, daemon=True).start()
    run_pipeline(run, out)
    assert {name: t for name, t in times(path).items() if name in written} == written
    assert_same_cube(path, undisturbed)
    assert not (out / "run.lock").exists()
    # Nor what the killed flow had laid there for its workers to see.
    assert list(out.glob(".*")) == []
