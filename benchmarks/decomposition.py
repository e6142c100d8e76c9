"""Accuracy, speed and memory of the decomposition of linear layers.

python -m benchmarks.decomposition writes benchmarks/results/decomposition.md. The float32 SVD of
VGG-16's widest layer takes minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from ddp_tasks.weights.tensor_svd import decompose

HERE = Path(__file__).parent
CIFAR = (*(f"cifar10_resnet{depth}" for depth in (20, 32, 44, 56)), "cifar10_vgg16_bn")
TORCHVISION = ("mobilenet_v2", "resnext50_32x4d", "vgg16", "vit_b_16")

#: What is asked for.
ACCURACY, SPEEDUP, PEAK_GIB = 1e-6, 3.0, 4.0


@dataclass(frozen=True)
class Weight:
    """An unfolded weight, shape (d, c*k*k / groups)."""

    name: str
    W: Tensor
    groups: int


def trained_weights(file: Path) -> Iterator[Weight]:
    """Convolutional and fully connected weights of a state dict of a network without groups."""
    for name, tensor in torch.load(file, weights_only=True, map_location="cpu").items():
        if tensor.ndim >= 2:
            yield Weight(name.removesuffix(".weight"), tensor.float().flatten(1), 1)


def random_weights(architecture: str) -> Iterator[Weight]:
    """Normal numbers in the shapes of a torchvision network, projections of attention included."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = getattr(torchvision.models, architecture)()
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            shape, groups = module.in_proj_weight.shape, 1
        elif isinstance(module, nn.Conv2d | nn.Linear):
            shape, groups = module.weight.shape, getattr(module, "groups", 1)
        else:
            continue
        yield Weight(name, torch.randn(shape, generator=generator).flatten(1), groups)


@dataclass
class Accuracy:
    """Largest errors over the layers of one network."""

    layers: int = 0
    by_gram: int = 0
    other_rank: int = 0
    over_s0: float = 0.0
    over_itself: float = 0.0
    least: float = 1.0


def accuracy(weights: Iterable[Weight]) -> Accuracy:
    """Singular values by ``decompose`` without V against float64 SVD of every block."""
    worst = Accuracy()
    for weight in weights:
        found = decompose(weight.W, weight.groups, right_singular_vectors=False)
        blocks = weight.W.double().reshape(weight.groups, -1, weight.W.shape[1])
        exact = torch.linalg.svdvals(blocks).flatten().sort(descending=True).values
        tolerance = float(exact[0]) * max(blocks.shape[1:]) * torch.finfo(torch.float64).eps
        rank = int((exact > tolerance).sum())
        common = min(found.rank, rank)
        error = (found.S[:common] - exact[:common]).abs()
        worst.layers += 1
        worst.by_gram += found.route == "gram"
        worst.other_rank += found.rank != rank
        worst.over_s0 = max(worst.over_s0, float(error.max() / exact[0]))
        if found.route == "gram":
            worst.over_itself = max(worst.over_itself, float((error / exact[:common]).max()))
        worst.least = min(worst.least, float(exact[rank - 1] / exact[0]))
    return worst


