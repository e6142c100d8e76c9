"""Optimised images of trained networks: how far they exceed natural ones, and their trust.

    python -m benchmarks.visualization --data DIR [--vectors 16] [--classes 10] [--sheets FOLDER]

For sampled singular vectors of a few layers, half of them in each direction, and for sampled
equivalence classes under Eq. 20, of N on MNIST (trained on the spot), ResNet-56 and VGG-16 on
CIFAR-10 and EfficientNet-Lite0 on a sample of ImageNet: one image each, of one seed. Appends a
table to benchmarks/RESULTS.md. DIR is that of benchmarks.validation, with ``imagenet-sample``;
contact sheets are written to the folder of --sheets.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmarks.samples import LayerSignals
from benchmarks.validation import RESULTS, RUNS, SEVENTH
from ddp_tasks.hypergraphs.semantic_hierarchy import equivalence_classes
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.input_pictures import input_picture
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.forward_pass import forward_pass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.training import train
from ddp_tasks.prepared_run import Prepared, prepare, trained_model
from ddp_tasks.signals.signals import extract
from ddp_tasks.visualization.feature_visualization import (
    Optimised,
    Settings,
    Visualized,
    optimised,
)
from ddp_tasks.visualization.natural_signals import natural_signals, natural_sums
from ddp_tasks.visualization.pixels import PixelSpace
from ddp_tasks.visualization.targets import Direction, Parametrization, Target
from ddp_tasks.visualization.trust import Measures, NaturalPath, measured
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import ExtractionParameters, RunParameters
from schemas.run_files import load_run

PER_CLASS = 50
EXEMPLARS = 5
NATURAL_PICTURES = 256

#: Layers of each network.
LAYERS: dict[str, tuple[str, ...]] = {
    "mnist": ("conv2", "fc1"),
    "resnet56": ("layer2.4.conv2", "layer2.8.conv2", "layer3.4.conv2", "layer3.8.conv2"),
    "vgg16": (SEVENTH,),
    "efficientnet-lite0": ("_blocks.5._project_conv", "_blocks.10._project_conv", "_conv_head"),
}

HEADER = (
    "network and layer", "images", "excess > 1", "least", "median", "unseen / plain",
    "path: own", "exemplars", "noise", "own / exemplars", "failed", "processor s an image",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network with its run's images, and their signals in all layers up to the deepest asked."""

    prepared: Prepared
    pixels: PixelSpace
    signals: Mapping[str, LayerSignals]
    """in forward order."""

    def natural(self, layer: str) -> npt.NDArray[np.float32]:
        """Signals of the run's images, shape (n, r)."""
        return self.signals[layer].signal

    def visualized(self, layer: str) -> Visualized:
        """What pictures of a layer need."""
        mean = torch.from_numpy(self.natural(layer).mean(axis=0, dtype=np.float64))
        linear = {one.name: one for one in self.prepared.layers.linear}
        model, convention = self.prepared.model, self.prepared.layers.convention
        U = self.signals[layer].U
        return Visualized(model, convention, linear[layer], U, mean, self.pixels)


def run_of(name: str, data: Path) -> RunParameters:
    """The run of a network."""
    if name in RUNS:
        return RUNS[name](data, PER_CLASS)
    root = data / "imagenet-sample"
    return load_run("imagenet-efficientnet-lite", [f"images.kwargs.root={root}", "cluster=local"])


