"""Equivalence classes of singular vectors and their partial order (section 5.2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import hypernetx as hnx
import networkx as nx
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.exemplars import StrongestImages, image_ids


@dataclass(frozen=True)
class EquivalenceClass:
    """Singular vectors that are significant for the same target classes."""

    singular_vectors: tuple[int, ...]
    """ascending."""
    target_classes: frozenset[str]

    @property
    def representative(self) -> int:
        """The vector that names the class: the one of the greatest singular value."""
        return self.singular_vectors[0]


def equivalence_classes(graph: hnx.Hypergraph) -> list[EquivalenceClass]:
    """The partition of a hypergraph's nodes by the hyperedges that they belong to.

    Returns
    -------
    most general first: by number of target classes, then by representative

    References
    ----------
    Praggastis et al. 2022, Eq. 17.
    """
    members: Mapping[frozenset[str], list[int]] = defaultdict(list)
    for node, edges in graph.nodes.memberships.items():
        members[frozenset(edges)].append(int(node))
    found = [EquivalenceClass(tuple(sorted(v)), classes) for classes, v in members.items()]
    return sorted(found, key=lambda e: (-len(e.target_classes), e.representative))


def semantic_hierarchy(classes: list[EquivalenceClass]) -> nx.DiGraph:
    """The diagram of the partial order: an edge leads from the general to the specific.

    [vᵢ] > [vⱼ] where the target classes of vᵢ are a proper superset of those of vⱼ. The edges
    are the transitive reduction, so nothing that follows from two edges is drawn as a third.

    Returns
    -------
    nodes are the positions in ``classes``, with the equivalence class as their attribute
    ``equivalence_class``

    References
    ----------
    Praggastis et al. 2022, Eq. 18.
    """
    order = nx.DiGraph()
    order.add_nodes_from(range(len(classes)))
    order.add_edges_from(
        (i, j)
        for i, general in enumerate(classes)
        for j, specific in enumerate(classes)
        if general.target_classes > specific.target_classes
    )
    diagram = nx.transitive_reduction(order)
    for i, equivalence_class in enumerate(classes):
        diagram.nodes[i]["equivalence_class"] = equivalence_class
    return diagram


def levels(covers: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Level of each equivalence class in the diagram: the longest way down to it from a top.

    Parameters
    ----------
    covers
        shape (equivalence class, equivalence class); True where an edge leads from the first to
        the second.

    Returns
    -------
    shape (equivalence class,); 0 at the top
    """
    diagram = nx.from_numpy_array(covers, create_using=nx.DiGraph)
    level = np.zeros(len(covers), dtype=np.int64)
    for node in nx.topological_sort(diagram):
        above = [level[i] for i in diagram.predecessors(node)]
        level[node] = max(above) + 1 if above else 0
    return level


def membership(classes: list[EquivalenceClass], vectors: int) -> npt.NDArray[np.bool_]:
    """Which singular vectors belong to each equivalence class; shape (classes, vectors)."""
    member = np.zeros((len(classes), vectors), dtype=bool)
    for i, equivalence_class in enumerate(classes):
        member[i, list(equivalence_class.singular_vectors)] = True
    return member


def hierarchy_dataset(
    diagram: nx.DiGraph,
    target_classes: Sequence[str],
    vectors: int,
    exemplars: StrongestImages,
    ids: Sequence[str],
) -> xr.Dataset:
    """The group ``hierarchies/LAYER``.

    Parameters
    ----------
    diagram
        as ``semantic_hierarchy`` gives it.
    target_classes
        names of all classes.
    vectors
        rank of the layer.
    exemplars
        strongest image of each target class for each equivalence class, shape (equivalence
        class, target class).
    ids
        of the images, by their position in the run.
    """
    classes = [diagram.nodes[i]["equivalence_class"] for i in range(len(diagram))]
    contains = np.array(
        [[name in c.target_classes for name in target_classes] for c in classes], dtype=bool
    ).reshape(len(classes), len(target_classes))
    by_class = ("equivalence_class", "target_class")
    covers = nx.to_numpy_array(diagram, nodelist=range(len(diagram)), dtype=bool, weight=None)
    return xr.Dataset(
        {
            "singular_vectors": (
                ("equivalence_class", "singular_vector"),
                membership(classes, vectors),
            ),
            "target_classes": (by_class, contains),
            "covers": (("equivalence_class", "below"), covers),
            "exemplar": (by_class, image_ids(np.where(contains, exemplars.image, -1), ids)),
            "exemplar_signal": (by_class, np.where(contains, exemplars.signal, np.nan)),
        },
        coords={
            "target_class": np.array(target_classes, dtype=object),
            "singular_vector": np.arange(vectors),
        },
    )
