"""A run stopped at one point after the other, by each signal: seconds, processes left, same bits.

    python -m benchmarks.stopping [--points NAME ...] [--signals NAME ...]

For each signal the command ``ddp run`` is started in a folder of its own, stopped at the first
point, and started again, which continues the run; so at every point, and at last to its end. The
store must then hold the bits of a run that nobody stopped. Ctrl-C goes to all processes of the
terminal, SIGTERM and SIGKILL to the command alone. Counted are seconds until the command has
ended, its processes that are left 10 s later, and lines that it printed, those of the log apart.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import yaml

from benchmarks.damage import differences

RESULTS = Path(__file__).with_name("RESULTS.md")

#: Every process of a command inherits this variable, under whatever parent it may come to be.
_MARK = "DDP_STOPPED_RUN"

_SECONDS_BETWEEN_LOOKS = 0.02
_SECONDS_UNTIL_COUNTED = 10.0
_LONGEST = 900.0

_LOGGED = re.compile(r"^\d\d:\d\d:\d\d\.\d+ \| ")
_SERVER = "flows.temporary_server"

SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


@dataclass(frozen=True)
class Point:
    """When a run is stopped: seconds after a line of its error output or a process is there."""

    line: str | None
    """a pattern; None: its temporary server."""
    seconds: float


POINTS = {
    "imports": Point("opening model and images", 1.0),
    "server starts": Point(None, 0.5),
    "training": Point("Beginning flow run", 0.5),
    "decomposition": Point(r"'decompose-\w+' - ", 1.0),
    "signals": Point(r"'signals-\w+' - \d+ of", 0.2),
    "capacity metric": Point(r"'signals-\w+' - Finished", 0.2),
    "significance": Point(r"'capacity-\w+' - Finished", 0.2),
    "hypergraphs": Point(r"'exemplars-\w+' - Finished", 1.0),
    "pictures": Point(r"'hypergraphs-\w+' - Finished", 0.1),
    "projections": Point(r"'pictures-\w+' - Finished", 0.5),
    "family": Point(r"'projections-\w+' - Finished", 0.3),
    "report": Point(r"'stability-\w+' - Finished", 3.0),
    "end": Point(r"report\.html and .* are written", 0.0),
}


@dataclass(frozen=True)
class Stop:
    """What came of one stop."""

    status: int
    seconds: float
    left: int
    lines: tuple[str, ...]
    traceback: bool

    def is_clean(self, number: signal.Signals) -> bool:
        """Whether it ended as it should, or had come to its end before the signal."""
        if self.left or self.traceback:
            return False
        if number == signal.SIGKILL:
            return self.status in (-number, 0) and not self.lines
        return self.status == 0 or (self.status == 128 + number and len(self.lines) == 1)


class Command:
    """``ddp run`` in a folder, as a person starts it from a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._mark = folder, uuid4().hex
        self._errors = folder / f"stderr-{self._mark}"
        ddp = Path(sys.executable).with_name("ddp")
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [ddp, "run", folder / "run.yaml", "--out", folder / "out"],
                # Torch's threads wait for each other where other work takes the cores.
                env={**os.environ, _MARK: self._mark, "OMP_NUM_THREADS": "1"}
                | {"PREFECT_HOME": str(folder.parent / "prefect")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def errors(self) -> str:
        """Error output so far."""
        return self._errors.read_text()

    def processes(self) -> list[psutil.Process]:
        """All that there are of it now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self._mark:
                    found.append(process)
            except psutil.Error:  # it ended, or is another person's
                continue
        return found

    def await_point(self, point: Point) -> None:
        """Wait until it is there, or has ended."""
        deadline = time.monotonic() + _LONGEST
        while self.process.poll() is None and not self._is_at(point):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{point} did not come; last was {self.errors()[-500:]}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        time.sleep(point.seconds)

    def _is_at(self, point: Point) -> bool:
        if point.line is not None:
            return re.search(point.line, self.errors()) is not None
        children = psutil.Process(self.process.pid).children()
        return any(_SERVER in _command_line(child) for child in children)

    def stop(self, number: signal.Signals) -> Stop:
        """Send a signal and see what becomes of it."""
        before = len(self.errors())
        begun = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        status = self.process.wait(_LONGEST)
        seconds = time.monotonic() - begun
        deadline = time.monotonic() + _SECONDS_UNTIL_COUNTED
        while (left := len(self.processes())) and time.monotonic() < deadline:
            time.sleep(0.5)
        said = self.errors()[before:].splitlines()
        lines = tuple(line for line in said if line.strip() and not _LOGGED.match(line))
        return Stop(status, seconds, left, lines, "Traceback" in self.errors())

    def end(self) -> None:
        """End what is left of it."""
        for process in self.processes():
            process.kill()
        self.process.wait()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def run_file(folder: Path) -> None:
    """A run of seconds that has every stage, its network trained on the spot."""
    runs = Path(__file__).parents[1] / "tests" / "runs.py"
    levels = {"quantile": 0.8, "percentage": 60}
    content = {
        "name": "stopped",
        "model": {"factory": f"{runs}:TinyNetwork", "training": {"epochs": 20, "batch_size": 8}},
        "images": {"factory": f"{runs}:Noise", "kwargs": {"images": 60}},
        "layers": ["conv1", "fc2"],
        "significance": {**levels, "superclasses": {"one": ["left", "both"], "other": ["right"]}},
        "shards": {"images": 8, "batch_size": 3},
        "cluster": "local",
    }
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(content))


def stopped(folder: Path, point: Point, number: signal.Signals) -> Stop:
    """Start the run of a folder, or continue it, and stop it at a point."""
    command = Command(folder)
    try:
        command.await_point(point)
        return command.stop(number)
    finally:
        command.end()


def finish(folder: Path) -> None:
    """Carry the run of a folder out, or continue it, to its end."""
    command = Command(folder)
    try:
        if command.process.wait(_LONGEST):
            raise RuntimeError(f"the run failed:\n{command.errors()[-3000:]}")
    finally:
        command.end()


def section(stops: dict[tuple[str, str], Stop], differ: dict[str, list[str]]) -> list[str]:
    """What is appended to RESULTS.md."""
    names = list(dict.fromkeys(name for _, name in stops))
    clean = sum(stop.is_clean(SIGNALS[name]) for (_, name), stop in stops.items())
    same = sum(not files for files in differ.values())
    lines = [
        f"\n## Stopping, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.stopping`; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}. {clean} of {len(stops)} stops clean: one line, none after "
        f"SIGKILL, no traceback, no process left. {sum(s.left for s in stops.values())} processes "
        f"left in all, {max(s.seconds for s in stops.values()):.1f} s to the prompt at most. "
        f"{same} of {len(differ)} runs, each stopped at every point, ended with the bits of an "
        "undisturbed one.",
        "",
        f"| stopped at | {' | '.join(f'{n}: s, left, lines, status' for n in names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for point in dict.fromkeys(point for point, _ in stops):
        row = []
        for name in names:
            one = stops[point, name]
            row.append(f"{one.seconds:.1f}, {one.left}, {len(one.lines)}, {one.status}")
        lines.append(f"| {point} | {' | '.join(row)} |")
    return lines


def measured(
    folder: Path, points: Sequence[str], names: Sequence[str]
) -> tuple[dict[tuple[str, str], Stop], dict[str, list[str]]]:
    """Stop at all points by all signals; what came of it, and which files differ at the end."""
    run_file(whole := folder / "whole")
    finish(whole)
    stops, differ = dict[tuple[str, str], Stop](), dict[str, list[str]]()
    for name in names:
        run_file(own := folder / name)
        for point in points:
            stop = stopped(own, POINTS[point], SIGNALS[name])
            stops[point, name] = stop
            print(f"{point}, {name}: {stop}", flush=True)
        finish(own)
        differ[name] = differences(whole / "out" / "store.zarr", own / "out" / "store.zarr")
        print(f"{name}: {differ[name] or 'the same bits'}", flush=True)
    return stops, differ


def main() -> None:
    """Measure and append; the exit status is 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", nargs="*", choices=list(POINTS), default=list(POINTS))
    parser.add_argument("--signals", nargs="*", choices=list(SIGNALS), default=list(SIGNALS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stops, differ = measured(Path(folder), asked.points, asked.signals)
    lines = section(stops, differ)
    with asked.results.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    clean = all(stop.is_clean(SIGNALS[name]) for (_, name), stop in stops.items())
    raise SystemExit(int(not clean or any(differ.values())))


if __name__ == "__main__":
    main()