def network(run: RunParameters, deepest: str, folder: Path) -> Network:
    """A run's network, trained if it asks for that, with the signals of its images."""
    training = run.model.training
    if training is not None:
        images = open_images(run.images.training_set(training))
        model = train(partial(open_model, run.model), images, training)
        checkpoint = folder / "checkpoint.pt"
        torch.save({"state_dict": model.state_dict()}, checkpoint)
        run = run.model_copy(update={"model": trained_model(run, checkpoint)})
    prepared = prepare(run)
    names = [layer.name for layer in prepared.layers.linear]
    linear = prepared.layers.linear[: names.index(deepest) + 1]
    U = {one.name: decompose(unfolded_weight(prepared.model, one), one.groups).U for one in linear}
    forward = forward_pass(
        prepared.model,
        linear,
        U,
        prepared.images.example(),
        options=ExtractionParameters(),
        device=torch.device("cpu"),
        convention=prepared.layers.convention,
    )
    every = range(len(prepared.images))
    unreadable: dict[int, str] = {}
    found = extract(forward, read_ahead(prepared.images, every, 64, forward.device, unreadable))
    assert not unreadable
    signals = {
        one.name: LayerSignals(
            U[one.name],
            found.signal[:, place, : U[one.name].shape[1]],
            prepared.images.target,
            prepared.images.target_classes,
            run.significance.levels(one.name),
        )
        for place, one in enumerate(linear)
    }
    examples = prepared.images.examples(NATURAL_PICTURES)
    return Network(prepared, PixelSpace.of(examples, prepared.images.transform), signals)


def vectors_asked(rank: int, count: int, parametrization: Parametrization) -> list[Target]:
    """Singular vectors spread over the rank, in turns of both directions."""
    chosen = np.unique(np.linspace(0, rank - 1, min(count, rank)).round().astype(int))
    directions: tuple[Direction, Direction] = ("positive", "negative")
    return [
        Target((vector,), direction=directions[place % 2], parametrization=parametrization)
        for place, vector in enumerate(chosen.tolist())
    ]


def classes_asked(signals: LayerSignals, count: int) -> list[Target]:
    """Equivalence classes of several vectors, spread over all of them; weights as in a run."""
    sets, _ = equivalence_classes(signals.significant(0, PER_CLASS))
    several = [np.flatnonzero(inside).tolist() for inside in sets if inside.sum() > 1]
    chosen = np.unique(np.linspace(0, len(several) - 1, min(count, len(several))).round())
    deviation = signals.signal.std(axis=0, dtype=np.float64)
    return [Target(tuple(several[int(place)])).weighted(deviation) for place in chosen]


def made(
    of: Network, layer: str, targets: Sequence[Target], settings: Settings
) -> tuple[list[Optimised], Measures]:
    """Pictures of a layer's targets, and how far to trust each."""
    visualized = of.visualized(layer)
    pictures = optimised(visualized, targets, [0] * len(targets), settings)
    rank = visualized.U.shape[1]
    sums = natural_sums(
        lambda: [of.natural(layer)],
        np.stack([target.row(rank) for target in targets]),
        np.array([target.sign < 0 for target in targets]),
        EXEMPLARS,
    )
    names = list(of.signals)[: list(of.signals).index(layer) + 1]
    linear = {one.name: one for one in of.prepared.layers.linear}
    path = NaturalPath(
        tuple(linear[name] for name in names),
        {name: of.signals[name].U for name in names},
        {name: of.natural(name).mean(axis=0, dtype=np.float64) for name in names},
        {name: of.natural(name)[sums.strongest.image] for name in names},
    )
    measures = measured(
        visualized,
        float64_network(visualized.model, visualized.convention),
        path,
        targets,
        pictures,
        natural_mean=sums.mean,
        best_natural=sums.best.astype(np.float64),
        natural=natural_signals(lambda: [of.natural(layer)]),
    )
    return pictures, measures


