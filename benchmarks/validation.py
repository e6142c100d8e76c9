"""Hypergraphs and hierarchies of the paper's networks: MNIST with 𝒩, CIFAR-10 with two networks.

    make validate DATA=DIR     (or: python -m benchmarks.validation --data DIR)

Runs the whole job on MNIST with the paper's network and on CIFAR-10 with ResNet-56 and VGG-16,
50 and 1,000 images a class, and writes benchmarks/results/validation.md: for every layer the
sizes of its hypergraph and hierarchy, and what figure 9 shows, whether the equivalence classes of
VGG-16's seventh convolution keep animals apart from vehicles. Takes hours on two cores.

DIR holds MNIST/raw as torchvision reads it, cifar10/test/CLASS/*.jpg, and models/ with
cifar10_resnet56.pt and cifar10_vgg16_bn.pt. A run that was finished before is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.summary import Summary
from schemas import load_run
from schemas.parameters import RunParameters
from schemas.run_files import check

HERE = Path(__file__).parent
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


def cifar10(data: Path, per_class: int, network: str) -> RunParameters:
    """CIFAR-10 with ``resnet56`` at the paper's usual levels or ``vgg16`` at those of figure 9."""
    networks: dict[str, dict[str, Any]] = {
        "resnet56": {
            "model": {"factory": "ddp_tasks.networks:CifarResNet", "kwargs": {"depth": 56}},
            "significance": {"quantile": 0.9, "percentage": 75},
        },
        "vgg16": {
            "model": {"factory": "ddp_tasks.networks:CifarVGG16"},
            "significance": {"quantile": 0.9, "percentage": _MORE_THAN_HALF},
        },
    }
    weights = {"resnet56": "cifar10_resnet56.pt", "vgg16": "cifar10_vgg16_bn.pt"}[network]
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


RUNS = {
    "mnist": mnist,
    "resnet56": lambda data, per_class: cifar10(data, per_class, "resnet56"),
    "vgg16": lambda data, per_class: cifar10(data, per_class, "vgg16"),
}


def section(run: RunParameters, summary: Summary, per_class: int) -> list[str]:
    """Sizes of every layer's hypergraph and hierarchy, as Markdown."""
    return [
        f"## {run.name}, {per_class:,} images a class",
        "",
        f"Accuracy {summary.accuracy:.1%} on {summary.images:,} images.",
        "",
        "| layer | rank | level | p, % | nodes | hyperedges | equivalence classes | depth |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {s.layer} | {s.rank} | {s.quantile:g} | {s.percentage:g} | {s.nodes} "
            f"| {s.hyperedges} | {s.equivalence_classes} | {s.depth} |"
            for s in summary.layers
        ),
        "",
    ]


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
    vectors = hierarchy["singular_vectors"].to_numpy().sum(axis=1)[several]
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
        f"### Figure 9: {SEVENTH}, {per_class:,} images a class",
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
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--per-class", type=int, nargs="+", default=PER_CLASS)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args(arguments)
    from ddp_tasks import store
    from flows.pipeline import run_pipeline

    data = options.data.expanduser().resolve()
    asked = f"--per-class {' '.join(map(str, options.per_class))} --only {' '.join(options.only)}"
    lines = [
        "# Hypergraphs and semantic hierarchies of the paper's networks",
        "",
        f"`python -m benchmarks.validation --data DIR {asked}` on "
        f"{datetime.datetime.now(datetime.UTC).date()}: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}.",
        "",
    ]
    for name in options.only:
        trained: Path | None = None
        for per_class in options.per_class:
            run, out = RUNS[name](data, per_class), options.out / f"{name}-{per_class}"
            out.mkdir(parents=True, exist_ok=True)
            if trained and trained.exists() and not (out / trained.name).exists():
                shutil.copy(trained, out)  # the same training, whatever is analysed
            outcome = run_pipeline(run, out)
            trained = out / "checkpoint.pt"
            lines += section(run, outcome.summary, per_class)
            if name == "vgg16":
                hierarchy = store.read(outcome.store, f"hierarchies/{SEVENTH}").load()
                lines += figure_nine(hierarchy, per_class)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "validation.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
