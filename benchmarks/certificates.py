"""What certificates cost a local cluster: its start, a client, tasks, bytes, and a whole run.

    python -m benchmarks.certificates [--turns 3] [--runs 2]

The same cluster of two workers over plain TCP, over TLS with the run's own elliptic key, and with
the RSA key of Dask's ``Security.temporary``, in turns in one process. Processor seconds are those
of scheduler and client, which other work on the machine hardly changes. Then ``ddp run digits`` on
a cluster file without and with ``security``, whose processor seconds are those of all processes.
Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from distributed import Client, LocalCluster, Security

from flows.cluster_security import temporary
from flows.clusters import ending

RESULTS = Path(__file__).with_name("RESULTS.md")

KINDS: dict[str, Callable[[], Security | None]] = {
    "plain TCP": lambda: None,
    "TLS, elliptic key": temporary,
    "TLS, RSA key": Security.temporary,
}

TASKS, BYTES = 1000, 64 * 2**20

_FILE = """
factory: distributed:LocalCluster
kwargs: {n_workers: 2, threads_per_worker: 1, host: 127.0.0.1, dashboard_address: "127.0.0.1:0"}
"""


class Times:
    """Wall and processor seconds of each step, by its name and kind."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}

    @contextmanager
    def of(self, step: str, kind: str) -> Iterator[None]:
        """Measure the context."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        taken = time.perf_counter() - wall, time.process_time() - processor
        self.seconds.setdefault((step, kind), []).append(taken)


def one_more(number: int) -> int:
    """A task of no work."""
    return number + 1


def turn(times: Times, kind: str) -> None:
    """Measure one kind of cluster once."""
    with times.of("key and certificate", kind):
        security = KINDS[kind]()
    with times.of("start", kind):
        cluster = LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        )
    with ending(cluster):
        with times.of("a client", kind):
            client = Client(cluster, set_as_default=False)
        with client:
            with times.of(f"{TASKS:,} tasks", kind):
                client.gather(client.map(one_more, range(TASKS), pure=False))
            with times.of(f"{BYTES // 2**20} MiB from a worker", kind):
                client.submit(bytes, BYTES, pure=False).result()


def whole_run(times: Times, kind: str, security: str) -> None:
    """Measure ``ddp run digits`` on a cluster file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.yaml"
        file.write_text(_FILE + security)
        before = os.times()
        wall = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-c", "from flows.cli import main; main()", "run", "digits"),
                *("--out", f"{folder}/out", "--set", f"cluster={file}"),
            ],
            check=True,
            capture_output=True,
        )
        after = os.times()
        processor = sum(after[2:4]) - sum(before[2:4])
        taken = time.perf_counter() - wall, processor
        times.seconds.setdefault(("`ddp run digits`", kind), []).append(taken)


def main() -> None:
    """Measure, print and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    times = Times()
    for _ in range(arguments.turns):
        for kind in KINDS:
            turn(times, kind)
    for _ in range(arguments.runs):
        whole_run(times, "plain TCP", "")
        whole_run(times, "TLS, elliptic key", "security: {temporary: true}\n")
    lines = [
        f"\n## Certificates of a local cluster, {datetime.date.today()}\n",
        f"`python -m benchmarks.certificates`; {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end; median of "
        f"{arguments.turns} turns (runs: {arguments.runs}). Wall seconds, and processor seconds in "
        "brackets.\n",
        "| | " + " | ".join(KINDS) + " |",
        "| --- |" + " ---: |" * len(KINDS),
    ]
    for step in dict.fromkeys(step for step, _ in times.seconds):
        cells = []
        for kind in KINDS:
            taken = times.seconds.get((step, kind))
            cells.append(
                f"{median(w for w, _ in taken):.3g} ({median(p for _, p in taken):.3g})"
                if taken
                else ""
            )
        lines.append(f"| {step} | {' | '.join(cells)} |")
    print("\n".join(lines))
    with RESULTS.open("a") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
