"""Finished runs compared with each other: seeds, checkpoints, layers, architectures.

``comparison`` asks whether two stores hold the same bits; this asks how much of what one network
has learned another has too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddp_tasks.hypergraphs.survival import SetCounts, set_counts
from ddp_tasks.queries.common_images import CommonImages, common_images
from ddp_tasks.queries.compared_layers import (
    LayerComparison,
    LayerOnImages,
    compare_layers,
    layer_cka,
)
from ddp_tasks.queries.run_signals import RunSignals, open_run_signals
from schemas.parameters import RunError
from schemas.run_files import nearest

Floats = npt.NDArray[np.float64]

#: Images that runs are compared on at most, unless a person asks for more.
MOST_IMAGES = 2000

#: Random bases, orders of the images and permutations of class names that chance is told by.
DRAWS = 20


@dataclass(frozen=True)
class Network:
    """One of the networks compared: a run, or some layers of it."""

    name: str
    run: RunSignals
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two of the networks, by their numbers."""

    a: int
    b: int
    cka: Floats
    """shape (layers of a, layers of b)."""
    layers: tuple[LayerComparison, ...]
    """layers of a, each with the layer of b that corresponds to it."""
    by_name: bool
    """whether layers correspond by name; otherwise each goes with the one of greatest CKA."""


@dataclass(frozen=True)
class ModelComparison:
    """Networks compared on the images that they share."""

    networks: tuple[Network, ...]
    images: CommonImages
    judged: int
    """images that the fractions are told on: those that chose in no run, or all."""
    unseen: bool
    """whether these chose in no run."""
    pairs: tuple[Pair, ...]
    counts: Mapping[str, SetCounts]
    """by layer of the first network: sets of target classes, and how many networks have them."""
    draws: int


def compare_models(
    folders: Sequence[Path],
    layers: tuple[str, str] | None = None,
    layer: str = "*",
    most: int = MOST_IMAGES,
    *,
    draws: int = DRAWS,
    reading: Callable[[str], None] = lambda _: None,
) -> ModelComparison:
    """Compare finished runs, or two layers of one.

    Parameters
    ----------
    folders
        of the runs.
    layers
        a layer of the first run and one of the last, which may be the same run.
    layer
        name or glob of the layers to compare, where no two are named.
    most
        images to compare at most.
    draws
        of random bases, orders of images and class names.
    reading
        called with a few words before each part.

    Raises
    ------
    RunError
        If the runs cannot be compared, and why.
    """
    networks = _networks(folders, layers, layer)
    images = common_images([one.run for one in networks], most)
    judges, unseen = _judging(networks, images)
    opened: list[dict[str, LayerOnImages]] = []
    for network, at in zip(networks, images.positions, strict=True):
        reading(f"signals of {network.name}")
        opened.append(
            {
                name: LayerOnImages.of(network.run, name, at, images, draws)
                for name in network.layers
            }
        )
    pairs = []
    for a, b in combinations(range(len(networks)), 2):
        reading(f"{networks[a].name} and {networks[b].name}")
        named = layers is not None or networks[a].layers == networks[b].layers
        cka = layer_cka(list(opened[a].values()), list(opened[b].values()))
        columns = _corresponding(cka, named)
        compared = tuple(
            compare_layers(
                opened[a][networks[a].layers[row]],
                opened[b][networks[b].layers[column]],
                float(cka[row, column]),
                judges,
            )
            for row, column in enumerate(columns.tolist())
        )
        pairs.append(Pair(a, b, cka, compared, named))
    reading("what holds in how many")
    return ModelComparison(
        networks=tuple(networks),
        images=images,
        judged=int(judges.sum()),
        unseen=unseen,
        pairs=tuple(pairs),
        counts=_counts(opened, pairs),
        draws=draws,
    )


def _networks(folders: Sequence[Path], layers: tuple[str, str] | None, layer: str) -> list[Network]:
    places = [folder.expanduser().resolve() for folder in folders]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise RunError(f"{str(folders[i])!r} is given twice; compare runs of other folders")
    if len(folders) == 1 and layers is None:
        raise RunError(
            f"{str(folders[0])!r} is a single run: name another, or two of its layers",
            change=("two layers",),
        )
    if layers is not None and len(folders) > 2:
        raise RunError(f"two layers are named for {len(folders)} runs; give one run or two")
    runs = [open_run_signals(folder) for folder in folders]
    if layers is not None:
        return _two_layers(folders, runs, layers)
    networks = []
    for name, run in zip(_names(folders), runs, strict=True):
        chosen = tuple(own for own in run.layers if fnmatchcase(own, layer))
        if not chosen:
            known = list(run.layers)
            raise RunError(
                f"{layer!r} matches no layer of {run.store}{nearest(layer, known)}; layers: "
                f"{', '.join(known)}"
            )
        networks.append(Network(name, run, chosen))
    return networks


def _two_layers(
    folders: Sequence[Path], runs: Sequence[RunSignals], layers: tuple[str, str]
) -> list[Network]:
    """A layer of the first run, and one of the last, which may be the same run."""
    sides = [runs[0], runs[-1]]
    for run, name in zip(sides, layers, strict=True):
        run.check_layer(name)
    if len(runs) == 1 and layers[0] == layers[1]:
        raise RunError(f"layer {layers[0]!r} is named twice; name two layers")
    names = _names(folders) if len(runs) == 2 else ["", ""]
    return [
        Network(f"{name} {layer}".strip(), run, (layer,))
        for name, run, layer in zip(names, sides, layers, strict=True)
    ]


def _judging(
    networks: Sequence[Network], images: CommonImages
) -> tuple[npt.NDArray[np.bool_], bool]:
    """Images that judge in every run, or all where there are none; and whether none chose."""
    parts = [
        (n.run.judges[at], n.run.chooses[at])
        for n, at in zip(networks, images.positions, strict=True)
    ]
    judges = np.logical_and.reduce([judging for judging, _ in parts])
    if not judges.any():
        judges = np.ones(len(judges), dtype=np.bool_)
    return judges, not any((judges & choosing).any() for _, choosing in parts)


def _names(folders: Sequence[Path]) -> list[str]:
    """Names that tell the folders apart: their last parts, as few as it takes."""
    parts = [folder.expanduser().resolve().parts for folder in folders]
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def _corresponding(cka: Floats, named: bool) -> npt.NDArray[np.int64]:
    """For each layer of the first network, the position of the second's that goes with it."""
    if named:
        return np.arange(len(cka))
    return np.argmax(np.where(np.isnan(cka), -np.inf, cka), axis=1)


def _counts(
    opened: Sequence[Mapping[str, LayerOnImages]], pairs: Sequence[Pair]
) -> dict[str, SetCounts]:
    """For each layer of the first network with those of the others that correspond to it."""
    with_first = {pair.b: pair for pair in pairs if pair.a == 0}
    counts = {}
    for row, name in enumerate(opened[0]):
        slot = [opened[0][name]]
        slot += [opened[b][pair.layers[row].b] for b, pair in sorted(with_first.items())]
        turned = list(zip(*(of.turned for of in slot), strict=True))
        varied = list(zip(*(of.varied for of in slot), strict=True))
        counts[name] = set_counts([of.nodes.significant for of in slot], turned, varied)
    return counts
