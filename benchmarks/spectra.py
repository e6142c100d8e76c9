"""Spectra and power laws beside the tools people use for them; one command, every figure a ratio.

    python -m benchmarks.spectra [--models DIR] [--sample SECONDS]

Appends a section to benchmarks/RESULTS.md. powerlaw and
weightwatcher (the ``bench`` extra) are needed; every comparison runs both sides in this process,
on the machine's cores as each side uses them by default, unless the text says otherwise.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import spectra_others as others
from ddp_tasks.capacity import Capacity, Matrization, alpha_hat, layer_capacity, spectrum
from ddp_tasks.power_law import fit_power_law
from ddp_tasks.toeplitz import Block, block_spectrum, blocks, symbol, toeplitz_spectrum
from ddp_tasks.toeplitz_matrix import boundary_differences

T = TypeVar("T")

RESULTS = Path(__file__).with_name("RESULTS.md")

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
    """One fit of 4,096 values beside powerlaw's."""
    lines = [
        "### One fit of 4,096 values beside powerlaw",
        "",
        "Target: at least 50 times faster. Ours the best of 5, powerlaw's one run.",
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
        seconds, ours = timed(lambda v=values: fit_power_law(v), 5)
        slow, theirs = timed(lambda v=values: others.powerlaw_fit(v))
        lines.append(
            f"| {name} | {seconds * 1e3:.1f} | {slow:.1f} | {slow / seconds:.0f} "
            f"| {ours.alpha:.4f} | {theirs.alpha:.4f} |"
        )
    return lines


def whole_analysis(models: Path) -> list[str]:
    """ResNet-56 analysed whole, beside WeightWatcher."""
    layers = weights(models, 56)

    def ours() -> list[Capacity]:
        return [layer_capacity(W, Matrization.UNFOLDED) for W in layers.values()]

    network = others.network_of(layers)
    others.weightwatcher_analysis(network)
    ours()
    best = dict.fromkeys(["ours, 1", "ours, all", "theirs, 1", "theirs, all"], float("inf"))
    threads = torch.get_num_threads()
    for _ in range(5):  # in turns, so that a busy machine is busy for both
        for side, work in (
            ("ours", ours),
            ("theirs", lambda: others.weightwatcher_analysis(network)),
        ):
            best[f"{side}, all"] = min(best[f"{side}, all"], timed(work)[0])
            torch.set_num_threads(1)
            with others.one_blas_thread():
                best[f"{side}, 1"] = min(best[f"{side}, 1"], timed(work)[0])
            torch.set_num_threads(threads)
    rows = ours()
    found = alpha_hat(rows)
    return [
        "### ResNet-56 whole, beside WeightWatcher",
        "",
        "WeightWatcher: `analyze(randomize=False, mp_fit=False, plot=False, min_evals=1)`, its "
        "cheapest whole analysis, which takes the k² matrices W[:, :, s, t] together, 9 times as "
        "many eigenvalues as W̄1 has. Ours: W̄1, power law and all columns. Best of 5 each, after "
        "one run to warm up, in turns. Target: at least 20 times faster.",
        "",
        "| threads | ours, ms | WeightWatcher, ms | ratio |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {best[f'ours, {key}'] * 1e3:.0f} | {best[f'theirs, {key}'] * 1e3:.0f} "
            f"| {best[f'theirs, {key}'] / best[f'ours, {key}']:.1f} |"
            for name, key in (("1 each, as in a worker", "1"), (f"{threads} (default)", "all"))
        ),
        "",
        f"α̂ = {found.total:.2f} (sum, Eq. 12), {found.mean:.3f} a layer over {found.layers} "
        f"layers, {found.left_out} left out.",
    ]


def all_spectra(sample: float) -> list[str]:
    """VGG-16's 13 Toeplitz spectra beside numpy.linalg.svd on the same Fourier transforms."""
    lines = [
        "### VGG-16's 13 Toeplitz spectra at 224 × 224 beside numpy.linalg.svd",
        "",
        "Random weights. numpy: `numpy.linalg.svd(A, compute_uv=False)` in complex128 of the "
        f"blocks of `numpy.fft.fft2`, its own threads, on as many random frequencies as take "
        f"about {sample:g} s, scaled to all of them; the time of the transform itself is not "
        "counted against it. Ours: all frequencies, sorted, on one thread for each core. Target: "
        "at least 5 times faster. Beside the clock's seconds those of the processor, numpy's "
        "then on one thread: they tell what is due to the algorithm, and hold on a busy machine. "
        "Error: greatest difference to numpy's values at up to 64 of the frequencies over the "
        "greatest of them.",
        "",
        "| layer | shape | values | ours, s | numpy sampled | numpy, s | ratio | processor: ours, "
        "s | numpy, s | ratio | error |",
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
                f"| {index} | {d}×{c}, {m}² | {len(S):,} | {seconds:.2f} "
                f"| {numpys.frequencies:,} of {m * m:,} | {numpys.wall:.1f} "
                f"| {numpys.wall / seconds:.1f} | {used:.2f} | {numpys.processor:.1f} "
                f"| {numpys.processor / used:.1f} | {numpys.error:.1e} |"
            )
    ours, theirs, ours_used, theirs_used = total
    return [
        *lines,
        f"| all | | | {ours:.1f} | | {theirs:.1f} | {theirs / ours:.1f} | {ours_used:.1f} "
        f"| {theirs_used:.1f} | {theirs_used / ours_used:.1f} | |",
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
    parts = (
        lambda: agreement(models),
        speed_of_fits,
        lambda: whole_analysis(models),
        lambda: all_spectra(arguments.sample),
        lambda: accuracy(models),
        lambda: thinning(models),
        lambda: boundaries(models),
    )
    for part in parts:
        section = part()
        print("\n".join(section), flush=True)
        lines += ["", *section]
    with RESULTS.open("a") as results:
        results.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
