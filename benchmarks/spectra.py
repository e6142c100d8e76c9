"""Spectra and power laws beside the tools people use for them; one command, every figure a ratio.

    python -m benchmarks.spectra [--models DIR] [--sample SECONDS]

Appends a section to benchmarks/RESULTS.md. powerlaw and
weightwatcher (the ``bench`` extra) are needed. Every comparison runs both sides in this process on
the same values, first on one thread each by the processor's own seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import spectra_others as others
from ddp_tasks.capacity.metric import Capacity, Matrization, alpha_hat, layer_capacity, spectrum
from ddp_tasks.capacity.power_law import fit_power_law
from ddp_tasks.capacity.toeplitz import Block, block_spectrum, blocks, symbol, toeplitz_spectrum
from ddp_tasks.capacity.toeplitz_matrix import boundary_differences

T = TypeVar("T")

RESULTS = Path(__file__).with_name("RESULTS.md")

PARTS = ("agreement", "fits", "whole", "toeplitz", "accuracy", "thinning", "boundaries")
DEPTHS = (20, 32, 44, 56)

#: d, c and the side of the input of VGG-16's convolutions on images of 224 x 224.
VGG16 = (
    (64, 3, 224), (64, 64, 224), (128, 64, 112), (128, 128, 112), (256, 128, 56), (256, 256, 56),
    (256, 256, 56), (512, 256, 28), (512, 512, 28), (512, 512, 28), (512, 512, 14), (512, 512, 14),
    (512, 512, 14),
)  # fmt: skip


def timed(work: Callable[[], T], repeats: int = 1) -> tuple[float, T]:
    """Least seconds of some runs, and the last result."""
    least = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        least = min(least, time.perf_counter() - start)
    return least, result


def processor(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the processor's seconds that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


@contextmanager
def one_thread() -> Iterator[None]:
    """torch and LAPACK with one thread each, as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with others.one_blas_thread():
            yield
    finally:
        torch.set_num_threads(threads)


def weights(models: Path, depth: int) -> dict[str, torch.Tensor]:
    """The weights of a CIFAR-10 ResNet's linear layers, by name."""
    state = torch.load(models / f"cifar10_resnet{depth}.pt", weights_only=True)
    return {name: W for name, W in state.items() if W.ndim in (2, 4)}