def row(name: str, measures: Measures, seconds: float) -> str:
    """One row of the table."""
    excess = measures.excess
    own, exemplars = measures.path_similarity, measures.exemplar_similarity
    cells = [
        name,
        f"{len(excess)}",
        f"{(excess > 1).mean():.0%}",
        f"{excess.min():.2f}",
        *(
            f"{np.nanmedian(values):.2f}"
            for values in (
                excess,
                measures.excess_unseen / excess,
                own,
                exemplars,
                measures.noise_similarity,
                own / exemplars,
            )
        ),
        f"{sum(bool(why) for why in measures.failed)}",
        f"{seconds / len(excess):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def contact_sheet(pictures: Sequence[Optimised], file: Path, columns: int = 8) -> None:
    """Write pictures side by side, at 112 pixels or at their own size."""
    shown = [input_picture(torch.from_numpy(one.picture).permute(2, 0, 1)) for one in pictures]
    times = max(1, 112 // shown[0].shape[0])
    enlarged = [np.kron(one, np.ones((times, times, 1), dtype=np.uint8)) for one in shown]
    height, width = enlarged[0].shape[:2]
    rows = -(-len(enlarged) // columns)
    sheet = np.full((rows * (height + 4), columns * (width + 4), 3), 255, dtype=np.uint8)
    for place, one in enumerate(enlarged):
        top, left = place // columns * (height + 4), place % columns * (width + 4)
        sheet[top : top + height, left : left + width] = one
    Image.fromarray(sheet).save(file)


def of_layer(of: Network, name: str, layer: str, asked: argparse.Namespace) -> tuple[str, str]:
    """The rows of a layer in both tables."""
    settings = Settings.for_size(of.pixels.height, of.pixels.width, asked.steps)
    single = vectors_asked(of.natural(layer).shape[1], asked.vectors, asked.parametrization)
    begun = time.process_time()
    pictures, measures = made(of, layer, single, settings)
    vectors = row(f"{name}, `{layer}`", measures, time.process_time() - begun)
    print(vectors, flush=True)
    if asked.sheets is not None:
        contact_sheet(pictures, asked.sheets / f"{name}-{layer}.png")
    several = classes_asked(of.signals[layer], asked.classes)
    if not several:
        return vectors, ""
    pictures, measures = made(of, layer, several, settings)
    if asked.sheets is not None:
        contact_sheet(pictures, asked.sheets / f"{name}-{layer}-classes.png")
    least = np.nanmin(measures.member_excess, axis=1)
    classes = (
        f"| {name}, `{layer}` | {len(several)} | {(least > 1).mean():.0%} | {least.min():.2f} | "
        f"{np.median(least):.2f} | {(np.nanmin(measures.excess)):.2f} | "
        f"{max(len(target.singular_vectors) for target in several)} |"
    )
    print(classes, flush=True)
    return vectors, classes


def main(arguments: Sequence[str] | None = None) -> None:
    """Make, measure, print and append to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=int, default=16, help="singular vectors of each layer")
    parser.add_argument("--classes", type=int, default=10, help="equivalence classes of each layer")
    parser.add_argument("--steps", type=int, help="of the optimisation")
    parser.add_argument("--parametrization", choices=("fourier", "maco"), default="fourier")
    parser.add_argument("--only", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    if asked.sheets is not None:
        asked.sheets.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            run = run_of(name, asked.data.expanduser().resolve())
            of = network(run, LAYERS[name][-1], Path(folder))
        rows += [of_layer(of, name, layer, asked) for layer in LAYERS[name]]
    classes = [text for _, text in rows if text]
    lines = [
        f"## Optimised images, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.visualization --data DIR --vectors {asked.vectors} --classes "
        f"{asked.classes} --parametrization {asked.parametrization} --only "
        f"{' '.join(asked.only)}`: {os.cpu_count()} cores, {torch.get_num_threads()} threads. "
        "Vectors spread over the rank, in both directions; one seed. Medians, except the least "
        "excess.",
        "",
        f"| {' | '.join(HEADER)} |",
        f"| --- | {' | '.join(['---:'] * (len(HEADER) - 1))} |",
        *(text for text, _ in rows),
        "",
        "Equivalence classes of several vectors, Eq. 20 with weights of one over the standard "
        "deviation: how many have every vector above its best natural image.",
        "",
        "| network and layer | classes | every vector > 1 | least excess of a vector | its median "
        "| least excess of a sum | most vectors |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *classes,
        "",
    ]
    with asked.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
