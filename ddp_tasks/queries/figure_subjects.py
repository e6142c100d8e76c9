"""What the paper's figures 6, 7, 9 and 10 show of a finished run, where nobody chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.semantic_hierarchy import equivalence_classes, strict_order
from ddp_tasks.queries.finished_run import FinishedRun
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import groups
from ddp_tasks.store.cube import spread_signals
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS
from schemas.names import group_path
from schemas.parameters import RunError

FIGURES = (6, 7, 9, 10)

#: Level of the quantile of all signals above which figure 10 takes a signal to be significant.
SHARED_LEVEL = 0.5

#: Where in the network's convolutions figures 9 and 10 look, as in the paper: the 7th and the 11th
#: of VGG-16's 13.
_DEPTH = {9: 7 / 13, 10: 11 / 13}

#: Signals of other images that two images are held against: 64 MB.
_SIGNALS = 1 << 24

#: Equivalence classes in the part of a hierarchy that figure 9 shows.
_PART = 9


def default_layer(finished: FinishedRun, number: int) -> str:
    """The layer that a figure shows: one as deep in this network as in the paper's.

    Figure 6 takes the last convolution, figure 7 the first fully connected layer, figures 9 and 10
    convolutions at half and at five sixths of the depth; of figures 6, 7 and 9 only layers count
    whose hierarchy is not empty.

    Raises
    ------
    RunError
        If the run has no such layer.
    """
    names = finished.layers["layer"].to_numpy().tolist()
    kinds = finished.layers["kind"].to_numpy().tolist()
    linear = number == 7
    of_kind = [n for n, k in zip(names, kinds, strict=True) if (k == "Linear") == linear]
    usable = of_kind
    if number != FIGURES[-1]:
        sizes = {name: _equivalence_classes(finished, name) for name in of_kind}
        usable = [name for name in of_kind if sizes[name]]
        if number == 9:
            usable = [name for name in of_kind if sizes[name] > 1] or usable
    if not usable:
        kind = "fully connected layer" if linear else "convolution"
        why = " whose hypergraph is not empty" * (number != FIGURES[-1])
        raise RunError(
            f"figure {number}: {finished.store} has no {kind}{why}; name another layer with layer"
        )
    if number in _DEPTH:
        # The convolution that lies nearest to this share of all of them.
        wanted = _DEPTH[number] * len(of_kind) - 1
        return min(usable, key=lambda name: abs(of_kind.index(name) - wanted))
    return usable[0] if linear else usable[-1]


def _equivalence_classes(finished: FinishedRun, layer: str) -> int:
    group = group_path("hierarchies", layer)
    return int(groups.read(finished.store, group).sizes["equivalence_class"])


def check_vector(finished: FinishedRun, layer: str, vector: int) -> None:
    """Refuse a singular vector that a layer does not have.

    Raises
    ------
    RunError
        Naming those that it has.
    """
    rank = int(finished.layers["rank"].sel(layer=layer))
    if not 0 <= vector < rank:
        raise RunError(
            f"vector: {vector} is refused; layer {layer} has singular vectors 0 to {rank - 1}"
        )


def hierarchy_part(hierarchy: xr.Dataset, layer: str, vector: int | None, most: int) -> xr.Dataset:
    """A part of a hierarchy: the most general equivalence classes of what belongs together.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    vector
        take its equivalence class and those above and below it; None takes the class with the most
        below it, and these.
    most
        equivalence classes in the part.

    Raises
    ------
    RunError
        If the vector belongs to no equivalence class, naming the nearest that do.
    """
    members = hierarchy["singular_vectors"].any("direction").to_numpy()
    above = strict_order(hierarchy["target_classes"].to_numpy())
    if vector is None:
        root = int(above.sum(axis=1).argmax())
        related = above[root].copy()
    else:
        inside = np.flatnonzero(members.any(axis=0))
        if vector not in inside:
            near = inside[np.argsort(np.abs(inside - vector), kind="stable")[:5]]
            raise RunError(
                f"vector: v{vector} of layer {layer} is significant for no class and belongs to no "
                f"equivalence class; nearest: {', '.join(f'v{i}' for i in sorted(near))}"
            )
        root = int(members[:, vector].argmax())
        related = above[root] | above[:, root]
    related[root] = True
    # The most general come first, so nothing between two of them is left out.
    others = [int(i) for i in np.flatnonzero(related) if i != root]
    chosen = sorted([root, *others[: most - 1]])
    return hierarchy.isel(equivalence_class=chosen, below=chosen)


def part_shown(hierarchy: xr.Dataset, layer: str, number: int, vector: int | None) -> xr.Dataset:
    """The part of a hierarchy that a figure shows; figures 6 and 7 show all of it."""
    if vector is None and number != 9:
        return hierarchy
    return hierarchy_part(hierarchy, layer, vector, _PART)


def two_images(finished: FinishedRun, ids: Sequence[str] | None = None) -> tuple[int, int]:
    """Positions in the run of two images: those named, or two dogs.

    Without a class of dogs, the class with the most images that are classified correctly is taken;
    of its images the first two such, if there are any.

    Raises
    ------
    RunError
        If an id is unknown, or the same is given twice, or the run has fewer than two images.
    """
    if ids is not None:
        first, second = (finished.position(image) for image in ids)
        if first == second:
            raise RunError(f"images: {ids[0]!r} is given twice; two different ones are needed")
        return first, second
    read = finished.signals["error"].to_numpy() == ""
    target = finished.signals["target"].to_numpy()
    correct = read & (finished.signals["predicted"].to_numpy() == target)
    names = finished.signals["target_class"].to_numpy().tolist()
    dogs = [i for i, name in enumerate(names) if name.casefold().strip() in ("dog", "dogs")]
    counts = np.bincount(target[correct], minlength=len(names))
    label = dogs[0] if dogs and counts[dogs[0]] > 1 else int(counts.argmax())
    pools = (correct & (target == label), read & (target == label), read)
    for pool in pools:
        found = np.flatnonzero(pool)
        if len(found) > 1:
            return int(found[0]), int(found[1])
    raise RunError(f"images: {finished.store} has fewer than two images that were read")


@dataclass(frozen=True)
class SharedVectors:
    """Singular vectors of a layer that are significant for one or both of two images."""

    layer: LayerVectors
    quantile: float
    """level of the threshold."""
    threshold: float
    """q, the quantile of all signals of the layer at that level."""
    signals: npt.NDArray[np.float64]
    """shape (2, r); of the images."""
    standing: npt.NDArray[np.float64]
    """shape (2, r); standard deviations of their signals above the mean of the run's images."""
    hypergraph: xr.Dataset
    """the equivalence classes of the hypergraph whose hyperedges are the two images."""

    @property
    def both(self) -> npt.NDArray[np.int64]:
        """Vectors significant for both, those first in which both stand out from the other images.

        By the lesser standing: the greatest signals may be great in every image.
        """
        least = self.standing.min(axis=0)
        shared = np.flatnonzero((self.signals > self.threshold).all(axis=0))
        ordered: npt.NDArray[np.int64] = shared[np.argsort(-least[shared], kind="stable")]
        return ordered

    def chosen(self, vector: int | None, drawn: Sequence[int] = ()) -> int:
        """A vector that both images share: the one named, or the first.

        Parameters
        ----------
        drawn
            vectors with an optimised image, which are preferred.

        Raises
        ------
        RunError
            If it is not significant for both, or no vector is.
        """
        both, level = self.both, f"{100 * self.quantile:g} %"
        if not len(both):
            raise RunError(
                f"no singular vector of layer {self.layer.layer} has signals above the {level} "
                f"quantile ({self.threshold:.4g}) in both images; name other images"
            )
        if vector is None:
            preferred = both[np.isin(both, drawn)]
            return int(preferred[0] if len(preferred) else both[0])
        if vector in both:
            return vector
        near = sorted(both[np.argsort(np.abs(both - vector), kind="stable")[:5]].tolist())
        of_images = " and ".join(f"{s:.3g}" for s in self.signals[:, vector])
        raise RunError(
            f"vector: v{vector} of layer {self.layer.layer} has the signals {of_images}, not both "
            f"above the {level} quantile ({self.threshold:.4g}); nearest that both images share: "
            f"{', '.join(f'v{i}' for i in near)}"
        )


