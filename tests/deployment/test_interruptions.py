"""A server that is stopped, a worker that is killed or stopped, a lost machine, in mid-run."""

import signal

import pytest
from deployed import received, report_failures, tiny_file
from prefect_processes import ROOT, await_true

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("deployed", ["postgresql"], indirect=True),
]


@pytest.fixture
def waiting(tmp_path):
    """Parameters of a run that waits in mid-run for a flag; the flag, and where its results go."""
    flag, out = tmp_path / "go", tmp_path / "out"
    file = tiny_file(tmp_path, f"{ROOT}/tests/faulty.py:Waits", flag=str(flag))
    return {"run": {"file": str(file)}, "out": str(out)}, flag, out


def written(out):
    """The shards of a run's cube, and when each was written."""
    files = (out / "store.zarr/signals/signal/c").rglob("*")
    return {file: file.stat().st_mtime_ns for file in files if file.is_file()}


def stopped(worker):
    """Have a worker stop, as a service manager does."""
    worker.signal(signal.SIGTERM)
    worker.await_end()


def test_a_run_outlasts_its_server(deployed, waiting):
    parameters, flag, _ = waiting
    prefect = deployed.prefect
    with deployed.worker():
        run = deployed.start("ddp-run/custom", **parameters)
        await_true("the wait", flag.with_suffix(".reached").exists)
        prefect.server.end()
        flag.touch()
        prefect.start_server()
        ended = deployed.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    tasks = deployed.ask("/task_runs/filter", flow_runs={"id": {"any_": [run]}})
    assert {task["state"]["type"] for task in tasks} == {"COMPLETED"}
    assert "summary-tiny-tinynetwork" in deployed.artifacts(run)


def test_a_run_outlasts_its_worker(deployed, waiting):
    parameters, flag, _ = waiting
    with deployed.worker("first") as first:
        run = deployed.start("ddp-run/custom", **parameters)
        await_true("the wait", flag.with_suffix(".reached").exists)
        first.signal(signal.SIGKILL)
        with deployed.worker("second"):
            flag.touch()
            ended = deployed.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]


# A worker that is told to stop kills its runs and says nothing of it.
@pytest.mark.parametrize("lost", [lambda worker: worker.lose(), stopped], ids=["lost", "stopped"])
def test_a_lost_machine_is_reported_and_another_continues_its_run(deployed, waiting, lost):
    parameters, flag, out = waiting
    with received() as (address, posted):
        report_failures(deployed.prefect, address)
        # Signs of life come every 30 s; a person gives them five minutes.
        deployed.shorten("ddp-silence", 40)
        with deployed.worker("first") as first:
            run = deployed.start("ddp-run/custom", **parameters)
            await_true("the wait", flag.with_suffix(".reached").exists)
            before = await_true("shards", lambda: written(out))
            lost(first)
        with deployed.worker("second"):
            crashed = deployed.ended(run)
            assert crashed["state"]["type"] == "CRASHED"
            told = await_true("a report of the crash", lambda: posted)[0][1]
            assert "No sign of life" in told["cause"]
            flag.touch()
            deployed.retry(run)
            ended = deployed.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    assert ended["run_count"] == 2
    assert {file: written(out)[file] for file in before} == before
    assert "summary-tiny-tinynetwork" in deployed.artifacts(run)
    assert (out / "report.html").is_file()
