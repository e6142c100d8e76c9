"""Where singular vectors stand among other bases of the same outputs, network by network.

    python -m benchmarks.controls --data DIR [--only NAME ...]     (half an hour on two cores)

ResNet-20, ResNet-56 and VGG-16 on CIFAR-10, 200 images a class, and EfficientNet-Lite0 (extra
imagenet) on a sample of ImageNet, whose classes are twenty groups: for every measure that a report
prints, in how many layers the singular vectors stand at or beyond the 95th percentile of random
rotations, and of those that keep each signal's variance, and in how many at or below the 5th.

``numbers`` repeats the numbers with which these controls began: ResNet-20's layer3 in four bases,
one direction, the whole set; and how often a random rotation of VGG-16's seventh convolution has a
vector for exactly the six animals. ``rivals`` sets ResNet-20's singular vectors beside parts that
are learned from the outputs, as ``controls.rivals`` has them in a run. ``time`` runs the presets
with and without split and controls, in turns, and compares their parts.

Appends to benchmarks/RESULTS.md. DIR is that of benchmarks.validation, with ``imagenet-sample``.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.samples import ANIMALS, LayerSignals
from benchmarks.validation import RESULTS, SEVENTH, VEHICLES, cifar10
from benchmarks.visualization import network
from ddp_tasks.controls.bases import channels, principal_components
from ddp_tasks.controls.basis_measures import (
    Asked,
    SortedSignals,
    class_pairs,
    measures_of_bases,
    significant_for_images,
)
from ddp_tasks.controls.layer_controls import Drawn, layer_controls
from ddp_tasks.controls.layer_images import LayerImages
from ddp_tasks.controls.random_rotations import haar_rotations
from ddp_tasks.prepared_run import prepare
from ddp_tasks.queries.controls import Standing, measures_there, standings
from ddp_tasks.significance.significance import least_images
from ddp_tasks.significance.splits import split_images
from schemas.control_variables import MEASURES, RIVALS
from schemas.parameters import RunParameters
from schemas.run_files import load_run

PER_CLASS = 200
NETWORKS = ("resnet20", "resnet56", "vgg16", "efficientnet-lite0")
#: Of the run whose time is taken.
TIMED_PER_CLASS = 50

#: Of ResNet-20's layer3, as an outside check measured them: nodes, equivalence classes, vectors
#: of one class alone, best η² of a significant vector.
STATED = {
    "singular vectors": (6.3, 4.8, 1.7, 0.245),
    "ten random rotations": (6.3, 5.1, 1.7, 0.283),
    "channels": (6.7, 5.2, 2.2, 0.298),
    "principal components": (5.8, 4.7, 0.7, 0.263),
}
_STATED_MEASURES = ("nodes", "equivalence_classes", "exclusive", "eta_squared_best")

_ROTATIONS, _TENS = 10, 10


def run_of(name: str, data: Path) -> RunParameters:
    """The run of a network, with the default parameters of controls."""
    if name != "efficientnet-lite0":
        run = cifar10(data, PER_CLASS, name)
        groups = {"animals": list(ANIMALS), "vehicles": list(VEHICLES)}
        levels = run.significance.model_copy(update={"superclasses": groups})
        return run.model_copy(update={"significance": levels})
    root = data / "imagenet-sample"
    return load_run("imagenet-efficientnet-lite", [f"images.kwargs.root={root}", "cluster=local"])


def signals_of(run: RunParameters) -> Mapping[str, LayerSignals]:
    """Signals of a run's images in all layers."""
    last = prepare(run).layers.linear[-1].name
    with tempfile.TemporaryDirectory() as folder:
        return network(run, last, Path(folder)).signals


def asked_of(
    run: RunParameters, of_layer: LayerSignals, split: float | None, directions: tuple[str, ...]
) -> Asked:
    """What is asked of one layer's bases."""
    names = of_layer.target_classes
    part = split_images(of_layer.target, split, 0)
    reaches = np.isfinite(of_layer.signal[:, 0])
    images = LayerImages.of(of_layer.target, part, reaches, len(names))
    groups = [[c in group for c in names] for group in run.significance.superclasses.values()]
    return Asked(
        images,
        of_layer.levels.quantile,
        of_layer.levels.percentage,
        directions,
        np.array(groups, dtype=np.bool_).reshape(-1, len(names)),
        class_pairs(images.images[-1], 100, np.random.default_rng(0)),
        run.significance.confidence,
    )


def controls_of(
    run: RunParameters,
    signals: Mapping[str, LayerSignals],
    directions: tuple[str, ...] = ("positive", "negative"),
) -> xr.Dataset:
    """The group ``controls`` of a run, computed here."""
    wanted = run.controls
    drawn = Drawn(wanted.rotations, wanted.permutations, tuple(wanted.rivals), 0)
    layers = [
        layer_controls(
            name,
            of_layer.signal,
            of_layer.U.numpy(),
            asked_of(run, of_layer, 0.5, directions),
            drawn,
        )
        for name, of_layer in signals.items()
    ]
    return xr.concat(layers, dim="layer")


