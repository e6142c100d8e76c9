"""Singular vectors with a direction: the nodes of a layer's hypergraph.

The sign of a pair (u_i, v_i) is a convention: flipping both changes nothing of the weight. So what
images do along v_i is read in both directions, and v3⁺ and v3⁻ are two nodes. The paper has the
positive ones alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.weights.layer_vectors import LayerVectors

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Signals as they are, and their negatives.
DIRECTIONS = ("positive", "negative")

_Number = TypeVar("_Number", bound=np.generic)

_MARKS = {1: "⁺", -1: "⁻"}


class SignedVector(NamedTuple):
    """A singular vector in one direction."""

    vector: int
    sign: int
    """1, or -1 where low signals count."""

    @property
    def direction(self) -> str:
        """positive or negative."""
        return DIRECTIONS[self.sign < 0]

    def __str__(self) -> str:
        return f"v{self.vector}{_MARKS[self.sign]}"


@dataclass(frozen=True)
class SignedVectors:
    """All nodes that a layer may have: v0⁺, v0⁻, v1⁺, ..., or those of one direction.

    Both directions of a vector stand together, so that singular values descend along the nodes.
    """

    vectors: LayerVectors
    directions: tuple[str, ...]
    """of them, in the order of ``DIRECTIONS``."""

    def __len__(self) -> int:
        return self.vectors.rank * len(self.directions)

    def __getitem__(self, node: int) -> SignedVector:
        return signed_vector(node, self.directions)

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.vectors.layer

    @cached_property
    def singular_vector(self) -> Shaped[npt.NDArray[np.int64], " node"]:
        """Singular vector of each node."""
        return np.arange(len(self)) // len(self.directions)

    @cached_property
    def singular_values(self) -> Shaped[npt.NDArray[np.float64], " node"]:
        """Singular value of each node."""
        return self.vectors.singular_values[self.singular_vector]

    @cached_property
    def relative_gaps(self) -> Shaped[npt.NDArray[np.float64], " node"]:
        """Relative gap of each node's singular value; see ``LayerVectors``."""
        return self.vectors.relative_gaps[self.singular_vector]

    @cached_property
    def arbitrary(self) -> Shaped[npt.NDArray[np.bool_], " node"]:
        """Which nodes the arithmetic leaves arbitrary; see ``LayerVectors``."""
        return self.vectors.arbitrary[self.singular_vector]

    def name(self, node: int) -> str:
        """v3⁺ or v3⁻; v3 where negative directions are no nodes."""
        return signed_name(self[node], self.directions)

    @cached_property
    def names(self) -> list[str]:
        """The name of each node."""
        # As ``name`` gives them, in a tenth of its time for thousands.
        endings = [self.name(place).removeprefix("v0") for place in range(len(self.directions))]
        return [f"v{v}{ending}" for v in range(self.vectors.rank) for ending in endings]


def signed_name(member: SignedVector, directions: Iterable[str]) -> str:
    """v3⁺ or v3⁻; v3 where negative directions are no nodes."""
    return f"v{member.vector}" if tuple(directions) == DIRECTIONS[:1] else str(member)


def signed_vector(node: int, directions: Sequence[str]) -> SignedVector:
    """The singular vector and the direction of a node, by its position among all nodes."""
    vector, place = divmod(int(node), len(directions))
    return SignedVector(vector, 1 if directions[place] == DIRECTIONS[0] else -1)


def interleaved(of_directions: Sequence[npt.NDArray[_Number]]) -> npt.NDArray[_Number]:
    """Arrays of shape (..., singular vector), one a direction, as one over nodes.

    Returns
    -------
    shape (..., node)
    """
    stacked = np.stack(of_directions, axis=-1)
    return stacked.reshape(*stacked.shape[:-2], stacked.shape[-2] * stacked.shape[-1])


def by_nodes(array: xr.DataArray, *leading: str) -> npt.NDArray[Any]:
    """A stored array over singular vectors and directions as one over nodes.

    Parameters
    ----------
    array
        dims ``leading``, singular_vector and direction, in any order.

    Returns
    -------
    shape (leading..., node)
    """
    values = array.transpose(*leading, "singular_vector", "direction").to_numpy()
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def signs(members: Iterable[SignedVector]) -> dict[int, int]:
    """Sign of each singular vector in the sum of the signals of some nodes.

    Both directions of one vector cancel each other, so such a vector takes no part, unless all
    would cancel: then the positive ones remain.

    Returns
    -------
    1 or -1 by singular vector, ascending
    """
    found: dict[int, set[int]] = {}
    for member in members:
        found.setdefault(member.vector, set()).add(member.sign)
    single = {vector: next(iter(of)) for vector, of in sorted(found.items()) if len(of) == 1}
    return single or dict.fromkeys(sorted(found), 1)
