"""How the target classes of a layer relate by the singular vectors that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hypernetx as hnx
import networkx as nx
import numpy as np
import numpy.typing as npt
import xarray as xr
from hypernetx.algorithms.metrics.s_centrality_measures import s_harmonic_centrality

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Hyperedges times pairs that a line graph may have for its walks to be followed: about two
#: seconds of betweenness. Ten classes need at most 450, a hundred 495,000.
_MOST_WALKS = 20_000_000


@dataclass(frozen=True)
class Walks:
    """The s-walks among hyperedges: steps lead between hyperedges that share s nodes."""

    component: Integers
    """shape (class,); number of the s-connected component, -1 for fewer than s vectors."""
    distance: Integers
    """shape (class, class); least number of steps, -1 where no walk leads."""
    betweenness: Floats
    """shape (class,); share of the shortest s-walks between two others that pass through."""
    harmonic: Floats
    """shape (class,); sum over the others of 1 / distance."""


def shared_vectors(significant: Flags) -> Integers:
    """Number of singular vectors significant for both of two classes; shape (class, class).

    Parameters
    ----------
    significant
        shape (class, singular vector).
    """
    rows = significant.astype(np.float32)  # sums of fewer than 2**24 ones are exact
    return np.asarray(rows @ rows.T).astype(np.int64)


def jaccard(shared: Integers) -> Floats:
    """Jaccard similarity of classes: vectors significant for both over those for either.

    Parameters
    ----------
    shared
        shape (class, class); see ``shared_vectors``.

    Returns
    -------
    shape (class, class), from 0 to 1; NaN where neither class has a significant vector
    """
    vectors = np.diag(shared)
    either = vectors[:, None] + vectors - shared
    return np.where(either > 0, shared / np.maximum(either, 1), np.nan)


def toplexes(shared: Integers) -> Flags:
    """Hyperedges that no greater one contains; shape (class,).

    Of hyperedges with the same nodes, which HyperNetX's ``toplexes`` counts once, all are
    marked. HyperNetX takes half a minute for 1,000 classes.
    """
    vectors = np.diag(shared)
    contained = (shared == vectors[:, None]) & (vectors > vectors[:, None])
    return (vectors > 0) & ~contained.any(axis=1)


def walk_widths(shared: Integers) -> tuple[int, ...]:
    """The values of s whose s-walks are followed: powers of two while two classes share s."""
    most = int((shared - np.diag(np.diag(shared))).max(initial=0))
    if not shared.any():
        return ()
    return tuple(2**power for power in range(max(most, 1).bit_length()))


def left_out(shared: Integers, s: int) -> str:
    """Why the s-walks are not followed; empty where they are."""
    hyperedges = int((np.diag(shared) > 0).sum())
    pairs = int((np.triu(shared, 1) >= s).sum())
    if hyperedges * pairs <= _MOST_WALKS:
        return ""
    return (
        f"{pairs:,} of {hyperedges * (hyperedges - 1) // 2:,} pairs of classes share {s} singular "
        "vectors or more: too many for their walks to be followed, and too many to tell much"
    )


def walks(graph: hnx.Hypergraph, s: int, target_classes: Sequence[str]) -> Walks:
    """The s-walks among the hyperedges of a layer's hypergraph.

    Parameters
    ----------
    graph
        as ``hypergraph.hypergraph`` gives it.
    s
        number of singular vectors that two classes must share for a step between them.
    target_classes
        names of all classes, those without a hyperedge among them.

    References
    ----------
    Aksoy et al. 2020, Hypernetwork science via high-order hypergraph walks.

    Notes
    -----
    Line graph, components and harmonic centrality are HyperNetX's. Distances and betweenness
    are what HyperNetX hands to networkx too, once for all pairs and all components: HyperNetX
    builds a hypergraph of every component first, 165 s instead of 1 s for 1,000 classes.
    """
    number = {name: position for position, name in enumerate(target_classes)}
    classes = len(target_classes)
    component, distance = np.full(classes, -1), np.full((classes, classes), -1)
    betweenness, harmonic = np.full(classes, np.nan), np.full(classes, np.nan)
    wide = {edge for edge in graph.edges if len(graph.edges[edge]) >= s}
    lines = graph.get_linegraph(s=s, edges=True)
    found = (set(c) & wide for c in graph.s_connected_components(s=s, return_singletons=True))
    for position, members in enumerate(
        sorted((c for c in found if c), key=lambda c: min(number[edge] for edge in c))
    ):
        component[[number[edge] for edge in members]] = position
    for source, ways in nx.all_pairs_shortest_path_length(lines):
        if source in wide:
            distance[number[source], [number[edge] for edge in ways]] = list(ways.values())
    # Both directions of a pair counted, as networkx's normalisation has it: HyperNetX's value.
    for edge, value in nx.betweenness_centrality(lines, normalized=True).items():
        betweenness[number[edge]] = value
    for edge, value in s_harmonic_centrality(graph, s=s).items():
        harmonic[number[edge]] = value
    return Walks(component, distance, betweenness, harmonic)


def relations_dataset(
    significant: Flags, graph: hnx.Hypergraph, target_classes: Sequence[str], empty: str
) -> xr.Dataset:
    """The group ``hypergraphs/LAYER``.

    Parameters
    ----------
    significant
        shape (class, singular vector).
    graph
        the same as a hypergraph.
    target_classes
        names of all classes.
    empty
        why the hypergraph is empty; empty text where it is not.
    """
    shared = shared_vectors(significant)
    widths = walk_widths(shared)
    reasons = [left_out(shared, s) for s in widths]
    classes, count = len(target_classes), len(widths)
    component = np.full((count, classes), -1)
    distance = np.full((count, classes, classes), -1, dtype=np.int16)
    betweenness, harmonic = np.full((2, count, classes), np.nan)
    for i, (s, reason) in enumerate(zip(widths, reasons, strict=True)):
        if not reason:
            found = walks(graph, s, target_classes)
            component[i], distance[i] = found.component, found.distance
            betweenness[i], harmonic[i] = found.betweenness, found.harmonic
    pair, of_walk = ("target_class", "other_class"), ("s", "target_class")
    names = np.array(target_classes, dtype=object)
    return xr.Dataset(
        {
            "empty": ((), np.array(empty, dtype=object)),
            "vectors": ("target_class", np.diag(shared)),
            "toplex": ("target_class", toplexes(shared)),
            "shared": (pair, shared.astype(np.int32)),
            "jaccard": (pair, jaccard(shared).astype(np.float32)),
            "left_out": ("s", np.array(reasons, dtype=object)),
            "component": (of_walk, component),
            "distance": (("s", *pair), distance),
            "betweenness": (of_walk, betweenness),
            "harmonic": (of_walk, harmonic),
        },
        coords={
            "target_class": names,
            "other_class": names,
            "s": np.array(widths, dtype=np.int64),
        },
    )
