"""Hypergraphs and hierarchies of the paper's networks: MNIST with 𝒩, CIFAR-10 with two networks.

    make validate DATA=DIR     (or: python -m benchmarks.validation --data DIR)

Runs the whole job on MNIST with the paper's network and on CIFAR-10 with ResNet-56 and VGG-16,
50 and 1,000 images a class, and appends to benchmarks/RESULTS.md: for every layer the sizes of its
hypergraph and hierarchy, how many findings of 50 images a class are those of 1,000, and what
figure 9 shows, whether the equivalence classes of VGG-16's seventh convolution keep animals apart
from vehicles; by the paper's rule, with positive directions alone and all images. Takes three
quarters of an hour on two cores.

DIR holds MNIST/raw as torchvision reads it, cifar10/test/CLASS/*.jpg, and models/ with
cifar10_resnet56.pt and cifar10_vgg16_bn.pt. A run that was finished before is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.semantic_hierarchy import node_members
from ddp_tasks.queries.summary import Summary
from ddp_tasks.store import groups
from schemas.control_parameters import ControlParameters
from schemas.parameters import RunParameters
from schemas.run_files import check, load_run
from schemas.visualization_parameters import VisualizationParameters

RESULTS = Path(__file__).with_name("RESULTS.md")
PER_CLASS = (50, 1000)

VEHICLES = ("airplane", "automobile", "ship", "truck")
#: The seventh of VGG-16's convolutions, the layer of figure 9.
SEVENTH = "features.20"

#: Percentage of figure 9: more than half of a class of up to 1,000 images.
_MORE_THAN_HALF = 50.01


def mnist(data: Path, per_class: int) -> RunParameters:
    """The preset mnist on images that are there already."""
    return load_run(
        "mnist",
        [
            f"images.kwargs.root={data}",
            "images.kwargs.download=false",
            f"images.per_class={per_class}",
            "cluster=local",
        ],
    )


def without_extras(run: RunParameters) -> RunParameters:
    """The run without controls, optimised images and capacity, where they are not measured."""
    less = {
        "controls": ControlParameters(rotations=0, permutations=0),
        "visualizations": VisualizationParameters(targets="none"),
        "capacity": [],
    }
    return run.model_copy(update=less)


def cifar10(data: Path, per_class: int, network: str) -> RunParameters:
    """CIFAR-10 with ``vgg16`` at the levels of figure 9, or a ResNet at the paper's usual ones."""
    networks: dict[str, dict[str, Any]] = {
        "resnet20": {
            "model": {"factory": "ddp_tasks.networks:CifarResNet", "kwargs": {"depth": 20}},
            "significance": {"quantile": 0.9, "percentage": 75},
        },
        "resnet56": {
            "model": {"factory": "ddp_tasks.networks:CifarResNet", "kwargs": {"depth": 56}},
            "significance": {"quantile": 0.9, "percentage": 75},
        },
        "vgg16": {
            "model": {"factory": "ddp_tasks.networks:CifarVGG16"},
            "significance": {"quantile": 0.9, "percentage": _MORE_THAN_HALF},
        },
    }
    weights = {
        "resnet20": "cifar10_resnet20.pt",
        "resnet56": "cifar10_resnet56.pt",
        "vgg16": "cifar10_vgg16_bn.pt",
    }[network]
    content = networks[network]
    content["model"]["weights"] = str(data / "models" / weights)
    content["name"] = f"cifar10-{network}"
    content["cluster"] = "local"
    content["images"] = {
        "factory": "torchvision.datasets:ImageFolder",
        "kwargs": {"root": str(data / "cifar10" / "test")},
        # Those of ImageNet, which both networks were trained with.
        "transform": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "per_class": per_class,
    }
    return check(RunParameters, content, content["name"])


def by_papers_rule(run: RunParameters) -> RunParameters:
    """As in the paper: positive directions alone, and all images both choose and judge."""
    papers = {"split": None, "directions": ["positive"]}
    return run.model_copy(update={"significance": run.significance.model_copy(update=papers)})


RUNS = {
    "mnist": lambda data, per_class: by_papers_rule(mnist(data, per_class)),
    "resnet56": lambda data, per_class: by_papers_rule(cifar10(data, per_class, "resnet56")),
    "vgg16": lambda data, per_class: by_papers_rule(cifar10(data, per_class, "vgg16")),
}


@dataclass(frozen=True)
class Found:
    """What a finished run is asked here."""

    summary: Summary
    hierarchies: Mapping[str, xr.Dataset]
    """the store's groups ``hierarchies/LAYER`` by layer."""


def section(name: str, runs: Mapping[int, Found]) -> list[str]:
    """Sizes of every layer's hypergraph and hierarchy, as Markdown, and what stays the same.

    Parameters
    ----------
    name
        of the network's runs.
    runs
        of the same layers, by images a class; a cell has a number for each.
    """
    told = "; ".join(
        f"{per_class:,} a class: {run.summary.images:,} images, accuracy {run.summary.accuracy:.1%}"
        for per_class, run in runs.items()
    )
    rows = []
    for of_layer in zip(*(run.summary.layers for run in runs.values()), strict=True):
        first = of_layer[0]
        cells = [first.layer, first.rank, f"{first.quantile:g}", f"{first.percentage:g}"]
        for size in ("nodes", "hyperedges", "equivalence_classes", "depth"):
            cells.append(", ".join(str(getattr(layer, size)) for layer in of_layer))
        same, used = same_classes([run.hierarchies[first.layer] for run in runs.values()])
        rows.append([*cells, f"{same} of {used}"])
    header = (
        "layer", "rank", "level", "p, %", "nodes", "hyperedges", "equivalence classes", "depth",
        "vectors of the same classes",
    )  # fmt: skip
    return [
        f"### {name}",
        "",
        f"{told}.",
        "",
        f"| {' | '.join(header)} |",
        f"| --- | {' | '.join(['---:'] * (len(header) - 1))} |",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
    ]


