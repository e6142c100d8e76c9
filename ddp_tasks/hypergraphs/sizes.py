"""How large a hypergraph and its semantic hierarchy are, counted without building them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Above this many equivalence classes depth is not computed: its cost grows with their square.
MOST_FOR_DEPTH = 8192

#: Sets in one block, few enough that comparing all sets with them takes little memory.
_BLOCK = 1024


@dataclass(frozen=True)
class Sizes:
    """Sizes of one hypergraph and of its semantic hierarchy."""

    nodes: int
    hyperedges: int
    incidences: int
    equivalence_classes: int
    depth: int
    """equivalence classes in the longest chain; 0 where there are none, -1 if not computed."""


def sizes(significant: Shaped[npt.NDArray[np.bool_], "class v"]) -> Sizes:
    """Sizes of the hypergraph that a table gives.

    Parameters
    ----------
    significant
        shape (class, singular vector).

    References
    ----------
    Praggastis et al. 2022, section 5.1 and Eqs. 17, 18.
    """
    sets = distinct_sets(significant)
    return Sizes(
        nodes=int(significant.any(axis=0).sum()),
        hyperedges=int(significant.any(axis=1).sum()),
        incidences=int(significant.sum()),
        equivalence_classes=len(sets),
        depth=depth(sets) if len(sets) <= MOST_FOR_DEPTH else -1,
    )


def distinct_sets(
    significant: Shaped[npt.NDArray[np.bool_], "class v"],
) -> Shaped[npt.NDArray[np.bool_], "set class"]:
    """The sets of target classes that occur among the nodes, one for each equivalence class.

    Returns
    -------
    shape (equivalence class, class)

    References
    ----------
    Praggastis et al. 2022, Eq. 17.
    """
    node_sets = significant[:, significant.any(axis=0)].T
    # A row's bits as one opaque value, so that whole rows are compared.
    bits = np.ascontiguousarray(np.packbits(node_sets, axis=1))
    _, first = np.unique(bits.view(np.dtype((np.void, bits.shape[1]))).ravel(), return_index=True)
    return np.asarray(node_sets[first])


def depth(sets: Shaped[npt.NDArray[np.bool_], "set class"]) -> int:
    """Number of sets in the longest chain of proper inclusions.

    Parameters
    ----------
    sets
        shape (set, class); distinct.

    References
    ----------
    Praggastis et al. 2022, Eq. 18.
    """
    general, specific = inclusions(sets)
    level = np.zeros(len(sets), dtype=np.int32)
    while True:
        # Each round lengthens the known chains by one.
        deeper = np.zeros_like(level)
        np.maximum.at(deeper, specific, level[general] + 1)
        if (deeper == level).all():
            return int(level.max(initial=-1)) + 1
        level = deeper


def inclusions(
    sets: Shaped[npt.NDArray[np.bool_], "set class"],
) -> tuple[Shaped[npt.NDArray[np.int64], " pair"], Shaped[npt.NDArray[np.int64], " pair"]]:
    """All pairs of a set and a proper subset of it.

    Sets are stored as bits of words. A pair is dropped at the first word in which the second set
    has a class that the first lacks. Words whose classes drop most pairs come first, so few
    pairs are looked at twice.

    Parameters
    ----------
    sets
        shape (set, class); distinct.

    Returns
    -------
    positions of the including and of the included sets, shape (pair,)
    """
    share = sets.mean(axis=0) if len(sets) else np.zeros(sets.shape[1])
    # The share of pairs that a class tells apart: one set has it and the other does not.
    telling = np.argsort(-share * (1 - share), kind="stable")
    # Largest first: a set comes after those that include it.
    order = np.argsort(-sets.sum(axis=1), kind="stable")
    words = _words(sets[order][:, telling])
    lacking = ~words
    general, specific = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for start in range(0, len(sets), _BLOCK):
        block = words[start : start + _BLOCK]
        before = lacking[: start + len(block), None, 0]
        above, below = np.nonzero((before & block[None, :, 0]) == 0)
        below += start
        for word in range(1, words.shape[1]):
            kept = (lacking[above, word] & words[below, word]) == 0
            above, below = above[kept], below[kept]
        proper = above != below
        general.append(order[above[proper]])
        specific.append(order[below[proper]])
    return np.concatenate(general), np.concatenate(specific)


def _words(
    sets: Shaped[npt.NDArray[np.bool_], "set class"],
) -> Shaped[npt.NDArray[np.uint64], "set words"]:
    """Rows of bits as 64-bit words, the last padded with zeros; at least one word."""
    padded = np.zeros((len(sets), max(1, -(-sets.shape[1] // 64)) * 8), dtype=np.uint8)
    bits = np.packbits(sets, axis=1)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)
