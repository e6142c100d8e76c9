"""Equivalence classes of singular vectors and their partial order (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.visualization.exemplars import Exemplars, image_ids
from ddp_tasks.weights.signed_vectors import SignedVector, SignedVectors, by_nodes, signed_vector

if TYPE_CHECKING:
    import networkx as nx
    from jaxtyping import Shaped

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

#: Rows of a matrix product at a time: enough for speed, few enough for memory.
_BLOCK = 512


@dataclass(frozen=True)
class SemanticHierarchy:
    """Equivalence classes of nodes, most general first, with the diagram of their partial order.

    One equivalence class is more general than another if it belongs to more target classes;
    equally general ones are in the order of their greatest singular values.
    """

    singular_vectors: Shaped[Flags, "equivalence_class node"]
    """a partition of the hypergraph's nodes: singular vectors, each in its direction."""
    target_classes: Shaped[Flags, "equivalence_class target_class"]
    """every row differs from every other."""
    covers: Shaped[Flags, "equivalence_class equivalence_class"]
    """True where an edge of the diagram leads from the first to the second."""
    level: Shaped[Integers, " equivalence_class"]
    """length of the longest path to it from a top, 0 at the top."""

    def __len__(self) -> int:
        return len(self.level)

    @property
    def depth(self) -> int:
        """Number of levels: equivalence classes in the longest chain; 0 where there are none."""
        return number_of_levels(self.level)


def number_of_levels(level: Integers) -> int:
    """Equivalence classes in the longest chain of a hierarchy; 0 where there are none.

    Parameters
    ----------
    level
        shape (equivalence class,); as ``levels`` returns it and the store keeps it.
    """
    return int(level.max(initial=-1)) + 1


def semantic_hierarchy(significant: Shaped[Flags, "target_class v"]) -> SemanticHierarchy:
    """The semantic hierarchy that a layer's hypergraph induces.

    Parameters
    ----------
    significant
        shape (target class, singular vector); the incidences of the hypergraph.

    References
    ----------
    Praggastis et al. 2022, section 5.2.
    """
    singular_vectors, target_classes = equivalence_classes(significant)
    covers = transitive_reduction(strict_order(target_classes))
    return SemanticHierarchy(singular_vectors, target_classes, covers, levels(covers))


def equivalence_classes(
    significant: Shaped[Flags, "target_class v"],
) -> tuple[Shaped[Flags, "part v"], Shaped[Flags, "part target_class"]]:
    """The partition of singular vectors by the target classes that they are significant for.

    Parameters
    ----------
    significant
        shape (target class, singular vector); vectors significant for no class are in no part.

    Returns
    -------
    singular_vectors
        shape (equivalence class, singular vector).
    target_classes
        shape (equivalence class, target class). Most general first; of equally general ones,
        the one with the first singular vector, hence the greatest singular value.

    References
    ----------
    Praggastis et al. 2022, Eq. 17.
    """
    used = np.flatnonzero(significant.any(axis=0))
    if not len(used):
        return (
            np.zeros((0, significant.shape[1]), dtype=bool),
            np.zeros((0, significant.shape[0]), dtype=bool),
        )
    # Eight classes per byte, so that comparing bytes compares whole sets.
    packed = np.ascontiguousarray(np.packbits(significant[:, used].T, axis=1))
    signature = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, part = np.unique(signature, return_index=True, return_inverse=True)
    target_classes = significant[:, used[first]].T
    order = np.lexsort((first, -target_classes.sum(axis=1)))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    singular_vectors = np.zeros((len(order), significant.shape[1]), dtype=bool)
    singular_vectors[place[part], used] = True
    return singular_vectors, np.ascontiguousarray(target_classes[order])


