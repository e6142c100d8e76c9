"""How long the removal of singular vectors takes, and what it says of a ResNet.

    python -m benchmarks.ablation --data DIR     (half an hour on two cores)

Runs ResNet-20 on 400 test images a class of CIFAR-10, half of which choose, then ``ddp ablate``:
each of its 698 singular vectors by itself, and the vectors of each class at every place of a grid
of q 0.85 to 0.95 and p 50 to 75 %, in both directions, beside their four kinds of controls; judged
on the 200 images a class that chose nothing. Beside it the naive way, on a sample: W̄ - s u vᵀ
written into the network, and all images passed through all of it. Appends the whole grid and the
times to benchmarks/RESULTS.md. DIR is that of benchmarks.validation.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.validation import RESULTS, cifar10, without_extras
from ddp_tasks.interventions.judged_removals import judged_removals
from ddp_tasks.interventions.vector_removal import CutLayer
from ddp_tasks.interventions.verified_removal import Way
from ddp_tasks.networks.forward_pass import folded_copy
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.prepared_run import prepare
from ddp_tasks.queries.ablation import grid_table, open_ablation, vectors_table, verdicts
from schemas.ablation_parameters import AblationParameters
from schemas.parameters import RunParameters
from schemas.requests import Opening

PER_CLASS = 400
NETWORKS = ("resnet20", "resnet56")
#: Layers whose removals are timed in both ways, images and vectors of each.
_SHARES, _IMAGES, _VECTORS, _REPEATS = (0.0, 0.25, 0.5, 0.75, 1.0), 256, 8, 3


def ablated(run: RunParameters, folder: Path, seed: int) -> float:
    """Carry out a run, and remove its vectors; seconds that the removal took."""
    from flows.ablation import run_ablation
    from flows.pipeline import run_pipeline

    outcome = run_pipeline(run, folder)
    begun = time.perf_counter()
    layers = [one.layer for one in outcome.summary.layers]
    own = {
        "model.weights": run.model.weights,
        "model.kwargs": run.model.kwargs,
        "images.kwargs": run.images.kwargs,
    }
    places = [f"{key}={json.dumps(value)}" for key, value in own.items()]
    run_ablation(folder, AblationParameters(seed=seed), layers, Opening(changes=places, trust=True))
    return time.perf_counter() - begun


def ratios(run: RunParameters) -> list[tuple[str, float]]:
    """By layer, how many times as long the naive way takes as the one of ``ddp ablate``."""
    prepared = prepare(run)
    layers, convention = prepared.layers, prepared.layers.convention
    images = prepared.images.inputs(
        [one for one in prepared.images.read_at(range(_IMAGES)) if isinstance(one, Tensor)],
        torch.device("cpu"),
    )
    target = prepared.images.target[:_IMAGES]
    model = convention.laid_out(prepared.model)
    folded = convention.laid_out(folded_copy(model, layers.linear, layers.images, convention)[0])
    found = []
    for share in _SHARES:
        layer = layers.linear[round(share * (len(layers.linear) - 1))]
        rng = np.random.default_rng(0)
        U = np.linalg.qr(rng.standard_normal((layer.shape[0], _VECTORS)))[0]
        directions = [torch.from_numpy(U[:, [i]]) for i in range(_VECTORS)]
        way = Way(CutLayer(folded, convention, layer), None, together=True)
        times = []
        for _ in range(_REPEATS):
            begun = time.perf_counter()
            judged_removals(way, directions, [(images, target)])
            between = time.perf_counter()
            for direction in directions:
                naive_scores(model, layer, direction, convention.inputs(images))
            times.append((time.perf_counter() - between) / (between - begun))
        found.append((layer.name, statistics.median(times)))
    return found


def naive_scores(model: nn.Module, layer: LinearLayer, u: Tensor, images: Tensor) -> Tensor:
    """Scores of the network with one direction taken out of a layer's weight, and put back."""
    assert layer.weight.path is not None
    weight = model.get_parameter(layer.weight.path)
    own = weight.detach().clone()
    flat = own.double().flatten(1)
    with torch.inference_mode():
        weight.copy_((flat - u @ (u.T @ flat)).reshape(own.shape))
        scores: Tensor = model(images)
        weight.copy_(own)
    return scores


def section(name: str, folder: Path, seconds: float) -> list[str]:
    """What the removal says of a network, the whole grid, as Markdown."""
    comparison = open_ablation(folder)
    frame, vectors = grid_table(comparison), vectors_table(folder)
    lines = [
        f"### {name}",
        "",
        f"{seconds / 60:.1f} minutes for {comparison.sizes['layer']} layers with the report.",
        "",
    ]
    for change in ("accuracy", "probability"):
        of_change = vectors[vectors["change"] == change]
        lines += [
            f"By {change}: {int((of_change['low'] > 0).sum())} of {len(of_change)} single vectors "
            "hurt one class more than the others, by intervals that hold for a layer together.",
            "",
            *(f"- {sentence}" for sentence in verdicts(comparison, change)),
            "",
            "| q | p | beside | pairs | singular | control | difference | interval | won | "
            "corrected p |",
            "| ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
        ]
        for row in frame[frame["change"] == change].to_dict("records"):
            lines.append(
                f"| {row['quantile']:g} | {row['percentage']:g} | {row['control']} | "
                f"{row['pairs']} | {row['selectivity']:.3f} | {row['control_selectivity']:.3f} | "
                f"{row['difference']:+.3f} | {row['difference_low']:+.3f} to "
                f"{row['difference_high']:+.3f} | {row['win_rate']:.0%} | "
                f"{row['p_corrected']:.2g} |"
            )
        lines.append("")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=["resnet20"])
    parser.add_argument("--per-class", type=int, default=PER_CLASS)
    parser.add_argument("--seed", type=int, default=0, help="of images and random controls")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    lines = [
        f"## Singular vectors removed, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.ablation --data DIR`: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}; CIFAR-10's test images, "
        f"{options.per_class:,} a class, half to choose and half to judge; seed {options.seed}.",
        "",
    ]
    for name in options.only:
        run = without_extras(cifar10(data, options.per_class, name))
        with tempfile.TemporaryDirectory() as folder:
            seconds = ablated(run, Path(folder) / "out", options.seed)
            lines += section(name, Path(folder) / "out", seconds)
        if name == NETWORKS[0]:
            times = ", ".join(f"{layer} {ratio:.1f}" for layer, ratio in ratios(run))
            lines += [
                f"A naive loop of whole passes takes so many times as long, {_VECTORS} vectors on "
                f"{_IMAGES} images: {times}.",
                "",
            ]
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
