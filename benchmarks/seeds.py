"""What holds of networks that are trained on the spot, over seeds and numbers of threads.

    python -m benchmarks.seeds --data DIR     (a minute or two for each of 20 trainings)

Trains the paper's network of the presets digits and mnist anew for every seed and number of
threads, each in a process of its own, and finds the significant vectors of every layer as a run
does by the paper's rule (positive directions, all images), with the project's own functions and
without Prefect, Dask and a store. Training adds up in
another order on another number of threads or another processor, and so gives another network:
only what holds in all of these trainings, or in most, is worth saying.

Appends to benchmarks/RESULTS.md the accuracy, the sizes of each layer's hypergraph, and in how
many trainings target classes share singular vectors. DIR holds MNIST/raw as torchvision reads it.
A training that was measured before is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.decomposition import layers_dataset
from ddp_tasks.networks.forward_pass import forward_pass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.networks.training import train
from ddp_tasks.signals.signals import extract
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significance_dataset
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import ExtractionParameters, RunParameters
from schemas.run_files import load_run

RESULTS = Path(__file__).with_name("RESULTS.md")
PRESETS = ("digits", "mnist")
SEEDS = (0, 1, 2, 3, 4)
THREADS = (1, 2)

_BATCH = 250


@dataclass(frozen=True)
class Training:
    """One training, and what its network's significant vectors are significant for."""

    seed: int
    threads: int
    accuracy: float
    """on the images that are analysed, none of which it was trained on."""
    layers: dict[str, dict[str, list[int]]]
    """by layer, for every significant singular vector its target classes."""

    def sets(self, layer: str) -> set[tuple[str, ...]]:
        """The sets of target classes that vectors of a layer are significant for."""
        return {tuple(map(str, classes)) for classes in self.layers[layer].values()}


@dataclass(frozen=True)
class Said:
    """That some vector of a layer is significant for some digits and not for others."""

    layer: str
    inside: str
    outside: str

    @property
    def words(self) -> str:
        """The statement, as the page of results has it."""
        others = ", ".join(self.outside)
        return f"{self.layer}: a vector significant for {', '.join(self.inside)}, not for {others}"

    def holds(self, training: Training) -> bool:
        """Whether there is such a vector in a training."""
        return any(
            set(self.inside) <= set(classes) and not set(self.outside) & set(classes)
            for classes in training.sets(self.layer)
        )


def _alone(layer: str, inside: str) -> Said:
    return Said(layer, inside, "".join(sorted(set("0123456789") - set(inside))))


#: What README says of networks that are trained on the spot, or said once.
SAID = {
    "mnist": (
        Said("conv2", "028", "17"),
        _alone("conv2", "08"),
        _alone("conv2", "023568"),
        _alone("conv2", "14579"),
        _alone("conv2", "1"),
        _alone("fc2", "37"),
        _alone("fc2", "49"),
    )
}


def measure(run: RunParameters, threads: int) -> Training:
    """Train a run's network and find its significant vectors, in this process.

    Parameters
    ----------
    run
        a preset that trains its network.
    threads
        that torch has in this process.
    """
    training = run.model.training
    assert training is not None
    images = open_images(run.images)
    model = train(
        partial(open_model, run.model), open_images(run.images.training_set(training)), training
    )
    layers = trace_layers(model, images.examples(2)).linear
    svd = {one.name: decompose(unfolded_weight(model, one), one.groups) for one in layers}
    forward = forward_pass(
        model,
        layers,
        {name: found.U for name, found in svd.items()},
        images.example(),
        options=ExtractionParameters(),
        device=torch.device("cpu"),
    )
    starts = range(0, len(images), _BATCH)
    found = extract(forward, (images.batch(i, min(i + _BATCH, len(images))) for i in starts))
    significance = significance_dataset(
        lambda: [(found.signal, images.target)],
        layers_dataset(layers, svd),
        images.target_classes,
        run.significance.quantiles,
    )
    of_layers = {}
    for layer in layers:
        levels = run.significance.levels(layer.name)
        significant = LayerTable.of(
            significance.sel(layer=layer.name), *levels, ("positive",)
        ).significant
        of_layers[layer.name] = {
            str(i): np.flatnonzero(significant[:, i]).tolist()
            for i in np.flatnonzero(significant.any(axis=0)).tolist()
        }
    accuracy = float(np.mean(found.predicted == images.target))
    return Training(training.seed, threads, accuracy, of_layers)


def section(name: str, trainings: Sequence[Training]) -> list[str]:
    """What holds in how many trainings of one preset, as Markdown."""
    accuracy = [one.accuracy for one in trainings]
    lines = [
        f"### {name}",
        "",
        f"Accuracy on the images analysed: {min(accuracy):.1%} to {max(accuracy):.1%}.",
        "",
        "| layer | nodes | equivalence classes | exactly these target classes, in how many of "
        f"{len(trainings)} |",
        "| --- | --- | --- | --- |",
    ]
    for layer in trainings[0].layers:
        found = [one.sets(layer) for one in trainings]
        nodes = [len(one.layers[layer]) for one in trainings]
        often = Counter(classes for sets in found for classes in sets).most_common()
        told = [
            f"{', '.join(classes)}: {n}" for classes, n in often if n >= 3 and len(classes) < 10
        ]
        lines.append(
            f"| {layer} | {min(nodes)} to {max(nodes)} | {min(map(len, found))} to "
            f"{max(map(len, found))} | {'; '.join(told) or 'none in three or more'} |"
        )
    lines.append("")
    for said in SAID.get(name, ()):
        n = sum(said.holds(one) for one in trainings)
        lines.append(f"- {said.words}: {n} of {len(trainings)}")
    return [*lines, ""]


def measured(name: str, seed: int, threads: int, data: Path, out: Path) -> Training:
    """One training in a process of its own, or what an earlier call kept of it."""
    kept = out / f"{name}-seed{seed}-threads{threads}.json"
    if not kept.exists():
        # Threads of OpenMP that wait awake for each other stop a machine that others use too.
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
        }
        command = [sys.executable, "-m", "benchmarks.seeds", "--data", str(data), "--only", name]
        command += ["--seeds", str(seed), "--threads", str(threads), "--here"]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(done.stdout.splitlines()[-1])
    return Training(**json.loads(kept.read_text()))


def preset(name: str, seed: int, data: Path) -> RunParameters:
    """A preset with another seed, on images that are there already."""
    changes = [f"model.training.seed={seed}"]
    if name != "digits":
        changes += [f"images.kwargs.root={data}", "images.kwargs.download=false"]
    return load_run(name, changes)


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST/raw")
    parser.add_argument("--out", type=Path, default=Path("ddp-results/seeds"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--here", action="store_true", help="one training in this process, as JSON")
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    if options.here:
        run = preset(options.only[0], options.seeds[0], data)
        print(json.dumps(asdict(measure(run, options.threads[0]))))
        return
    lines = [
        f"## Trainings on the spot, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.seeds --data DIR`: {os.cpu_count()} cores, {platform.machine()}, "
        f"torch {torch.__version__}. Each preset trained with seeds {_listed(options.seeds)} on "
        f"{_listed(options.threads)} threads, one process each; 50 images of each class.",
        "",
    ]
    for name in options.only:
        trainings = [
            measured(name, seed, threads, data, options.out)
            for threads in options.threads
            for seed in options.seeds
        ]
        lines += section(name, trainings)
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


if __name__ == "__main__":
    main()
