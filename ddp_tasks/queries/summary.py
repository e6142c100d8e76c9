"""The findings of a finished run in a few numbers, for terminal, Prefect UI and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import compress
from pathlib import Path

import numpy as np
import xarray as xr

from ddp_tasks.hypergraphs.sizes import Sizes
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.plausible_accuracy import measured_accuracy
from ddp_tasks.significance.significance import by_discrimination
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector, SignedVectors
from schemas.parameters import RunParameters


@dataclass(frozen=True)
class LayerSummary:
    """One layer's hypergraph and hierarchy in numbers."""

    layer: str
    kind: str
    shape: str
    rank: int
    quantile: float
    percentage: float
    thresholds: tuple[float, ...]
    """q of each direction of the nodes."""
    nodes: int
    hyperedges: int
    equivalence_classes: int
    depth: int
    """number of levels of the semantic hierarchy; -1 if the family does not count it."""
    close_singular_values: int
    eta_squared: float
    """η² of the significant singular vector with the greatest on the images that chose; 0 where
    there is none."""
    missed: int = 0
    """number of images that were read and do not reach the layer."""


@dataclass(frozen=True)
class Discriminating:
    """A singular vector in one direction that tells classes apart."""

    layer: str
    singular_vector: SignedVector
    singular_value: float
    eta_squared: float
    """of "significant or not", told on the images that judge."""
    eta_squared_of_signals: float
    """of its signals, on the same images."""
    chosen_by: float
    """η² on the images that chose, by which it is ranked."""
    significant_for: tuple[str, ...]
    """target classes in the order of the run."""
    fractions: tuple[float, ...]
    """shares of the images of each of them that judge."""
    arbitrary: bool
    """whether its singular value cannot be told from its neighbour's."""

    name: str
    """such as v3⁻, with an asterisk if it is arbitrary."""

    def by_fraction(self) -> list[tuple[str, float]]:
        """Target classes that it is significant for with their fractions, the greatest first."""
        pairs = zip(self.significant_for, self.fractions, strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class Summary:
    """The findings of one run."""

    title: str
    images: int
    """number of images that were read."""
    unreadable: Mapping[str, str]
    """why images could not be read, by id."""
    target_classes: int
    judged_on: int
    """number of images that fractions and η² are told on."""
    split: bool
    """whether these images took no part in choosing thresholds and vectors."""
    accuracy: float
    """over the images that were read."""
    warning: str
    """a sentence where the accuracy is implausible; empty if it is not."""
    layers: tuple[LayerSummary, ...]
    discriminating: tuple[Discriminating, ...]


def read_summary(run: RunParameters, path: Path) -> Summary:
    """Summarise a run from its finished store."""
    # Tables of all layers and classes may exceed memory, so they are read layer by layer.
    return summarise(
        run,
        groups.read(path, "layers").load(),
        groups.read(path, "signals"),
        groups.read(path, "significance"),
        groups.read(path, "family").load(),
    )


def summarise(
    run: RunParameters,
    layers: xr.Dataset,
    signals: xr.Dataset,
    significance: xr.Dataset,
    family: xr.Dataset,
    *,
    strongest: int = 5,
) -> Summary:
    """Summarise a run from the groups of its store.

    Parameters
    ----------
    layers, signals, significance, family
        the store's groups of these names.
    strongest
        how many of the most discriminating singular vectors to name.
    """
    layer_summaries: list[LayerSummary] = []
    ranked: list[Discriminating] = []
    # By layer, of all parts and classes.
    reached = significance["reached"].to_numpy().sum(axis=(0, 1)).tolist()
    images = significance["images"].to_numpy()
    for position in range(layers.sizes["layer"]):
        # One table at a time: those of all layers may be larger than memory.
        of_layer, stored = significance.isel(layer=position), layers.isel(layer=position)
        table = _table(run, of_layer)
        vectors = LayerVectors.of(stored)
        strongest_of_layer = _discriminating(vectors, table, of_layer, strongest)
        layer_summaries.append(
            _layer_summary(
                stored,
                table,
                _sizes(family, table),
                close_singular_values=int(vectors.arbitrary.sum()),
                eta_squared=next((vector.eta_squared for vector in strongest_of_layer), 0.0),
                missed=int(images.sum() - reached[position]),
            )
        )
        ranked += strongest_of_layer
        order = by_discrimination(np.array([vector.chosen_by for vector in ranked]))
        ranked = [ranked[i] for i in order[:strongest]]
    error = signals["error"].to_numpy().astype(object)
    read = error == ""
    accuracy = measured_accuracy(
        signals["predicted"].to_numpy()[read],
        signals["target"].to_numpy()[read],
        signals.sizes["target_class"],
        run.model.accuracy,
    )
    return Summary(
        title=run.name,
        images=accuracy.images,
        unreadable=dict(zip(signals["image"].to_numpy()[~read], error[~read], strict=True)),
        target_classes=int((images.sum(axis=0) > 0).sum()),
        judged_on=int(images[-1].sum()),
        split=len(images) > 1,
        accuracy=accuracy.correct / accuracy.images,
        warning=accuracy.warning(),
        layers=tuple(layer_summaries),
        discriminating=tuple(ranked),
    )


def _layer_summary(
    layer: xr.Dataset,
    table: LayerTable,
    sizes: Sizes,
    *,
    close_singular_values: int,
    eta_squared: float,
    missed: int,
) -> LayerSummary:
    return LayerSummary(
        layer=table.layer,
        kind=str(layer["kind"].item()),
        shape=str(layer["shape"].item()),
        rank=int(layer["rank"].item()),
        quantile=table.quantile,
        percentage=table.percentage,
        thresholds=table.thresholds,
        nodes=sizes.nodes,
        hyperedges=sizes.hyperedges,
        equivalence_classes=sizes.equivalence_classes,
        depth=sizes.depth,
        close_singular_values=close_singular_values,
        eta_squared=eta_squared,
        missed=missed,
    )


def _sizes(family: xr.Dataset, table: LayerTable) -> Sizes:
    """Sizes of the layer's hypergraph, as the stored family has them."""
    place = {"quantile": table.quantile, "percentage": table.percentage}
    at = family.sel(layer=table.layer, direction=table.direction)
    at = at.sel(place, method="nearest", tolerance=1e-9)
    return Sizes(**{size.name: int(at[size.name]) for size in fields(Sizes)})


def significant_vectors(run: RunParameters, path: Path, layer: str) -> list[Discriminating]:
    """A layer's singular vectors that are significant for a class, greatest η² first.

    Parameters
    ----------
    path
        of the run's store.
    """
    significance = groups.read(path, "significance").sel(layer=layer)
    vectors = LayerVectors.of(groups.read(path, "layers").sel(layer=layer))
    return _discriminating(vectors, _table(run, significance), significance)


def _table(run: RunParameters, significance: xr.Dataset) -> LayerTable:
    """The hypergraph of a layer at the run's own levels and directions."""
    levels = run.significance.levels(str(significance["layer"].item()))
    return LayerTable.of(significance, *levels, run.significance.directions)


def _discriminating(
    vectors: LayerVectors,
    table: LayerTable,
    significance: xr.Dataset,
    most: int | None = None,
) -> list[Discriminating]:
    """The layer's most discriminating nodes, equal ones in their order."""
    if not table.significant.any():
        return []
    nodes = SignedVectors(vectors, table.directions)
    of_signals = significance["eta_squared_of_signals"].isel(split=-1).to_numpy()
    return [
        Discriminating(
            layer=table.layer,
            singular_vector=nodes[i],
            singular_value=float(nodes.singular_values[i]),
            eta_squared=float(table.eta_squared[i]),
            eta_squared_of_signals=float(of_signals[nodes[i].vector]),
            chosen_by=float(table.selection_eta_squared[i]),
            significant_for=tuple(compress(table.target_classes, table.significant[:, i])),
            fractions=tuple(table.fraction[table.significant[:, i], i].tolist()),
            arbitrary=bool(nodes.arbitrary[i]),
            name=nodes.name(i) + "*" * bool(nodes.arbitrary[i]),
        )
        for i in table.most_discriminating()[:most].tolist()
    ]
