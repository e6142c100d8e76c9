"""What README says of CIFAR-10, asked of other images and of random bases.

    python -m benchmarks.samples --data DIR     (ten minutes on two cores)

Passes all 10,000 test images of CIFAR-10 once through VGG-16 and ResNet-56, whose weights are
given, and keeps the signals of the layers that README speaks of. For three disjoint samples of 50
images a class, for 200 and for 1,000 it prints the target classes of those singular vectors, and
how well equivalence classes keep animals and vehicles apart; and the same for the signals turned
by random rotations: for what a basis chosen by chance shows too, the singular vectors are no
evidence.

Appends to benchmarks/RESULTS.md. DIR is that of benchmarks.validation.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from benchmarks.validation import RESULTS, RUNS, VEHICLES, parted
from ddp_tasks.hypergraphs.semantic_hierarchy import equivalence_classes
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.networks.forward_pass import forward_pass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.prepared_run import prepare
from ddp_tasks.signals.signals import extract
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significance_dataset
from ddp_tasks.weights.tensor_svd import decompose, signs
from schemas.parameters import ExtractionParameters

#: Images of each class in the data set, and the samples of them: the first and the last but one.
PER_CLASS = 1000
SAMPLES = ((0, 50), (50, 100), (100, 150), (0, 200), (0, 1000))
ROTATIONS = 10

ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")


@dataclass(frozen=True)
class Asked:
    """A layer, and what README says of singular vectors of it."""

    network: str
    layer: str
    classes: Mapping[int, tuple[str, ...]]
    """the target classes that a singular vector is said to be significant for."""


ASKED = (
    Asked(
        "vgg16",
        "features.20",
        {85: ANIMALS, 49: ("automobile", "truck"), 151: ("cat", "dog")},
    ),
    Asked("resnet56", "layer3.7.conv1", {4: ANIMALS}),
    Asked("resnet56", "layer3.7.conv2", {9: ("airplane", "ship"), 11: ("automobile", "truck")}),
)


@dataclass(frozen=True)
class LayerSignals:
    """Signals of all images along the singular vectors of one layer."""

    U: Tensor
    """float64, shape (d, r)."""
    signal: npt.NDArray[np.float32]
    """shape (n, r)."""
    target: npt.NDArray[np.int64]
    """shape (n,)."""
    target_classes: tuple[str, ...]
    levels: tuple[float, float]
    """quantile level and percentage of the run."""

    def rotated(self, seed: int) -> LayerSignals:
        """The same along a random orthonormal basis of the space that the singular vectors span.

        The signs of its vectors follow the rule for singular vectors.
        """
        rng = np.random.default_rng(seed)
        r = self.U.shape[1]
        Q, R = np.linalg.qr(rng.standard_normal((r, r)))
        Q *= np.sign(np.diag(R))  # so that every rotation is as likely
        Q *= signs(self.U @ torch.from_numpy(Q)).numpy()
        turned = (self.signal.astype(np.float64) @ Q).astype(np.float32)
        return LayerSignals(self.U, turned, self.target, self.target_classes, self.levels)

    def significant(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Which vectors are significant for which classes, from some images of each class.

        Returns
        -------
        shape (class, vector)
        """
        chosen = np.concatenate(
            [np.flatnonzero(self.target == c)[start:stop] for c in range(len(self.target_classes))]
        )
        signal = self.signal[chosen][:, None]
        layers = xr.Dataset(
            {"rank": ("layer", [self.signal.shape[1]])},
            coords={
                "layer": ["it"],
                "singular_vector": np.arange(self.signal.shape[1]),
            },
        )
        table = significance_dataset(
            lambda: [(signal, self.target[chosen])], layers, self.target_classes, [self.levels[0]]
        )
        return LayerTable.of(table.sel(layer="it"), *self.levels, ("positive",)).significant


@dataclass(frozen=True)
class Shown:
    """What one basis shows on one sample."""

    of_vectors: Mapping[int, tuple[str, ...]]
    """target classes of the vectors that README names."""
    exactly: Mapping[tuple[str, ...], int]
    """for each set of target classes that README names, vectors significant for it exactly."""
    shared: tuple[int, int, int]
    """equivalence classes of several target classes: of animals, of vehicles, of both."""
    chance: float
    """share of all ways to choose four of ten classes that are kept apart as well as vehicles."""