def agreement(models: Path) -> list[str]:
    """α of every layer of four ResNets beside powerlaw's on the same values."""
    lines = [
        "### α beside powerlaw's, same values and same rule for xmin",
        "",
        "`powerlaw.Fit(λ, parameter_ranges={'alpha': [0, 1e6]})`, since it otherwise refuses α "
        "above 3; λ of W̄1. Target: within 0.5 % for every layer.",
        "",
        "| network | layers | same xmin | median difference | greatest difference | above 0.5 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for depth in DEPTHS:
        differences, same, above = [], 0, []
        for name, W in weights(models, depth).items():
            S = spectrum(W, Matrization.UNFOLDED).S
            values = S.square().numpy()
            ours, theirs = fit_power_law(values), others.powerlaw_fit(values)
            differences.append(abs(ours.alpha / theirs.alpha - 1))
            same += ours.xmin == theirs.xmin
            if differences[-1] > 0.005:
                above.append(f"{name} ({ours.alpha:.4f}, powerlaw {theirs.alpha:.4f})")
        lines.append(
            f"| ResNet-{depth} | {len(differences)} | {same} | {np.median(differences):.1e} "
            f"| {max(differences):.1e} | {', '.join(above) or 'none'} |"
        )
    return lines


def speed_of_fits() -> list[str]:
    """One fit of 4,096 values beside powerlaw's, both on one thread."""
    lines = [
        "### One fit of 4,096 values beside powerlaw",
        "",
        "Both on one thread, the least processor seconds of 3 runs in turns, all xmin tried. "
        "Target: at least 50 times faster.",
        "",
        "| values | ours, ms | powerlaw, s | ratio | α ours | α powerlaw |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    generator = np.random.default_rng(0)
    samples = {
        "Pareto, α = 2.5": generator.pareto(1.5, 4096) + 1,
        "λ of a 4096 x 8192 normal matrix": others.random_eigenvalues(4096, 8192),
    }
    for name, values in samples.items():
        seconds = slow = float("inf")
        with one_thread():
            for _ in range(3):
                ours, used = processor(lambda v=values: fit_power_law(v, None))
                theirs, slowly = processor(lambda v=values: others.powerlaw_fit(v))
                seconds, slow = min(seconds, used), min(slow, slowly)
        lines.append(
            f"| {name} | {seconds * 1e3:.1f} | {slow:.1f} | {slow / seconds:.0f} "
            f"| {ours.alpha:.4f} | {theirs.alpha:.4f} |"
        )
    return lines


def whole_analysis(models: Path) -> list[str]:
    """ResNet-56 analysed whole, beside WeightWatcher on the same matrices."""
    layers = weights(models, 56)
    network = others.network_of(layers)

    def of(matrization: Matrization) -> list[Capacity]:
        return [layer_capacity(W, matrization) for W in layers.values()]

    sides: dict[str, Callable[[], Any]] = {
        "slices": lambda: of(Matrization.SLICES),
        "unfolded": lambda: of(Matrization.UNFOLDED),
        "theirs": lambda: others.weightwatcher_analysis(network),
    }
    results = {side: work() for side, work in sides.items()}  # and to warm up
    alone, clock = (dict.fromkeys(sides, float("inf")) for _ in range(2))
    threads = torch.get_num_threads()
    for _ in range(5):  # in turns, so that a busy machine is busy for all
        for side, work in sides.items():
            clock[side] = min(clock[side], timed(work)[0])
            with one_thread():
                alone[side] = min(alone[side], processor(work)[1])
    table = results["theirs"]
    same = np.isclose(
        [row.log_norm for row in results["slices"]], table["log_norm"].to_numpy(), rtol=1e-4
    )
    found = alpha_hat(results["unfolded"])
    return [
        "### ResNet-56 whole, beside WeightWatcher",
        "",
        "WeightWatcher: `analyze(randomize=False, mp_fit=False, plot=False, min_evals=1)`, its "
        "cheapest whole analysis, which takes the k² matrices W[:, :, s, t] together. Ours, on "
        "the same matrices: `slices`, power law and all columns. Best of 5 each, after one run "
        f"to warm up, in turns. log_norm is the same in {same.sum()} of {len(same)} layers. "
        "Target: at least 20 times faster.",
        "",
        "| | ours, ms | WeightWatcher, ms | ratio |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {best['slices'] * 1e3:.0f} | {best['theirs'] * 1e3:.0f} "
            f"| {best['theirs'] / best['slices']:.1f} |"
            for name, best in (
                ("one thread each, processor", alone),
                (f"{threads} threads each, clock", clock),
            )
        ),
        "",
        f"W̄1, a ninth of these eigenvalues, takes {alone['unfolded'] * 1e3:.0f} ms of processor "
        f"on one thread. α̂ of W̄1 = {found.total:.2f} ± {found.error:.2f} (sum, Eq. 12), "
        f"{found.mean:.3f} a layer over {found.layers} layers, {found.left_out} left out; "
        f"{found.few} tails have fewer than 20 eigenvalues.",
    ]


def all_spectra(sample: float) -> list[str]:
    """VGG-16's 13 Toeplitz spectra beside numpy.linalg.svd on the same Fourier transforms."""
    lines = [
        "### VGG-16's 13 Toeplitz spectra at 224 × 224 beside numpy.linalg.svd",
        "",
        "Random weights. numpy: `numpy.linalg.svd(A, compute_uv=False)` in complex128 of the "
        f"blocks of `numpy.fft.fft2`, on as many random frequencies as take about {sample:g} s, "
        "scaled to all of them; the time of the transform itself is not counted against it. Ours: "
        "all frequencies, sorted. First the processor's seconds, numpy on one thread and ours on "
        f"{os.cpu_count()} with one of LAPACK each: they tell what is due to the algorithm. Then "
        f"the clock's on {os.cpu_count()} cores, numpy with threads of its own inside each matrix, "
        "ours with whole matrices side by side. Target: at least 5 times faster. Error: greatest "
        "difference to numpy's values at up to 64 of the frequencies over the greatest of them.",
        "",
        "| layer | shape | values | numpy sampled | processor: ours, s | numpy, s | ratio | clock: "
        "ours, s | numpy, s | ratio | error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    cores = os.cpu_count() or 1
    generator = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    total = np.zeros(4)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with bar, ThreadPoolExecutor(cores) as pool:
        for index, (d, c, m) in enumerate(VGG16):
            W = torch.randn(d, c, 3, 3, generator=generator, dtype=torch.float64) / (3 * c**0.5)
            layer = symbol(W, (m, m))
            task = bar.add_task(f"layer {index}, {layer.values:,} values", total=layer.values)

            def run(
                work: Callable[[Block], torch.Tensor], parts: list[Block], task: TaskID = task
            ) -> Iterator[torch.Tensor]:
                for part in pool.map(work, parts):
                    bar.advance(task, len(part))
                    yield part

            torch.set_num_threads(1)
            with others.one_blas_thread():
                used = time.process_time()
                seconds, S = timed(
                    lambda W=W, m=m, run=run: toeplitz_spectrum(W, (m, m), memory=1 << 26, run=run)
                )
                used = time.process_time() - used
            torch.set_num_threads(threads)
            numpys = others.numpy_sample(W.numpy(), m, sample)
            total += [seconds, numpys.wall, used, numpys.processor]
            lines.append(
                f"| {index} | {d}×{c}, {m}² | {len(S):,} | {numpys.frequencies:,} of {m * m:,} "
                f"| {used:.2f} | {numpys.processor:.1f} | {numpys.processor / used:.1f} "
                f"| {seconds:.2f} | {numpys.wall:.1f} | {numpys.wall / seconds:.1f} "
                f"| {numpys.error:.1e} |"
            )
    ours, theirs, ours_used, theirs_used = total
    return [
        *lines,
        f"| all | | | | {ours_used:.1f} | {theirs_used:.1f} | {theirs_used / ours_used:.1f} "
        f"| {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} | |",
    ]


def thinning(models: Path) -> list[str]:
    """What fewer xmin change."""
    lines = [
        "### Thinned xmin",
        "",
        "W̄2 of ResNet-56's layers at 224 × 224. Default: 65,536 candidates.",
        "",
        "| layer | values | candidates | ms | α | tail | change of α, in sigma |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    layers = weights(models, 56)
    for name in ("conv1.weight", "layer1.8.conv2.weight", "layer3.0.conv1.weight"):
        values = toeplitz_spectrum(layers[name], (224, 224)).square().numpy()
        every = fit_power_law(values, None)
        for candidates in (256, 4096, 65536, None):
            seconds, fit = timed(lambda v=values, c=candidates: fit_power_law(v, c))
            change = (fit.alpha - every.alpha) / every.sigma
            lines.append(
                f"| {name} | {len(values):,} | {candidates or 'all'} | {seconds * 1e3:.0f} "
                f"| {fit.alpha:.4f} | {fit.tail:,} | {change:+.3f} |"
            )
    return lines


def boundaries(models: Path) -> list[str]:
    """Periodic images beside the exact boundary, on small layers."""
    lines = [
        "### Periodic images beside exact boundaries",
        "",
        "ResNet-20's conv1 (16 × 3) and layer1.0.conv1 (16 × 16): (periodic - exact) / exact of "
        "the largest value and of the Frobenius norm, and the distance of the sorted spectra.",
        "",
        "| layer | input | boundary | largest | Frobenius | spectrum |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    layers = weights(models, 20)
    for name, m in (("conv1.weight", 8), ("conv1.weight", 16), ("layer1.0.conv1.weight", 8)):
        for boundary, found in boundary_differences(layers[name], (m, m)).items():
            lines.append(
                f"| {name} | {m}² | {boundary} | {found.largest:+.4f} | {found.frobenius:+.4f} "
                f"| {found.spectrum:.4f} |"
            )
    return lines


def accuracy(models: Path) -> list[str]:
    """Toeplitz spectra at real input sizes beside numpy's float64 svd of all blocks."""
    worst, values = 0.0, 0
    for name, W in weights(models, 20).items():
        if W.ndim == 4:
            m = 32 // (1 << max(int(name[5]) - 1, 0)) if name.startswith("layer") else 32
            expected = others.numpy_spectrum(W.double().numpy(), m)
            layer = symbol(W, (m, m))
            found = torch.cat([block_spectrum(layer, part) for part in blocks(layer)])
            found = found.sort(descending=True).values
            worst = max(worst, float(np.abs(found.numpy() - expected).max() / expected[0]))
            values += len(expected)
    return [
        "### Accuracy of the Toeplitz spectra",
        "",
        f"All {values:,} values of ResNet-20's convolutions (stride 1) against numpy's float64 "
        f"svd: greatest difference {worst:.1e} of each layer's largest value. Target: 1e-6.",
    ]


def main() -> None:
    """Run every comparison and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(os.environ.get("DDP_MODELS", "models")))
    parser.add_argument("--sample", type=float, default=1.5, help="seconds of numpy a layer")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    models = arguments.models.expanduser()
    packages = ("torch", "numpy", "powerlaw", "weightwatcher")
    lines = [
        "## Spectra and power laws",
        "",
        "`python -m benchmarks.spectra`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, {', '.join(f'{p} {version(p)}' for p in packages)}.",
    ]
    asked = {
        "agreement": lambda: agreement(models),
        "fits": speed_of_fits,
        "whole": lambda: whole_analysis(models),
        "toeplitz": lambda: all_spectra(arguments.sample),
        "accuracy": lambda: accuracy(models),
        "thinning": lambda: thinning(models),
        "boundaries": lambda: boundaries(models),
    }
    for part in arguments.only:
        section = asked[part]()
        print("\n".join(section), flush=True)
        lines += ["", *section]
    with arguments.results.open("a") as results:
        results.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
