"""A run whose folder is an address in an object store, over a network that fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import faulty
import pytest
import run_stages
import s3_server
from prefect.settings import get_current_settings
from runs import tiny_run

from ddp_tasks.queries import open_run
from ddp_tasks.queries.comparison import compare_folders
from ddp_tasks.store import leases, run_lock, shards, trees
from flows.pipeline import run_pipeline
from schemas.object_paths import path_of
from schemas.parameters import RunError

ROOT = Path(__file__).parents[2]

#: Seconds of the lease of these runs.
_LEASE = 20.0

_FLOW = f"""
import sys
from ddp_tasks.store import leases
from flows.pipeline import run_pipeline
from schemas.object_paths import path_of
from schemas.parameters import RunParameters
if __name__ == "__main__":
    leases.SECONDS = {_LEASE}
    run_pipeline(RunParameters.model_validate_json(sys.argv[1]), path_of(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """A server, reached through a proxy that strikes one request in thirty."""
    with s3_server.served(tmp_path_factory.mktemp("s3")) as url, pytest.MonkeyPatch.context() as to:
        proxy = s3_server.FaultyProxy(url, share=1 / 30, slow=0.5)
        for name, value in {**s3_server.ENVIRONMENT, "AWS_ENDPOINT_URL": proxy.url}.items():
            to.setenv(name, value)
        to.setattr(leases, "SECONDS", _LEASE)
        yield proxy
        proxy.close()


@pytest.fixture(scope="module")
def scheduler(proxy):
    """A Dask scheduler with two workers, which have the environment of the server."""
    with run_stages.cluster(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def stored(prefect_server, proxy, scheduler, tmp_path_factory):
    """A run killed in mid-run and continued; its address, and what happened on the way."""
    flag = tmp_path_factory.mktemp("flag") / "flag"
    run = tiny_run(f"{faulty.HERE}:Waits", {"flag": str(flag)}).model_copy(
        update={"cluster": scheduler}
    )
    out = path_of(f"{s3_server.BUCKET}/of runs/tiny")
    program = flag.with_name("program.py")
    program.write_text(_FLOW)
    folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    api = get_current_settings().api.url or ""
    with flag.with_name("log").open("wb") as log:
        first = subprocess.Popen(
            [sys.executable, program, run.model_dump_json(), str(out)],
            env={**os.environ, "PYTHONPATH": folders, "PREFECT_API_URL": api},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until(lambda: first.poll() is not None or _missing(out / "store.zarr") == [2])
        with pytest.raises(RunError) as while_it_runs:
            run_pipeline(run, out)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with pytest.raises(RunError) as within_its_lease:
        run_pipeline(run, out)
    written = _tags(out)
    flag.touch()
    time.sleep(_LEASE + 2)
    run_pipeline(run, out)
    return out, first.pid, [str(one.value) for one in (while_it_runs, within_its_lease)], written


def _wait_until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.5)


def _missing(path):
    return [one.index for one in shards.missing_shards(path)] if trees.exists(path) else None


def _tags(out):
    chunks = (out / "store.zarr/signals/signal/c").rglob("*")
    return {str(one): one.stat().st_ino for one in chunks}


def test_other_runs_are_kept_out_while_it_lives_and_until_its_lease_ends(stored):
    out, pid, refusals, _ = stored
    for refusal in refusals:
        assert f"{out} is in use by another run, process {pid} on {os.uname().nodename}" in refusal


def test_what_a_killed_run_has_written_is_kept(stored):
    out, _, _, written = stored
    assert len(written) == 3
    assert {one: tag for one, tag in _tags(out).items() if one in written} == written


def test_the_results_are_those_of_a_disk_to_the_bit_whatever_the_network_did(
    stored, proxy, finished
):
    out = stored[0]
    differences = list(compare_folders(finished.store.parent, out, lambda _: None))
    assert [str(one) for one in differences if one.of_results] == []
    assert all(proxy.struck.values()), proxy.struck
    page = (out / "report.html").read_bytes()
    assert page.rstrip().endswith(b"</html>")


def test_nothing_else_is_left_at_the_address_and_no_secret(stored):
    out = stored[0]
    assert {one.name for one in out.iterdir()} == {"store.zarr", "report.html", "hypergraphs"}
    assert not (out / run_lock.NAME).exists()
    secret = s3_server.ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode()
    key = s3_server.ENVIRONMENT["AWS_ACCESS_KEY_ID"].encode()
    for name in trees.files_below(out):
        content = (out / name).read_bytes()
        assert secret not in content
        assert key not in content


def test_questions_are_answered_at_the_address_as_on_a_disk(stored, finished, ddp):
    out, disk = stored[0], finished.store.parent
    status, said = ddp("check", out)
    assert (status, said.out) == (0, f"{out}: whole\n")
    assert ddp("table", out, "fc1")[1].out == ddp("table", disk, "fc1")[1].out
    there, here = open_run(str(out)), open_run(disk)
    assert there.layer_names == here.layer_names
    signal = there.tree["signals"]["signal"]
    assert signal.identical(here.tree["signals"]["signal"])