def shown(
    significant: npt.NDArray[np.bool_], names: Sequence[str], said: Mapping[int, tuple[str, ...]]
) -> Shown:
    """What the incidences of a layer show of what README says.

    Parameters
    ----------
    significant
        shape (class, vector).
    names
        of the classes.
    said
        as ``Asked.classes``.
    """

    def classes(vector: int) -> tuple[str, ...]:
        return tuple(names[c] for c in np.flatnonzero(significant[:, vector]))

    singular_vectors, target_classes = equivalence_classes(significant)
    hierarchy = xr.Dataset(
        {
            "singular_vectors": (
                ("equivalence_class", "singular_vector", "direction"),
                singular_vectors[:, :, None],
            ),
            "target_classes": (("equivalence_class", "target_class"), target_classes),
        },
        coords={"target_class": np.array(names, dtype=object)},
    )
    sides, _, chance = parted(hierarchy, VEHICLES)
    every = [classes(vector) for vector in range(significant.shape[1])]
    return Shown(
        {vector: every[vector] for vector in said},
        {of: every.count(of) for of in said.values()},
        (len(sides["others"]), len(sides["group"]), len(sides["both"])),
        chance,
    )


def signals(data: Path, network: str, layers: Sequence[str], count: int) -> dict[str, LayerSignals]:
    """Signals of so many images a class along the singular vectors of some layers."""
    run = RUNS[network](data, count).model_copy(update={"layers": list(layers)})
    prepared = prepare(run)
    linear = prepared.layers.linear
    svd = {one.name: decompose(unfolded_weight(prepared.model, one), one.groups) for one in linear}
    forward = forward_pass(
        prepared.model,
        linear,
        {name: found.U for name, found in svd.items()},
        prepared.images.example(),
        options=ExtractionParameters(),
        device=torch.device("cpu"),
    )
    unreadable: dict[int, str] = {}
    every = range(len(prepared.images))
    found = extract(forward, read_ahead(prepared.images, every, 64, forward.device, unreadable))
    assert not unreadable
    return {
        one.name: LayerSignals(
            svd[one.name].U,
            found.signal[:, i, : svd[one.name].rank],
            prepared.images.target,
            prepared.images.target_classes,
            run.significance.levels(one.name),
        )
        for i, one in enumerate(linear)
    }


def section(
    asked: Asked, own: LayerSignals, samples: Sequence[tuple[int, int]], rotations: int
) -> list[str]:
    """What README says of one layer, on every sample and in random bases, as Markdown."""
    names = own.target_classes
    header = ["sample", *(f"v{vector}" for vector in asked.classes)]
    header += [f"vectors of exactly {_listed(of)}" for of in dict.fromkeys(asked.classes.values())]
    header += ["equivalence classes: animals, vehicles, both", "choices as good"]
    rows = []
    turned = [own.rotated(seed) for seed in range(rotations)]
    for start, stop in samples:
        found = shown(own.significant(start, stop), names, asked.classes)
        which = f"images {start} to {stop - 1} of each class"
        rows.append(
            [
                which,
                *map(_listed, found.of_vectors.values()),
                *found.exactly.values(),
                ", ".join(map(str, found.shared)),
                f"{found.chance:.1%}",
            ]
        )
        in_rotations = [shown(one.significant(start, stop), names, asked.classes) for one in turned]
        rows.append(
            [f"the same, {rotations} rotations", *("" for _ in asked.classes)]
            + [
                f"one or more in {sum(one.exactly[of] > 0 for one in in_rotations)}"
                for of in found.exactly
            ]
            + [
                ", ".join(_range([one.shared[side] for one in in_rotations]) for side in range(3)),
                _range([round(100 * one.chance, 1) for one in in_rotations]) + "%",
            ]
        )
    return [
        f"### {asked.network}, {asked.layer}",
        "",
        f"| {' | '.join(header)} |",
        f"| {' | '.join(['---'] * len(header))} |",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
    ]


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes) or "none"


def _range(numbers: Sequence[float]) -> str:
    return f"{min(numbers):g} to {max(numbers):g}"


def main(arguments: list[str] | None = None) -> None:
    """Pass the images, ask and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images and models")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=["vgg16", "resnet56"])
    options = parser.parse_args(arguments)
    data = options.data.expanduser().resolve()
    lines = [
        f"## CIFAR-10 on other samples and in random bases, {_today()}",
        "",
        f"`python -m benchmarks.samples --data DIR`: {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}. A rotation turns the signals of "
        "a layer by a random orthogonal matrix; signs of its vectors follow the same rule. "
        "'Choices as good': of all ways to choose four of the ten classes, the share that "
        "equivalence classes keep apart as well as the four vehicles.",
        "",
    ]
    for network in options.only:
        asked = [one for one in ASKED if one.network == network]
        found = signals(data, network, [one.layer for one in asked], PER_CLASS)
        for one in asked:
            lines += section(one, found[one.layer], SAMPLES, ROTATIONS)
    print("\n".join(lines))
    with options.results.open("a") as file:
        file.write("\n" + "\n".join(lines))


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


if __name__ == "__main__":
    main()