def shared_vectors(finished: FinishedRun, layer: str, images: tuple[int, int]) -> SharedVectors:
    """Which singular vectors two images share at the stored quantile nearest to 50 %.

    Raises
    ------
    RunError
        If an image does not reach the layer, or could not be read.

    References
    ----------
    Praggastis et al. 2022, figure 10.
    """
    vectors = LayerVectors.of(finished.layers.sel(layer=layer))
    significance = groups.read(finished.store, "significance").sel(layer=layer)
    levels = significance["quantile"].to_numpy()
    quantile = float(levels[np.abs(levels - SHARED_LEVEL).argmin()])
    # Figure 10 is of the paper's positive direction.
    table = LayerTable.of(significance, quantile, 50.0, DIRECTIONS[:1])
    (threshold,) = table.thresholds
    of_layer = finished.signals["signal"].sel(layer=layer)
    signals = of_layer.isel(image=list(images)).to_numpy()[:, : vectors.rank].astype(np.float64)
    ids = finished.signals["image"].to_numpy()[list(images)].tolist()
    for image, row in zip(ids, signals, strict=True):
        if np.isnan(row).any():
            raise RunError(f"image {image!r} could not be read, or does not reach layer {layer}")
    position = finished.layers["layer"].to_numpy().tolist().index(layer)
    others = spread_signals(finished.store, position, vectors.rank, _SIGNALS).astype(np.float64)
    deviation = np.nanstd(others, axis=0)
    standing = (signals - np.nanmean(others, axis=0)) / np.where(deviation > 0, deviation, 1)
    members, contains = equivalence_classes(signals > threshold)
    names = finished.signals["target_class"].to_numpy()
    target = finished.signals["target"].to_numpy()[list(images)]
    edges = [f"{image} ({names[label]})" for image, label in zip(ids, target, strict=True)]
    hypergraph = xr.Dataset(
        {
            "singular_vectors": (
                ("equivalence_class", "singular_vector", "direction"),
                members[:, :, None],
            ),
            "target_classes": (("equivalence_class", "target_class"), contains),
        },
        coords={
            "target_class": np.array(edges, dtype=object),
            "direction": np.array(table.directions, dtype=object),
        },
    )
    return SharedVectors(vectors, quantile, threshold, signals, standing, hypergraph)


def check_figure(number: int) -> None:
    """Refuse the number of a figure that is made in another way.

    Raises
    ------
    RunError
        Naming the figures, and the commands of others.
    """
    others = {
        3: "ddp capacity makes it",
        4: "ddp capacity makes it",
        5: "ddp steps makes it",
        8: "ddp steps makes it",
    }
    if number not in FIGURES:
        why = others.get(number, f"allowed: {', '.join(map(str, FIGURES))}")
        raise RunError(f"figure: {number} is refused; {why}")
