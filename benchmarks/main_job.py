"""The main job beside a plain script of the same science: whole commands, in turns.

    python -m benchmarks.main_job [--data FOLDER] [--runs 3]

Runs ``ddp run digits`` in fresh folders and ``benchmarks.plain_job`` on the same run, one after the
other; with --data, a folder with ``cifar10/test`` and ``models``, also ResNet-20 and ResNet-56 on
500 images of CIFAR-10. Every run is then started again on its finished folder. Appends a section to
benchmarks/RESULTS.md: seconds, their ratio, the flow's greatest memory, and where the time goes.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

RESULTS = Path(__file__).with_name("RESULTS.md")
DDP = Path(sys.executable).with_name("ddp")

#: Of ImageNet, which the networks on CIFAR-10 were trained with.
_TRANSFORM = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class Command:
    """A command that has ended."""

    seconds: float
    memory: float
    """greatest, of the process itself, MiB."""
    printed: str


def timed(*command: str | Path, home: Path) -> Command:
    """Carry a command out.

    Parameters
    ----------
    home
        of Prefect.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, "PREFECT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {status}:\n{printed}")
    return Command(seconds, usage.ru_maxrss / 1024, printed)


def cifar10(data: Path, depth: int) -> dict[str, object]:
    """The content of a run file: a ResNet on 500 images of CIFAR-10."""
    return {
        "name": f"resnet{depth}",
        "model": {
            "factory": "ddp_tasks.networks:CifarResNet",
            "kwargs": {"depth": depth},
            "weights": str(data / f"models/cifar10_resnet{depth}.pt"),
        },
        "images": {
            "factory": "torchvision.datasets:ImageFolder",
            "kwargs": {"root": str(data / "cifar10/test")},
            "transform": _TRANSFORM,
            "per_class": 50,
        },
        "significance": {"quantile": 0.9, "percentage": 75},
    }


def parts(printed: str) -> dict[str, float]:
    """Seconds of each part of a run, from its own closing lines."""
    (line,) = re.findall(r"^[\d.]+ s: (.*)$", printed, re.MULTILINE)
    return {name: float(s) for name, s in re.findall(r"([^,]+?) ([\d.]+)(?:, |$)", line)}


def nodes(printed: str) -> dict[str, int]:
    """By layer the singular vectors that are significant, as a run prints them."""
    rows = re.findall(r"^(\S+) +\d+ +[\d.]+ +\d+ % +(\d+) ", printed, re.MULTILINE)
    return {layer: int(count) for layer, count in rows}


def measured(source: str, runs: int, room: Path) -> dict[str, list[Command]]:
    """Runs, plain scripts, and runs started again, in turns; their numbers must be the same."""
    commands: dict[str, list[Command]] = {"run": [], "plain": [], "again": []}
    home = made_home(room)
    for turn in range(runs):
        out = room / f"out{turn}"
        commands["run"].append(timed(DDP, "run", source, "--out", out, home=home))
        plain = timed(sys.executable, "-m", "benchmarks.plain_job", source, home=home)
        commands["plain"].append(plain)
        commands["again"].append(timed(DDP, "run", source, "--out", out, home=home))
        ours, theirs = nodes(commands["run"][-1].printed), json.loads(plain.printed)
        if ours != theirs:
            different = {k: (ours.get(k), v) for k, v in theirs.items() if ours.get(k) != v}
            print(f"{source}: other numbers of significant vectors (ours, plain): {different}")
        last = {name: found[-1].seconds for name, found in commands.items()}
        print(f"{source}, turn {turn + 1} of {runs}: {last}", flush=True)
    return commands


def made_home(room: Path) -> Path:
    """A home of Prefect with its database, which Prefect makes once for all runs."""
    home = room / "home"
    timed(DDP.with_name("prefect"), "server", "database", "upgrade", "-y", home=home)
    return home


def _median(commands: list[Command]) -> float:
    return statistics.median(one.seconds for one in commands)


def section(name: str, commands: dict[str, list[Command]]) -> list[str]:
    """The lines on one run."""
    run, plain, again = (_median(commands[kind]) for kind in ("run", "plain", "again"))
    memory = max(one.memory for one in commands["run"])
    each = [parts(one.printed) for one in commands["run"]]
    where = {part: statistics.median(one[part] for one in each) for part in each[0]}
    told = ", ".join(f"{part} {seconds:.1f}" for part, seconds in where.items())
    return [
        f"| {name} | {run:.1f} | {plain:.1f} | {run / plain:.2f} | {again:.1f} | {memory:.0f} |",
        f"{name}: {told}.",
    ]


def small_commands(room: Path, runs: int) -> str:
    """Seconds of commands that answer at once."""
    home, out = room / "home", room / "out0"
    asked = {"ddp --help": ("--help",), "ddp table": ("table", out, "fc1")}
    seconds = {
        name: statistics.median(timed(DDP, *rest, home=home).seconds for _ in range(max(runs, 3)))
        for name, rest in asked.items()
    }
    return ", ".join(f"`{name}` {value:.2f} s" for name, value in seconds.items())


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cifar10/test and models")
    parser.add_argument("--runs", type=int, default=3, help="turns to take the median of")
    asked = parser.parse_args()
    rows, details = [], []
    with tempfile.TemporaryDirectory() as folder:
        sources = {"digits": "digits"}
        for depth in (20, 56) if asked.data else ():
            file = Path(folder) / f"resnet{depth}.yaml"
            file.write_text(yaml.safe_dump(cifar10(asked.data.expanduser(), depth)))
            sources[f"ResNet-{depth}"] = str(file)
        for name, source in sources.items():
            room = Path(folder) / name
            room.mkdir()
            row, detail = section(name, measured(source, asked.runs, room))
            rows.append(row)
            details += ["", detail]
        small = small_commands(Path(folder) / "digits", asked.runs)
        first = timed(
            DDP, "run", "digits", "--out", Path(folder) / "first", home=Path(folder) / "new"
        )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "prefect", "distributed", "zarr")
    )
    lines = [
        f"\n## Main job beside a plain script, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.main_job{' --data FOLDER' if asked.data else ''}`, median of "
        f"{asked.runs} turns; {os.cpu_count()} cores, {platform.machine()}, load "
        f"{os.getloadavg()[2]:.1f}, Python {platform.python_version()}, {versions}.",
        "",
        "| run | whole command, s | plain script, s | ratio | started again, s | flow, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        *details,
        "",
        f"{small}. `ddp run digits` where Prefect makes its database first: {first.seconds:.1f} s.",
    ]
    with RESULTS.open("a") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
