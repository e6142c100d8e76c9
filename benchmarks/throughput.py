"""The signals stage, from its start to the sealed cube, beside a bare loop over the same images.

    python -m benchmarks.throughput --data FOLDER [--only NAME ...] [--images N]

FOLDER holds ``imagenet-sample``, ``cifar10/train`` and ``MNIST``; the networks have random weights.
The bare loop is what a person would write: the network as it comes, ``inference_mode``, float32
input tensors that lie ready in memory, the same batch, in as many processes and threads as the
flow has; one process with torch on all cores stands beside them. The flow reads decoded uint8
pictures, standardises them, passes them through the network on its Dask workers, and writes the
cube of all layers. Loops and flow take turns (loops, flow, loops), so that a machine that drifts
does so for both. ``benchmarks.pass_parts`` measures what each part of a shard costs.
Appends a section to benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torchvision.datasets import MNIST, ImageFolder
from torchvision.transforms.v2 import functional as transforms

from ddp_tasks.store import shards

RESULTS = Path(__file__).with_name("RESULTS.md")
HERE = Path(__file__).resolve()
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Case:
    """A network and the images it is measured on."""

    factory: str
    kwargs: dict[str, Any]
    images: str
    """imagenet, cifar10 or mnist."""
    batch: int
    bare: int
    """images of one bare loop: enough for some seconds."""
    least: float
    """share of the bare loop's throughput that is asked for."""
    mean: list[float]
    std: list[float]


CASES = {
    "VGG-16": Case("torchvision.models:vgg16", {}, "imagenet", 32, 128, 0.95, *IMAGENET),
    "ResNet-18": Case("torchvision.models:resnet18", {}, "imagenet", 32, 512, 0.95, *IMAGENET),
    "ResNet-20": Case(
        "ddp_tasks.networks:CifarResNet", {"depth": 20}, "cifar10", 64, 16384, 0.90, *IMAGENET
    ),
    "𝒩": Case("ddp_tasks.networks:PaperNetwork", {}, "mnist", 64, 30000, 0.90, [0.1307], [0.3081]),
}
#: Asked of ResNet-18's fast pass in float32, against the plain loop.
FAST = 1.3
GROWTH = (1000, 10000, 60000)
#: A cube's rate at ten times as many images, past start-up, and its memory may differ so far.
ALIKE = 0.10


class Decoded:
    """Decoded pictures in a memory-mapped file, with their labels in another beside it."""

    def __init__(self, file: str, count: int) -> None:
        self.pixels = np.load(file, mmap_mode="r")[:count]
        self.targets = np.load(f"{file}.labels.npy")[:count]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.pixels[index].copy()), int(self.targets[index])


def decoded(data: Path, which: str, folder: Path) -> Path:
    """The file of all pictures of a set, (n, c, m, n) uint8, made where it is not there yet."""
    file = folder / f"{which}.npy"
    if file.exists():
        return file
    if which == "mnist":
        images = MNIST(str(data), train=True)
        pixels, labels = images.data[:, None].numpy(), images.targets.numpy()
    else:
        tree = ImageFolder(
            str(data / ("imagenet-sample" if which == "imagenet" else "cifar10/train"))
        )
        side = 224 if which == "imagenet" else 32
        pixels = np.empty((len(tree), 3, side, side), dtype=np.uint8)
        labels = np.array(tree.targets)
        for i in range(len(tree)):
            picture = transforms.pil_to_tensor(tree[i][0])
            pixels[i] = transforms.center_crop(picture, [side]).numpy()
        order = np.random.default_rng(0).permutation(len(tree))
        pixels, labels = pixels[order], labels[order]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(f"{file}.labels.npy", labels)
    np.save(file, pixels)
    return file


