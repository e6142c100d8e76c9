"""One hypergraph of a layer's family, as a terminal or a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddp_tasks.hypergraphs.family import Slice
from ddp_tasks.hypergraphs.sizes import Sizes


@dataclass(frozen=True)
class SlicePlace:
    """Where in its family a hypergraph is, and why it is empty."""

    layer: str
    direction: str
    quantile: float
    threshold: float
    """q, in the units of the layer's output before bias."""
    percentage: float
    empty: str
    """why it is empty and what to change; empty text where it is not."""

    @classmethod
    def of(cls, at: Slice) -> SlicePlace:
        """The place of a hypergraph."""
        return cls(
            at.layer, at.direction, at.quantile, at.threshold, at.percentage, at.empty_because()
        )


@dataclass(frozen=True)
class EquivalenceClass:
    """Singular vectors that are significant for the same classes."""

    level: int
    """in the semantic hierarchy, 0 at the top."""
    singular_vectors: tuple[int, ...]
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
    at: Slice, singular_values: npt.NDArray[np.float64], class_axis: str
) -> SliceFindings:
    """Sizes, equivalence classes and levels of one hypergraph.

    Parameters
    ----------
    singular_values
        of the layer, shape (singular vector,), descending.
    class_axis
        what the hyperedges are, target_class or superclass.
    """
    hierarchy = at.hierarchy()
    rows = zip(hierarchy.level, hierarchy.singular_vectors, hierarchy.target_classes, strict=True)
    classes = []
    for level, vectors, contains in rows:
        inside = np.flatnonzero(vectors)
        classes.append(
            EquivalenceClass(
                level=int(level),
                singular_vectors=tuple(inside.tolist()),
                greatest_singular_value=float(singular_values[inside[0]]),
                target_classes=tuple(at.target_classes[c] for c in np.flatnonzero(contains)),
            )
        )
    return SliceFindings(SlicePlace.of(at), class_axis, at.sizes(), hierarchy.depth, tuple(classes))
