"""Slurm on this machine, from Debian's packages: one node of two processors, two partitions."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from prefect_processes import await_true, free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")

#: Processors of jobs are counted and not held apart, so that no control groups are needed. A job of
#: the partition high takes the place of one of low, which is queued again.
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig=/dev/null
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
SchedulerParameters=sched_interval=2,bf_interval=5
KillWait=5
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=low Nodes=node Default=YES PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=node PriorityTier=10 PreemptMode=OFF State=UP
"""


class Slurm:
    """A controller and a node; ``environment`` lets Slurm's commands find them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, partition: str, state: str) -> list[str]:
        """Numbers of the jobs that are in a state now, such as RUNNING."""
        listed = self.call("squeue", "--noheader", "-p", partition, "-t", state, "-o", "%A")
        return listed.split()

    def restarts(self, job: str) -> int:
        """How often a job was queued again."""
        told = self.call("scontrol", "show", "job", job)
        return int(told.partition("Restarts=")[2].split()[0])


def why_not() -> str | None:
    """Why Slurm cannot be started here."""
    if lacking := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(lacking)}: apt install slurmctld slurmd slurm-client munge"
    return None if os.geteuid() == 0 else "needs root, as whom slurmd runs jobs"


@contextmanager
def started(folder: Path) -> Iterator[Slurm]:
    """Slurm, whose processes end with the context."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname(),
            controller_port=free_port(),
            node_port=free_port(),
        )
    )
    slurm = Slurm(folder)
    of_munge = {
        "key-file": key,
        "socket": folder / "munge.socket",
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
        "seed-file": folder / "munge.seed",
    }
    with ExitStack() as stack:
        for pid_file, command in (
            # --force: the folder of a test is closed to others, which munged warns of.
            ("munged", ["munged", "--force", *(f"--{k}={v}" for k, v in of_munge.items())]),
            ("slurmctld", ["slurmctld"]),
            ("slurmd", ["slurmd"]),
        ):
            slurm.call(*command)
            stack.callback(_end, folder / f"{pid_file}.pid")
        await_true("an idle node", lambda: "idle" in slurm.call("sinfo", "--noheader"), 60)
        yield slurm


def _end(pid_file: Path) -> None:
    process = psutil.Process(int(pid_file.read_text()))
    process.terminate()
    process.wait(30)