def model_of(case: Case, folder: Path) -> dict[str, Any]:
    """The run file's section ``model``, with random weights that every process finds the same."""
    from ddp_tasks.callables import factories

    kept = folder / f"{case.factory.rpartition(':')[2]}.pt"
    if not kept.exists():
        torch.manual_seed(0)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(factories.call(case.factory, case.kwargs).state_dict(), kept)
    return {"factory": case.factory, "kwargs": case.kwargs, "weights": str(kept)}


def bare(case: Case, file: Path, count: int) -> float:
    """Images a second of the plain loop, in this process."""
    from ddp_tasks.networks.models import open_model
    from schemas.parameters import ModelParameters

    given = ModelParameters.model_validate(model_of(case, file.parent))
    model: nn.Module = open_model(given)
    pixels = torch.from_numpy(np.load(file, mmap_mode="r")[:count].copy())
    images = transforms.normalize(pixels.float() / 255, case.mean, case.std)
    with torch.inference_mode():
        model(images[: case.batch])
        start = time.perf_counter()
        for first in range(0, count, case.batch):
            model(images[first : first + case.batch])
        return count / (time.perf_counter() - start)


def bare_apart(name: str, file: Path, count: int, **environment: str) -> float:
    """``bare`` in a process of its own, with these variables added to its environment."""
    command = [sys.executable, "-m", "benchmarks.throughput", "--bare", name]
    done = subprocess.run(
        [*command, "--file", str(file), "--images", str(count)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return float(done.stdout.split()[-1])


def bare_side_by_side(name: str, file: Path, count: int, **environment: str) -> float:
    """``bare`` in one process a core with one thread each, as the flow's workers have; in all."""
    alone = partial(bare_apart, name, file, count, OMP_NUM_THREADS="1", **environment)
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        return sum(one.result() for one in [pool.submit(alone) for _ in range(cores)])


@dataclass(frozen=True)
class Measured:
    """One run of the signals stage."""

    seconds: float
    shards: int
    worker: float
    """greatest resident memory of a worker, GiB."""
    flow: float
    """greatest resident memory of the flow's process, GiB."""


def signals_stage(case: Case, file: Path, count: int, **changes: Any) -> Measured:
    """Decompose, then time the stage from its start to the sealed cube."""
    from prefect import flow

    from ddp_tasks.stages import decomposition, signals
    from ddp_tasks.store import groups
    from flows.clusters import scheduler
    from schemas.parameters import RunParameters

    run = RunParameters.model_validate(
        {
            "name": "throughput",
            "model": model_of(case, file.parent),
            "images": {
                "factory": f"{HERE}:Decoded",
                "kwargs": {"file": str(file), "count": count},
                "transform": {"mean": case.mean, "std": case.std},
            },
            "shards": {"batch_size": case.batch},
            "right_singular_vectors": "never",
            "cluster": "local",
            **changes,
        }
    )

    @flow(name="throughput")
    def measured(path: Path) -> Measured:
        with scheduler(run.cluster) as address:
            decomposition.decompose_layers(run, path, address)
            with memory_watched() as peak:
                start = time.perf_counter()
                signals.fill_cube(run, path, address)
                groups.seal(path)
                seconds = time.perf_counter() - start
        return Measured(seconds, len(shards.shards(path)), peak["worker"], peak["flow"])

    with tempfile.TemporaryDirectory() as folder:
        return measured(Path(folder) / "store.zarr")


@contextmanager
def memory_watched() -> Iterator[dict[str, float]]:
    """Greatest resident memory, in GiB, of this process and of the largest below it."""
    peak, over = {"worker": 0.0, "flow": 0.0}, threading.Event()
    own = psutil.Process()

    def watch() -> None:
        while not over.wait(0.2):
            peak["flow"] = max(peak["flow"], own.memory_info().rss / 2**30)
            for child in own.children(recursive=True):
                try:
                    rss = child.memory_info().rss / 2**30
                except psutil.NoSuchProcess:
                    continue
                peak["worker"] = max(peak["worker"], rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def lines_of(names: list[str], data: Path, folder: Path, most: int | None) -> list[str]:
    """Rows of the table: flow beside loop."""
    from flows.worker_processes import ALLOCATION

    keeping_memory = {name: str(value) for name, value in ALLOCATION.items()}
    rows = []
    for name in names:
        case = CASES[name]
        file = decoded(data, case.images, folder)
        count = min(most or 10**9, len(np.load(file, mmap_mode="r")))
        few = min(case.bare, count)
        options: list[tuple[str, dict[str, Any], float | None]] = [("", {}, case.least)]
        if name == "ResNet-18":
            options.append((", fast", {"extraction": {"fast": True}}, FAST))
        for label, changes, least in options:
            before = bare_side_by_side(name, file, few, **keeping_memory)
            found = signals_stage(case, file, count, **changes)
            after = bare_side_by_side(name, file, few, **keeping_memory)
            one = bare_apart(name, file, few)
            loop, flow = (before + after) / 2, count / found.seconds
            rows.append(
                f"| {name}{label} | {count:,} | {case.batch} | {before:.1f}, {after:.1f} "
                f"| {flow:.1f} | **{flow / loop:.2f}** | {least:.2f} | {one:.1f} "
                f"| {found.shards} | {found.worker:.2f} |"
            )
            print(rows[-1], flush=True)
    return rows


def growth_lines(data: Path, folder: Path) -> list[str]:
    """Rows of the table: time and memory of 𝒩 over ever more images."""
    case = CASES["𝒩"]
    file = decoded(data, case.images, folder)
    rows, before = [], None
    for count in GROWTH:
        found = signals_stage(case, file, count, shards={"batch_size": case.batch, "images": 512})
        past = "" if before is None else f"{(count - before[0]) / (found.seconds - before[1]):.0f}"
        rows.append(
            f"| {count:,} | {found.seconds:.1f} | {count / found.seconds:.0f} | {past} "
            f"| {found.worker:.2f} | {found.flow:.2f} |"
        )
        print(rows[-1], flush=True)
        before = count, found.seconds
    return rows


def main() -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the images and models")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--images", type=int, help="take at most so many")
    parser.add_argument("--growth", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bare", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        print(bare(CASES[arguments.bare], arguments.file, arguments.images))
        return
    if arguments.data is None:
        parser.error("--data FOLDER is needed")
    data = arguments.data.expanduser()
    folder = RESULTS.parent / "results" / "decoded"
    with tempfile.TemporaryDirectory() as home:
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        rows = lines_of(arguments.only, data, folder, arguments.images)
        grown = growth_lines(data, folder) if arguments.growth else []
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "distributed", "zarr")
    )
    lines = [
        f"\n## Throughput of the signals stage, {datetime.date.today().isoformat()}",
        "",
        f"`python -m benchmarks.throughput --data FOLDER`: {os.cpu_count()} cores, "
        f"{platform.machine()}, load {os.getloadavg()[1]:.1f} over the last five minutes, Python "
        f"{platform.python_version()}, {versions}. Images a second of {os.cpu_count()} processes "
        "with one thread each on both sides, the loop (before and after the flow) with glibc's "
        "variables set as the flow's workers have them. The flow's time runs from the start of "
        "the stage to the sealed cube. Beside them a loop in one process, torch on all cores.",
        "",
        "| network | images | batch | loops | flow | flow / loops | asked "
        "| loop in one process | shards | a worker, GiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
    ]
    if grown:
        lines += [
            "",
            f"Growth, 𝒩 in shards of 512; asked: rates past start-up and memory at {GROWTH[-1]:,} "
            f"and at {GROWTH[-2]:,} images within {ALIKE:.0%}.",
            "",
            "| images | seconds | images/s | images/s since the row above | a worker, GiB "
            "| flow, GiB |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
            *grown,
        ]
    with RESULTS.open("a") as results:
        results.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