def strict_order(
    target_classes: Shaped[Flags, "part target_class"],
) -> Shaped[Flags, "part part"]:
    """Which equivalence classes lie above which: a proper superset of target classes lies above.

    Parameters
    ----------
    target_classes
        shape (equivalence class, target class); rows differ.

    Returns
    -------
    shape (equivalence class, equivalence class); True where the first lies above the second

    References
    ----------
    Praggastis et al. 2022, Eq. 18.
    """
    sets = target_classes.astype(np.float32)  # sums of fewer than 2**24 ones are exact
    size = sets.sum(axis=1)
    above = np.empty((len(sets), len(sets)), dtype=bool)
    for start in range(0, len(sets), _BLOCK):
        rows = slice(start, start + _BLOCK)
        above[rows] = sets[rows] @ sets.T == size
    np.fill_diagonal(above, val=False)
    return above


def lies_above(
    target_classes: Shaped[Flags, "part target_class"], first: int
) -> Shaped[Flags, "_ part"]:
    """The rows of ``strict_order`` of the first equivalence classes alone.

    Parameters
    ----------
    target_classes
        shape (equivalence class, target class); rows differ.
    first
        number of the first ones.

    Returns
    -------
    shape (first, equivalence class); True where the first lies above the second
    """
    sets = target_classes.astype(np.float32)  # exact, as in ``strict_order``
    above = np.asarray(sets[:first] @ sets.T == sets.sum(axis=1))
    np.fill_diagonal(above, val=False)
    return above


def transitive_reduction(
    order: Shaped[Flags, "element element"],
) -> Shaped[Flags, "element element"]:
    """The pairs of a strict order that follow from no two others: the edges of its diagram.

    Parameters
    ----------
    order
        shape (element, element); transitive, and every element comes before those below it.

    Returns
    -------
    shape of ``order``

    Notes
    -----
    A pair (i, j) is dropped if some element lies below i and above j. One product of the matrix
    with itself finds these, in a fifth of the time that networkx takes for 93,000 pairs of 1,200
    elements. The matrix is triangular, so only blocks between rows and columns take part.
    """
    size = len(order)
    reduced = order.copy()
    entries = order.astype(np.float32)
    for top in range(0, size, _BLOCK):
        rows = slice(top, top + _BLOCK)
        for left in range(top, size, _BLOCK):
            columns, between = slice(left, left + _BLOCK), slice(top, left + _BLOCK)
            ways = entries[rows, between] @ entries[between, columns]
            reduced[rows, columns] &= ways == 0
    return reduced


def levels(covers: Shaped[Flags, "part part"]) -> Shaped[Integers, " part"]:
    """Level of each equivalence class in the diagram: length of the longest path from a top.

    Parameters
    ----------
    covers
        shape (equivalence class, equivalence class); True where an edge leads from the first to
        the second, which comes later.

    Returns
    -------
    shape (equivalence class,); 0 at the top
    """
    level = np.zeros(len(covers), dtype=np.int64)
    for node, into in enumerate(np.ascontiguousarray(covers.T)):
        level[node] = level[into].max(initial=-1) + 1
    return level


def node_members(hierarchy: xr.Dataset) -> Shaped[Flags, "equivalence_class node"]:
    """Which nodes each equivalence class of a stored hierarchy has.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.

    Returns
    -------
    shape (equivalence class, node); nodes in the order of ``SignedVectors``
    """
    return by_nodes(hierarchy["singular_vectors"], "equivalence_class").astype(np.bool_)


def node_directions(hierarchy: xr.Dataset) -> tuple[str, ...]:
    """Directions of the nodes of a stored hierarchy."""
    return tuple(map(str, hierarchy["direction"].to_numpy()))


def members_of(hierarchy: xr.Dataset) -> list[tuple[SignedVector, ...]]:
    """The singular vectors of each equivalence class, in their directions; the first represents it.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    """
    directions = node_directions(hierarchy)
    return [
        tuple(signed_vector(node, directions) for node in np.flatnonzero(row).tolist())
        for row in node_members(hierarchy)
    ]


