"""Whether a run finishes at its extremes, and the memory that its flow and its workers take.

    python -m benchmarks.extremes [--only many-classes many-images ...] [--folder FOLDER]

Runs `ddp run` whole, each time on a tiny network and images made for it: 5,000 classes of 2
images, 200,000 images of 8 x 8, 320 layers, one image of each of two classes; then the same
network with 40 to 320 layers, and with 50 to 5,000 classes, which tell whether the flow's memory
grows with either. Memory is the peak of each process's resident memory; appends a section to
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

RESULTS = Path(__file__).with_name("RESULTS.md")

_SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Extreme:
    """One run: a network of so many layers, shown so many images."""

    layers: int
    channels: int
    classes: int
    per_class: int
    side: int = 8

    def run_file(self) -> dict[str, object]:
        """What the run file of this run says."""
        inputs = Path(__file__).with_name("extreme_inputs.py")
        return {
            "model": {
                "factory": f"{inputs}:network",
                "kwargs": {
                    "layers": self.layers,
                    "channels": self.channels,
                    "classes": max(2, self.classes),
                },
            },
            "images": {
                "factory": f"{inputs}:Patterns",
                "kwargs": {
                    "classes": self.classes,
                    "per_class": self.per_class,
                    "side": self.side,
                },
            },
            # A single image of a class cannot be split.
            **({"significance": {"split": None}} if self.per_class == 1 else {}),
        }

    def __str__(self) -> str:
        return (
            f"{self.layers} layers of {self.channels} channels, {self.classes:,} "
            f"class{'' if self.classes == 1 else 'es'} × {self.per_class:,}"
        )


EXTREMES = {
    "many-classes": Extreme(layers=3, channels=16, classes=5000, per_class=2),
    "many-images": Extreme(layers=3, channels=16, classes=10, per_class=20_000),
    "many-layers": Extreme(layers=320, channels=16, classes=10, per_class=10),
    "one-image-a-class": Extreme(layers=3, channels=16, classes=2, per_class=1),
    **{
        f"{layers}-layers": Extreme(layers=layers, channels=16, classes=10, per_class=10)
        for layers in (40, 80, 160)
    },
    **{
        f"{classes}-classes": Extreme(layers=3, channels=16, classes=classes, per_class=2)
        for classes in (50, 500)
    },
}


@dataclass(frozen=True)
class Measured:
    """What one run took; memory in MiB."""

    status: int
    seconds: float
    flow: float
    workers: tuple[float, ...]
    """of each worker process, the greatest first."""
    parts: str
    """seconds of each stage, as the run itself tells them."""
    last_line: str
    """of its error output."""


def measured(extreme: Extreme, folder: Path) -> Measured:
    """Carry one run out and watch the memory of its processes."""
    (folder / "run.yaml").write_text(yaml.safe_dump(extreme.run_file()))
    command = [str(Path(sys.executable).with_name("ddp")), "run", str(folder / "run.yaml")]
    start = time.perf_counter()
    with (folder / "stdout").open("w") as told, (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--out", str(folder / "out")],
            env={**os.environ, "PREFECT_HOME": str(folder / "prefect")},
            stdout=told,
            stderr=errors,
        )
        flow, workers = 0.0, dict[int, float]()
        while process.poll() is None:
            flow = max(flow, _peak(process.pid))
            for pid in _workers(process.pid):
                workers[pid] = max(workers.get(pid, 0.0), _peak(pid))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    seconds = time.perf_counter() - start
    parts = re.findall(r"^[\d.]+ s: (.*)$", (folder / "stdout").read_text(), re.MULTILINE)
    lines = (folder / "stderr").read_text().strip().splitlines()
    return Measured(
        status=process.returncode,
        seconds=seconds,
        flow=flow,
        workers=tuple(sorted(workers.values(), reverse=True)),
        parts=parts[0] if parts else "",
        last_line=lines[-1] if lines else "",
    )


def _workers(flow: int) -> list[int]:
    """Dask's worker processes below a flow; the other children are Prefect's and trackers."""
    found = []
    try:
        for child in psutil.Process(flow).children(recursive=True):
            command = " ".join(child.cmdline())
            # Workers are forked from a child of the flow that has the same command.
            if "multiprocessing.forkserver" in command and child.ppid() != flow:
                found.append(child.pid)
    except psutil.Error:  # it ended just now
        pass
    return found


def _peak(pid: int) -> float:
    """Peak of a process's resident memory as far as the system keeps it, else what it has now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        (kept,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kept) / 2**10
    except (OSError, ValueError):
        pass
    try:
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def row(name: str, extreme: Extreme, found: Measured) -> str:
    """One line of the table."""
    workers = ", ".join(f"{mib:.0f}" for mib in found.workers[:8])
    end = "finished" if found.status == 0 else f"status {found.status}: {found.last_line[:80]}"
    return (
        f"| {name} | {extreme} | {end} | {found.seconds:.0f} s | {found.flow:.0f} MiB | "
        f"{workers} MiB |"
    )


def section(rows: Sequence[str]) -> list[str]:
    """What is appended to RESULTS.md."""
    return [
        f"\n## Extremes, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.extremes`; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}. Peaks of resident memory; seconds from start to end of the "
        "process.",
        "",
        "| run | of | end | time | flow | workers |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        *rows,
    ]


def main() -> None:
    """Measure and append; the exit status is the number of runs that did not finish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(EXTREMES), default=list(EXTREMES))
    parser.add_argument("--folder", type=Path, default=None, help="for the runs' results")
    parser.add_argument("--no-results", action="store_true", help="print only")
    asked = parser.parse_args()
    rows, failed = [], 0
    for name in asked.only:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            found = measured(EXTREMES[name], Path(folder))
        failed += found.status != 0
        rows.append(row(name, EXTREMES[name], found))
        print(f"{rows[-1]}\n  {found.parts}", flush=True)
    lines = section(rows)
    if not asked.no_results:
        with RESULTS.open("a") as file:
            file.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