def same_classes(hierarchies: Sequence[xr.Dataset]) -> tuple[int, int]:
    """How many singular vectors are significant for the same target classes in all runs.

    Parameters
    ----------
    hierarchies
        of one layer, the stores' groups ``hierarchies/LAYER``.

    Returns
    -------
    those vectors, and the vectors significant for a class in any run
    """
    # Vector by class: the classes of the equivalence class that the vector is in.
    of_vector = [
        node_members(h).T.astype(int) @ h["target_classes"].to_numpy() for h in hierarchies
    ]
    used = np.any([sets.any(axis=1) for sets in of_vector], axis=0)
    same = np.all([(sets == of_vector[0]).all(axis=1) for sets in of_vector], axis=0)
    return int((same & used).sum()), int(used.sum())


def parted(
    hierarchy: xr.Dataset, group: tuple[str, ...]
) -> tuple[dict[str, list[list[str]]], float, float]:
    """How a hierarchy's equivalence classes keep a group of target classes apart from the rest.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    group
        names of the target classes of one side.

    Returns
    -------
    shared
        by ``group``, ``others`` and ``both``, the target classes of each equivalence class of
        more than one.
    share
        singular vectors of equivalence classes on one side alone, over those of all of more
        than one target class; NaN where there are none.
    chance
        of all ways to choose a group of that size, the share of those that part the classes
        at least as well.
    """
    names = [str(name) for name in hierarchy["target_class"].to_numpy()]
    member = hierarchy["target_classes"].to_numpy()
    several = member.sum(axis=1) > 1
    vectors = node_members(hierarchy).sum(axis=1)[several]
    member = member[several]

    def one_sided(chosen: tuple[int, ...]) -> float:
        inside = member[:, list(chosen)].sum(axis=1)
        pure = (inside == 0) | (inside == member.sum(axis=1))
        return float(vectors[pure].sum() / vectors.sum()) if len(vectors) else np.nan

    own = tuple(names.index(name) for name in group)
    share = one_sided(own)
    every = [one_sided(chosen) for chosen in combinations(range(len(names)), len(own))]
    shared: dict[str, list[list[str]]] = {"group": [], "others": [], "both": []}
    for row in member:
        shared[_side(row, own)].append([names[c] for c in np.flatnonzero(row)])
    return shared, share, float(np.mean(np.array(every) >= share)) if len(member) else np.nan


def _side(row: npt.NDArray[np.bool_], own: tuple[int, ...]) -> str:
    inside = int(row[list(own)].sum())
    return "group" if inside == row.sum() else "both" if inside else "others"


def figure_nine(hierarchy: xr.Dataset, per_class: int) -> list[str]:
    """Whether the layer of figure 9 keeps animals apart from vehicles, as Markdown."""
    shared, share, chance = parted(hierarchy, VEHICLES)
    lines = [
        f"#### Figure 9: {SEVENTH}, {per_class:,} images a class",
        "",
        f"Equivalence classes of more than one target class: {len(shared['others'])} of animals "
        f"alone, {len(shared['group'])} of vehicles alone, {len(shared['both'])} of both. "
        f"{share:.0%} of their singular vectors lie on one side; {chance:.1%} of all ways to "
        "choose four of ten classes part them as well or better.",
        "",
    ]
    for side, name in (("others", "animals"), ("group", "vehicles")):
        told = "; ".join(", ".join(classes) for classes in shared[side][:12])
        lines.append(f"- {name}: {told or 'none'}")
    return [*lines, ""]


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--out", type=Path, default=Path("ddp-results/validation"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--per-class", type=int, nargs="+", default=PER_CLASS)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args(arguments)
    from flows.pipeline import run_pipeline

    data = options.data.expanduser().resolve()
    asked = f"--per-class {' '.join(map(str, options.per_class))} --only {' '.join(options.only)}"
    lines = [
        f"## Hypergraphs and semantic hierarchies, {datetime.datetime.now(datetime.UTC).date()}",
        "",
        f"`python -m benchmarks.validation --data DIR {asked}`: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. A cell has a number for each number of images a class; the "
        "last column counts the singular vectors significant for the same classes in all runs, "
        "of those significant for a class in any.",
        "",
    ]
    for name in options.only:
        trained: Path | None = None
        runs, pictures = {}, []
        for per_class in options.per_class:
            run, out = RUNS[name](data, per_class), options.out / f"{name}-{per_class}"
            out.mkdir(parents=True, exist_ok=True)
            if trained and trained.exists() and not (out / trained.name).exists():
                shutil.copy(trained, out)  # the same training, whatever is analysed
            outcome = run_pipeline(run, out)
            trained = out / "checkpoint.pt"
            hierarchies = {
                layer.layer: groups.read(outcome.store, f"hierarchies/{layer.layer}").load()
                for layer in outcome.summary.layers
            }
            runs[per_class] = Found(outcome.summary, hierarchies)
            if name == "vgg16":
                pictures += figure_nine(hierarchies[SEVENTH], per_class)
        lines += section(run.name, runs) + pictures
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