def hierarchy_dataset(
    hierarchy: SemanticHierarchy,
    nodes: SignedVectors,
    target_classes: Sequence[str],
    exemplars: Exemplars,
    ids: Sequence[str],
) -> xr.Dataset:
    """The group ``hierarchies/LAYER``.

    Parameters
    ----------
    nodes
        of the layer.
    target_classes
        names of all classes.
    exemplars
        of the equivalence classes, by the sum of their signals.
    ids
        of the images, by their position in the run.
    """
    member, contains = hierarchy.singular_vectors, hierarchy.target_classes
    # A hypergraph without images has no nodes.
    if not member.shape[1]:
        member = np.zeros((len(member), len(nodes)), dtype=bool)
    value, close = nodes.singular_values, nodes.arbitrary
    by_class = ("equivalence_class", "target_class")
    by_place = ("equivalence_class", "place")
    overall, of_class = exemplars
    # Images with the greatest sum of signals, each in the direction of its vector.
    strongest, strongest_signal = overall.image[0], overall.signal[0]
    exemplar, exemplar_signal = of_class.image[0], of_class.signal[0]
    by_direction = member.reshape(len(member), nodes.vectors.rank, len(nodes.directions))
    return xr.Dataset(
        {
            "singular_vectors": (
                ("equivalence_class", "singular_vector", "direction"),
                by_direction,
            ),
            "target_classes": (by_class, contains),
            "covers": (("equivalence_class", "below"), hierarchy.covers),
            "level": ("equivalence_class", hierarchy.level),
            "summed_singular_value": (
                "equivalence_class",
                np.array([value[inside].sum() for inside in member], dtype=np.float64),
            ),
            # Singular values descend.
            "greatest_singular_value": ("equivalence_class", value[member.argmax(axis=1)]),
            "arbitrary": ("equivalence_class", (member & close).sum(axis=1)),
            "exemplar": (by_class, image_ids(np.where(contains, exemplar, -1), ids)),
            "exemplar_signal": (
                by_class,
                np.where(contains, exemplar_signal, np.float32(np.nan)),
            ),
            "strongest": (by_place, image_ids(strongest, ids)),
            "strongest_signal": (by_place, strongest_signal),
        },
        coords={
            "direction": np.array(nodes.directions, dtype=object),
            "target_class": np.array(target_classes, dtype=object),
            "singular_vector": np.arange(by_direction.shape[1]),
        },
    )


def diagram(hierarchy: xr.Dataset) -> nx.DiGraph:
    """The diagram of a stored semantic hierarchy: an edge leads from the general to the specific.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.

    Returns
    -------
    Nodes are the positions of equivalence classes. Their attributes are ``singular_vectors``
    (names such as v3⁺), ``target_classes`` (tuples), ``level``, ``summed_singular_value``,
    ``greatest_singular_value``, ``arbitrary`` (singular vectors that the arithmetic leaves
    arbitrary) and ``exemplars`` (image ids by target class). The graph's attribute
    ``depth`` is the number of levels.

    References
    ----------
    Praggastis et al. 2022, section 5.2, right of figures 6 and 7.
    """
    import networkx as nx

    level = hierarchy["level"].to_numpy()
    graph = nx.DiGraph(depth=number_of_levels(level))
    names = [str(name) for name in hierarchy["target_class"].to_numpy()]
    members, contains = members_of(hierarchy), hierarchy["target_classes"].to_numpy()
    exemplar = hierarchy["exemplar"].to_numpy()
    scalars = {
        name: hierarchy[name].to_numpy().tolist()
        for name in ("level", "summed_singular_value", "greatest_singular_value", "arbitrary")
    }
    for number in range(len(level)):
        classes = np.flatnonzero(contains[number])
        graph.add_node(
            number,
            singular_vectors=tuple(map(str, members[number])),
            target_classes=tuple(names[c] for c in classes),
            exemplars={names[c]: str(exemplar[number, c]) for c in classes},
            **{name: values[number] for name, values in scalars.items()},
        )
    graph.add_edges_from(np.argwhere(hierarchy["covers"].to_numpy()).tolist())
    return graph
