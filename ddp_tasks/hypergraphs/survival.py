"""Which findings of one network another has too: sets of target classes, edges, incidences.

A finding is that some signed vector of a layer is significant for exactly these target classes. It
survives where a vector of the other network's layer is significant for the same classes, whatever
its number. Chance is told by the same sets with the names of the classes permuted, which keeps how
many sets there are, how large, and how they lie in each other.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.hypergraphs.semantic_hierarchy import semantic_hierarchy

if TYPE_CHECKING:
    from jaxtyping import Shaped

Floats = npt.NDArray[np.float64]

#: A set of target classes, as a number whose bits are the classes.
ClassSet = int


def class_sets(significant: Shaped[npt.NDArray[np.bool_], "class node"]) -> list[ClassSet]:
    """For each significant node, the set of target classes that it is significant for.

    Parameters
    ----------
    significant
        shape (class, node).
    """
    used = significant[:, significant.any(axis=0)]
    packed = np.packbits(used, axis=0, bitorder="little")
    return [int.from_bytes(column.tobytes(), "little") for column in packed.T]


def classes_of(members: ClassSet) -> list[int]:
    """The target classes of a set, ascending."""
    return [c for c in range(members.bit_length()) if members >> c & 1]


def renamed(significant: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The same table with the names of its classes permuted."""
    return significant[rng.permutation(len(significant))]


def share_surviving(a: Sequence[ClassSet], b: Sequence[ClassSet]) -> float:
    """Share of the significant nodes of both layers whose set of classes the other has as well.

    Parameters
    ----------
    a, b
        as ``class_sets`` returns them.

    Returns
    -------
    from 0 to 1; NaN where neither layer has a significant node
    """
    if not len(a) + len(b):
        return float("nan")
    in_a, in_b = set(a), set(b)
    return (sum(s in in_b for s in a) + sum(s in in_a for s in b)) / (len(a) + len(b))


def jaccard(a: Set[object], b: Set[object]) -> float:
    """Size of the intersection over that of the union; NaN where both are empty."""
    return len(a & b) / len(a | b) if a | b else float("nan")


def hierarchy_drift(
    a: Shaped[npt.NDArray[np.bool_], "class node"],
    b: Shaped[npt.NDArray[np.bool_], "class other_node"],
) -> tuple[float, float]:
    """How alike the semantic hierarchies of two layers are.

    Returns
    -------
    Jaccard index of their sets of target classes, and of the edges of their diagrams, an edge being
    the sets of its ends; NaN where neither has any
    """
    sets, edges = [], []
    for significant in (a, b):
        hierarchy = semantic_hierarchy(significant)
        of_part = class_sets(hierarchy.target_classes.T)
        sets.append(set(of_part))
        edges.append({(of_part[i], of_part[j]) for i, j in np.argwhere(hierarchy.covers).tolist()})
    return jaccard(sets[0], sets[1]), jaccard(edges[0], edges[1])


def incidences_kept(
    a: Shaped[npt.NDArray[np.bool_], "class pair"], b: Shaped[npt.NDArray[np.bool_], "class pair"]
) -> float:
    """Share of the incidences of matched nodes, of either layer, that both have.

    Parameters
    ----------
    a, b
        shape (class, pair); columns of the matched nodes of either layer.

    Returns
    -------
    from 0 to 1; NaN where there is no incidence
    """
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else float("nan")


@dataclass(frozen=True)
class SetCounts:
    """In how many of several networks each set of target classes is found, beside chance."""

    sets: list[ClassSet]
    """those of at least one network, the most stable first, then the least likely by chance."""
    found: Shaped[npt.NDArray[np.bool_], "set network"]
    """whether the network has it."""
    renamed: Shaped[npt.NDArray[np.float64], " set"]
    """mean number of networks that have it once each network's classes are permuted by name."""
    turned: Shaped[npt.NDArray[np.float64], " set"]
    """mean number of networks that have it in a random basis."""
    varied: Shaped[npt.NDArray[np.float64], " set"]
    """mean number of networks that have it in a random basis that keeps each signal's variance."""
    stable: Shaped[npt.NDArray[np.int64], " networks"]
    """sets that at least 1, 2, ... networks have."""
    stable_renamed: Shaped[npt.NDArray[np.int64], "draw networks"]
    """the same in each draw of permuted names."""
    stable_turned: Shaped[npt.NDArray[np.int64], "draw networks"]
    """the same in each draw of random bases."""
    stable_varied: Shaped[npt.NDArray[np.int64], "draw networks"]
    """the same in each draw of random bases that keep variances."""


def set_counts(
    tables: Sequence[npt.NDArray[np.bool_]],
    turned: Sequence[Sequence[npt.NDArray[np.bool_]]],
    varied: Sequence[Sequence[npt.NDArray[np.bool_]]],
    seed: int = 0,
) -> SetCounts:
    """Count in how many networks each set of target classes is found.

    Parameters
    ----------
    tables
        a table of shape (class, node) for each network, of the layers that correspond.
    turned
        draws of the same in random bases: turned[draw][network].
    varied
        the same in random bases that keep each signal's variance.
    seed
        of the permutations of names, as many as there are draws.
    """
    own = [set(class_sets(table)) for table in tables]
    rng = np.random.default_rng([seed, 11])
    draws_renamed = [[set(class_sets(renamed(t, rng))) for t in tables] for _ in turned]
    draws_turned, draws_varied = (
        [[set(class_sets(t)) for t in draw] for draw in draws] for draws in (turned, varied)
    )
    every = sorted(set().union(*own))
    found = np.array([[s in of for of in own] for s in every], dtype=bool)
    found = found.reshape(len(every), len(own))
    by_name, by_basis, by_variance = (
        _mean_counts(every, draws) for draws in (draws_renamed, draws_turned, draws_varied)
    )
    order = np.lexsort((by_name, -found.sum(axis=1)))
    return SetCounts(
        sets=[every[i] for i in order],
        found=found[order],
        renamed=by_name[order],
        turned=by_basis[order],
        varied=by_variance[order],
        stable=_at_least(own),
        stable_renamed=_stacked([_at_least(draw) for draw in draws_renamed], len(own)),
        stable_turned=_stacked([_at_least(draw) for draw in draws_turned], len(own)),
        stable_varied=_stacked([_at_least(draw) for draw in draws_varied], len(own)),
    )


def _mean_counts(sets: Sequence[ClassSet], draws: Sequence[Sequence[set[ClassSet]]]) -> Floats:
    """Mean number of networks that have each set, over draws; NaN without draws."""
    if not draws:
        return np.full(len(sets), np.nan)
    return np.array(
        [sum(s in of for draw in draws for of in draw) / len(draws) for s in sets], dtype=np.float64
    )


def _at_least(networks: Sequence[set[ClassSet]]) -> npt.NDArray[np.int64]:
    """How many sets at least 1, 2, ... of the networks have."""
    every: set[ClassSet] = set().union(*networks)
    times = np.array([sum(s in of for of in networks) for s in every], dtype=np.int64)
    return np.array([(times >= n).sum() for n in range(1, len(networks) + 1)], dtype=np.int64)


def _stacked(rows: Sequence[npt.NDArray[np.int64]], networks: int) -> npt.NDArray[np.int64]:
    return np.array(rows, dtype=np.int64).reshape(len(rows), networks)