def accuracy_section(models: Path, limit: int | None) -> list[str]:
    """A table with one row for each network."""
    networks: list[tuple[str, Iterator[Weight]]] = []
    for name in CIFAR:
        file = models / f"{name}.pt"
        if file.exists():
            networks.append((f"{name} (trained)", trained_weights(file)))
        else:
            print(f"left out: {file} does not exist", file=sys.stderr)
    for name in TORCHVISION:
        networks.append((f"{name} (random)", random_weights(name)))
    rows = [
        "| network | layers | by Gram matrix | rank differs | s_r / s_0, least | "
        "error / s_0 | error / s, Gram layers |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    greatest = 0.0
    for name, weights in networks:
        worst = accuracy(islice(weights, limit))
        greatest = max(greatest, worst.over_s0)
        rows.append(
            f"| {name} | {worst.layers} | {worst.by_gram} | {worst.other_rank} | "
            f"{worst.least:.1e} | {worst.over_s0:.1e} | {worst.over_itself:.1e} |"
        )
        print(rows[-1], flush=True)
    return [
        "### Accuracy: singular values against float64 SVD",
        "",
        *rows,
        "",
        f"Largest error {greatest:.1e} of s_0; asked for {ACCURACY:g}: "
        f"{'reached' if greatest <= ACCURACY else 'NOT reached'}.",
    ]


@dataclass(frozen=True)
class Time:
    """Seconds by the clock, and of all threads together: on a busy machine only the latter last."""

    wall: float
    cpu: float

    def __add__(self, other: Time) -> Time:
        return Time(self.wall + other.wall, self.cpu + other.cpu)


def least_time(compute: Callable[[], object], repeat: int) -> Time:
    """The least of several runs."""
    wall, cpu = [], []
    for _ in range(repeat):
        start = time.perf_counter(), time.process_time()
        compute()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return Time(min(wall), min(cpu))


def speed_section(limit: int | None) -> list[str]:
    """VGG-16: U and S by ``decompose``, and U, S, V by float32 SVD, layer by layer in turn."""
    rows = [
        "| layer | unfolded | U and S: wall, s | CPU, s | float32 SVD: wall, s | CPU, s | "
        "ratio, wall | ratio, CPU |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours_in_all = theirs_in_all = Time(0, 0)
    warm = torch.randn(512, 512)
    decompose(warm, right_singular_vectors=False)
    torch.linalg.svd(warm)
    for weight in islice(random_weights("vgg16"), limit):
        W = weight.W
        repeat = 5 if W.numel() < 2**22 else 1
        ours = least_time(partial(decompose, W, right_singular_vectors=False), repeat)
        theirs = least_time(partial(torch.linalg.svd, W, full_matrices=False), repeat)
        ours_in_all += ours
        theirs_in_all += theirs
        rows.append(_speed_row(weight.name, " × ".join(map(str, W.shape)), ours, theirs))
        print(rows[-1], flush=True)
    rows.append(_speed_row("all", "", ours_in_all, theirs_in_all))
    ratio = theirs_in_all.wall / ours_in_all.wall
    return [
        "### Speed: VGG-16, U and S against torch.linalg.svd in float32 (U, S and V)",
        "",
        *rows,
        "",
        f"{ratio:.1f} times faster over all layers by the clock; asked for {SPEEDUP:g}: "
        f"{'reached' if ratio >= SPEEDUP else 'NOT reached'}.",
    ]


def _speed_row(name: str, size: str, ours: Time, theirs: Time) -> str:
    return (
        f"| {name} | {size} | {ours.wall:.4f} | {ours.cpu:.4f} | {theirs.wall:.4f} | "
        f"{theirs.cpu:.4f} | {theirs.wall / ours.wall:.1f} | {theirs.cpu / ours.cpu:.1f} |"
    )


def memory_section(limit: int | None) -> list[str]:
    """Peak resident memory of a process of its own that decomposes all layers of VGG-16."""
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--peak"]
    command += [] if limit is None else [str(limit)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    before, peak = map(float, printed.split())
    print(f"peak memory {peak:.2f} GiB", flush=True)
    return [
        "### Peak memory: VGG-16, U and S of all layers",
        "",
        f"{peak:.2f} GiB resident, the network's weights ({before:.2f} GiB with Python and torch, "
        f"before) and all results held; asked for {PEAK_GIB:g}: "
        f"{'reached' if peak < PEAK_GIB else 'NOT reached'}.",
    ]


def print_peak(limit: int | None) -> None:
    """Resident memory in GiB before and at the peak of decomposing VGG-16."""
    weights = list(islice(random_weights("vgg16"), limit))
    before = _peak_gib()
    kept = [decompose(weight.W, right_singular_vectors=False) for weight in weights]
    print(before, _peak_gib())
    assert len(kept) == len(weights)


def _peak_gib() -> float:
    # Not ru_maxrss: a child begins with what its parent had.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def main(arguments: list[str] | None = None) -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("DDP_MODELS", "models"))
    parser.add_argument(
        "--models",
        type=Path,
        default=default,
        help="folder of state dicts, NAME.pt; default $DDP_MODELS or models",
    )
    parser.add_argument("--results", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--tiny", action="store_true", help="three layers of each network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--peak", nargs="?", type=int, const=-1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak is not None:
        print_peak(None if options.peak < 0 else options.peak)
        return
    limit, load = 3 if options.tiny else None, os.getloadavg()[0]
    lines = [
        "## Decomposition of linear layers",
        "",
        f"`python -m benchmarks.decomposition --threads {options.threads}"
        f"{' --tiny' if options.tiny else ''}` on "
        f"{datetime.datetime.now(datetime.UTC).date()}: {os.cpu_count()} cores, "
        f"load {load:.1f} at the start; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}.",
        "",
        *memory_section(limit),
        "",
        *speed_section(limit),
        "",
        *accuracy_section(options.models, limit),
    ]
    with options.results.open("a") as results:
        results.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