def standing_rows(controls: xr.Dataset) -> list[str]:
    """A row of Markdown for each measure."""
    rows = []
    of_variances = {one.measure: one for one in standings(controls, "percentile_variance")}
    for one in standings(controls):
        cells = [one.words, *_cells(one), *_cells(of_variances[one.measure])]
        medians = [
            float(np.nanmedian(controls[name].sel(measure=one.measure)))
            for name in ("value", "rotation", "variance_rotation", "channels", "pca")
        ]
        rows.append(_row([*cells, *(f"{median:.3g}" for median in medians)]))
    return rows


def _cells(one: Standing) -> list[str]:
    return [f"{one.special} of {one.layers}", str(one.poor), f"{one.median:.0f}"]


def standing_section(name: str, run: RunParameters) -> list[str]:
    """Where the singular vectors of a network stand, as Markdown."""
    signals = signals_of(run)
    images = len(next(iter(signals.values())).target)
    controls = controls_of(run, signals)
    header = (
        "measure", "≥ 95th", "≤ 5th", "median percentile", "≥ 95th, variances kept", "≤ 5th",
        "median percentile", "median: singular vectors", "rotations", "variances kept", "channels",
        "principal components",
    )  # fmt: skip
    p = controls["permutation_p"].sel(measure="eta_squared_best").to_numpy()
    return [
        f"### {name}: {len(signals)} layers, {images:,} images",
        "",
        _row(header),
        _row(["---", *["---:"] * (len(header) - 1)]),
        *standing_rows(controls),
        "",
        f"Best η² under permuted labels: p at most 0.05 in {int((p <= 0.05).sum())} of {len(p)} "
        "layers.",
        "",
    ]


def rival_section(run: RunParameters) -> list[str]:
    """Where the singular vectors stand beside learned parts of the same outputs, as Markdown.

    The codes of the parts are not negative, so the singular vectors are asked in one direction.
    """
    beside = run.controls.model_copy(update={"rivals": list(RIVALS)})
    run = run.model_copy(update={"controls": beside})
    signals = signals_of(run)
    controls = controls_of(run, signals, ("positive",))
    rows = []
    for measure in measures_there(controls):
        of_measure = controls.sel(measure=measure)
        value = of_measure["value"].to_numpy()
        cells = [MEASURES[measure], f"{np.nanmean(value):.3g}"]
        for rival in RIVALS:
            other = of_measure["rivals"].sel(rival=rival).to_numpy()
            both = np.isfinite(value) & np.isfinite(other)
            better, less = ((value - other)[both] > 0).sum(), ((value - other)[both] < 0).sum()
            cells += [f"{np.nanmean(other):.3g}", f"{better} of {both.sum()}", str(less)]
        rows.append(_row(cells))
    header = ["measure", "singular vectors"]
    for words in RIVALS.values():
        header += [words, "more than it", "less"]
    return [
        f"### Rivals in ResNet-20: {len(signals)} layers, {PER_CLASS} images a class, positive "
        "direction",
        "",
        "Means over layers, and in how many layers the singular vectors have more or less.",
        "",
        _row(header),
        _row(["---", *["---:"] * (len(header) - 1)]),
        *rows,
        "",
    ]


def number_section(data: Path) -> list[str]:
    """The numbers that the controls began with, as Markdown."""
    run = cifar10(data, PER_CLASS, "resnet20")
    signals = {k: v for k, v in signals_of(run).items() if k.startswith("layer3.")}
    measured: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in STATED}
    for name, of_layer in signals.items():
        asked = asked_of(run, of_layer, None, ("positive",))
        ordered = SortedSignals.of(of_layer.signal, asked.images)
        U, rank = of_layer.U.numpy(), of_layer.signal.shape[1]
        random = Drawn(0, 0, (), 0).random(name, 0)
        bases = {
            "singular vectors": np.eye(rank)[None],
            "ten random rotations": haar_rotations(rank, _ROTATIONS, random),
            "channels": channels(U)[None],
            "principal components": principal_components(ordered.covariance[0], U)[None],
        }
        for basis, matrices in bases.items():
            measured[basis].append(measures_of_bases(ordered, matrices, asked).mean(axis=0))
    columns = [list(MEASURES).index(name) for name in _STATED_MEASURES]
    words = [MEASURES[name] for name in _STATED_MEASURES]
    rows = []
    for basis, stated in STATED.items():
        own = np.mean(measured[basis], axis=0)[columns]
        rows.append(_row([basis, *(f"{a:.3g} ({b:g})" for a, b in zip(own, stated, strict=True))]))
    return [
        f"### ResNet-20, means over the {len(signals)} layers of layer3, {PER_CLASS} a class",
        "",
        "q 0.9, p 75 %, positive direction, the whole set chooses and judges; in brackets what the "
        "outside check gave.",
        "",
        _row(["basis", *words]),
        _row(["---", *["---:"] * len(words)]),
        *rows,
        "",
        *animal_lines(data),
    ]


