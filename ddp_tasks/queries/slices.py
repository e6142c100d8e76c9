"""One hypergraph of a layer's family, as a terminal or a notebook shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.semantic_hierarchy import semantic_hierarchy
from ddp_tasks.hypergraphs.sizes import Sizes, sizes
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.signed_vectors import SignedVector, signed_name, signed_vector


@dataclass(frozen=True)
class SlicePlace:
    """Where in its family a hypergraph is, and why it is empty."""

    layer: str
    direction: str
    """positive, negative or both."""
    quantile: float
    thresholds: Mapping[str, float]
    """q of each direction, in the units of the layer's output before bias."""
    percentage: float
    empty: str
    """why it is empty and what to change; empty text where it is not."""

    @classmethod
    def of(cls, table: LayerTable) -> SlicePlace:
        """The place of a hypergraph."""
        return cls(
            table.layer,
            table.direction,
            table.quantile,
            dict(zip(table.directions, table.thresholds, strict=True)),
            table.percentage,
            why_empty(table),
        )


@dataclass(frozen=True)
class EquivalenceClass:
    """Singular vectors, each in its direction, that are significant for the same classes."""

    level: int
    """in the semantic hierarchy, 0 at the top."""
    singular_vectors: tuple[SignedVector, ...]
    names: tuple[str, ...]
    """of these, such as v3⁺; v3 where negative directions are no nodes."""
    greatest_singular_value: float
    target_classes: tuple[str, ...]


@dataclass(frozen=True)
class SliceFindings:
    """A hypergraph in numbers, and its equivalence classes, most general first."""

    place: SlicePlace
    class_axis: str
    """what its hyperedges are, target_class or superclass."""
    sizes: Sizes
    depth: int
    """number of levels of the semantic hierarchy."""
    equivalence_classes: tuple[EquivalenceClass, ...]


def slice_findings(
    table: LayerTable, singular_values: npt.NDArray[np.float64], class_axis: str
) -> SliceFindings:
    """Sizes, equivalence classes and levels of one hypergraph.

    Parameters
    ----------
    singular_values
        of the layer, shape (singular vector,), descending.
    class_axis
        what the hyperedges are, target_class or superclass.
    """
    hierarchy = semantic_hierarchy(table.significant)
    rows = zip(hierarchy.level, hierarchy.singular_vectors, hierarchy.target_classes, strict=True)
    classes = []
    for level, vectors, contains in rows:
        inside = np.flatnonzero(vectors).tolist()
        members = tuple(signed_vector(node, table.directions) for node in inside)
        classes.append(
            EquivalenceClass(
                level=int(level),
                singular_vectors=members,
                names=tuple(signed_name(member, table.directions) for member in members),
                greatest_singular_value=float(singular_values[members[0].vector]),
                target_classes=tuple(table.target_classes[c] for c in np.flatnonzero(contains)),
            )
        )
    return SliceFindings(
        place=SlicePlace.of(table),
        class_axis=class_axis,
        sizes=sizes(table.significant),
        depth=hierarchy.depth,
        equivalence_classes=tuple(classes),
    )
