"""Runs on a cluster file of Slurm: real jobs of sbatch on this machine, one of them preempted."""

import re
import shutil
import subprocess

import pytest
import slurm as slurms
import yaml
from digits_run import DDP, ddp
from prefect_processes import await_true
from test_cluster_files import FOLDER

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.timeout(900),
    pytest.mark.skipif(slurms.why_not() is not None, reason=str(slurms.why_not())),
]

#: Optimised images stop after some seconds, so two runs have different ones.
ONE_WAY = ("--set", "visualizations.targets=none")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with slurms.started(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def cluster_file(slurm):
    """The file of ``deployment/clusters`` with what differs on this node."""
    cluster = yaml.safe_load((FOLDER / "slurm.yaml").read_text())
    (slurm.folder / "certificates").mkdir(mode=0o700)
    cluster["kwargs"] |= {
        "queue": "low",
        "job_cpu": 1,
        "memory": "3GB",
        "interface": "lo",
        "job_extra_directives": ["--requeue"],
        "shared_temp_directory": str(slurm.folder / "certificates"),
        "local_directory": str(slurm.folder),
        "log_directory": str(slurm.folder / "jobs"),
        "job_script_prologue": ["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"],
    }
    del cluster["minimum"], cluster["maximum"]
    file = slurm.folder / "slurm.yaml"
    file.write_text(yaml.safe_dump({**cluster, "workers": 2}))
    return file


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Digits carried out by processes of this machine."""
    folder = tmp_path_factory.mktemp("local")
    done = ddp("run", "digits", "--out", "local", *ONE_WAY, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "local"


def test_a_run_whose_job_is_preempted_has_the_same_results_as_a_local_one(
    slurm, cluster_file, local, tmp_path
):
    out = tmp_path / "slurm"
    out.mkdir()
    shutil.copy(local / "checkpoint.pt", out)
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(
            [DDP, "run", "digits", "--out", out, *ONE_WAY, "--set", f"cluster={cluster_file}"],
            env=slurm.environment,
            stdout=said,
            stderr=said,
        )
        try:
            # Decomposed: the workers of both jobs are at work, or about to be.
            await_true("a store", (out / "store.zarr").exists, 300)
            jobs = await_true("two jobs", lambda: _both(slurm.jobs("low", "RUNNING")), 120)
            high = slurm.call(
                "sbatch", "--parsable", "-p", "high", "-n1", "--wrap", "sleep 3"
            ).strip()
            (preempted,) = await_true("a preemption", lambda: _queued_again(slurm, jobs), 60)
            assert run.poll() is None, "the run ended before its job was preempted"
            await_true("the urgent job's end", lambda: high not in slurm.jobs("high", "PD,R,CG"))
            # Slurm would leave it for two minutes.
            slurm.call("scontrol", "update", f"JobId={preempted}", "StartTime=now")
            assert run.wait(600) == 0, (tmp_path / "said").read_text()[-3000:]
        finally:
            run.kill()
            run.wait()
    assert slurm.restarts(preempted) == 1
    await_true("the end of all jobs", lambda: not slurm.jobs("low", "PENDING,RUNNING"), 60)
    compared = ddp("check", str(local), str(out))
    assert compared.returncode == 0, compared.stdout
    assert "the same results" in compared.stdout


def test_a_trial_of_the_queue_tells_what_a_run_would_cost(slurm, cluster_file, tmp_path):
    tried = ddp("cluster", str(cluster_file), "digits", cwd=tmp_path, **slurm.environment)
    assert tried.returncode == 0, tried.stderr[-3000:]
    assert re.search(r"slurm\.yaml: 2 workers of tls://127\.0\.0\.1:\d+; Python", tried.stdout)
    assert re.search(r"signals +[\d.,]+ to [\d.,]+ s on 2 workers\n", tried.stdout)
    assert list(tmp_path.iterdir()) == []
    await_true("the end of all jobs", lambda: not slurm.jobs("low", "PENDING,RUNNING"), 60)


def _both(jobs):
    return jobs if len(jobs) == 2 else None


def _queued_again(slurm, jobs):
    return [job for job in jobs if slurm.restarts(job)]