def animal_lines(data: Path) -> list[str]:
    """In how many rotations of VGG-16's seventh convolution some vector is for the six animals."""
    run = cifar10(data, PER_CLASS, "vgg16")
    of_layer = signals_of(run)[SEVENTH]
    asked = asked_of(run, of_layer, None, ("positive",))
    animals = np.array([name in ANIMALS for name in of_layer.target_classes])
    least = least_images(asked.images.images[0], asked.percentage)
    ordered = SortedSignals.of(of_layer.signal, asked.images)
    random = Drawn(0, 0, (), 0).random(SEVENTH, 0)

    def vectors(matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        along = ordered.signals @ matrices.astype(np.float32)
        marked = significant_for_images(along, asked).view(np.uint8)
        significant = asked.images.sums(marked, np.int32)[0] >= least[:, None]
        return np.asarray((significant == animals[:, None]).all(axis=1).sum(axis=1))

    rank = of_layer.signal.shape[1]
    own = int(vectors(np.eye(rank)[None])[0])
    tens = [
        int((vectors(haar_rotations(rank, _ROTATIONS, random)) > 0).sum()) for _ in range(_TENS)
    ]
    return [
        f"VGG-16, {SEVENTH}, p 50.01 %, {PER_CLASS} images a class: of the singular vectors, {own} "
        f"is for exactly the six animals. Of {_ROTATIONS * _TENS} random rotations, "
        f"{sum(tens)} have such a vector; in each ten of them: {', '.join(map(str, tens))} "
        "(the outside check: 6 of 10).",
        "",
    ]


def time_section(data: Path, rounds: int) -> list[str]:
    """What split, rotations and permutations take of a run's time, as Markdown."""
    runs = {
        "digits": load_run("digits", ["cluster=local"]),
        "ResNet-20, 500 images": cifar10(data, TIMED_PER_CLASS, "resnet20"),
    }
    rows = []
    for name, run in runs.items():
        plain = run.model_copy(
            update={"significance": run.significance.model_copy(update={"split": None})}
        )
        parts: dict[str, list[Mapping[str, float]]] = {"split": [], "whole": []}
        for _ in range(rounds):
            parts["split"].append(seconds_of(run))
            parts["whole"].append(seconds_of(plain))
        total = statistics.median(sum(seconds.values()) for seconds in parts["split"])
        controls = statistics.median(seconds["controls"] for seconds in parts["split"])
        by_split = [
            statistics.median(seconds["significance"] for seconds in parts[kind])
            for kind in ("split", "whole")
        ]
        share = (controls + max(0.0, by_split[0] - by_split[1])) / total
        rows.append(
            _row(
                [
                    name,
                    f"{total:.1f}",
                    f"{controls:.2f}",
                    *(f"{seconds:.2f}" for seconds in by_split),
                    f"{share:.1%}",
                ]
            )
        )
    header = (
        "run", "all, s", "controls, s", "significance with split, s", "without", "share of the run",
    )  # fmt: skip
    return [
        f"### Time, medians of {rounds} runs of each, in turns",
        "",
        _row(header),
        _row(["---", *["---:"] * (len(header) - 1)]),
        *rows,
        "",
    ]


def seconds_of(run: RunParameters) -> Mapping[str, float]:
    """Seconds of the parts of one run in a new folder."""
    from flows.pipeline import run_pipeline

    with tempfile.TemporaryDirectory() as folder:
        return run_pipeline(run, Path(folder) / "out").seconds


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and write the page of results."""
    every = (*NETWORKS, "numbers", "rivals", "time")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--only", nargs="+", choices=every, default=list(every))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each whose time is taken")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    sections = []
    for name in options.only:
        if name == "numbers":
            sections += number_section(data)
        elif name == "rivals":
            sections += rival_section(run_of("resnet20", data))
        elif name == "time":
            sections += time_section(data, options.rounds)
        else:
            sections += standing_section(name, run_of(name, data))
        print("\n".join(sections[-24:]), flush=True)
    lines = [
        f"## Singular vectors among other bases, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.controls --data DIR --only {' '.join(options.only)}`: "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}. Both "
        "directions, half of the images choose and half judge, where nothing else is said. "
        "Percentiles among 39 rotations of each layer: by chance 5 % of the layers stand at or "
        "beyond the 95th.",
        "",
        *sections,
    ]
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
