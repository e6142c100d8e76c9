"""The singular vectors of one layer as the store describes them, and which are arbitrary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Singular values that differ by less than this times s_0 do not determine their vectors: a
#: weight is known to float32, so a change in its last bit turns such vectors into one another.
GAP_TOLERANCE = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class LayerVectors:
    """The singular vectors of one layer, 0 to rank - 1."""

    layer: str
    singular_values: Shaped[npt.NDArray[np.float64], " r"]
    """nonzero, descending."""
    relative_gaps: Shaped[npt.NDArray[np.float64], " r"]
    """distance of each singular value to its nearest neighbour, divided by the greatest."""

    @classmethod
    def of(cls, layer: xr.Dataset) -> LayerVectors:
        """Read them from one layer of the store's group ``layers``."""
        rank = int(layer["rank"])
        return cls(
            layer=str(layer["layer"].item()),
            singular_values=layer["singular_value"].to_numpy()[:rank],
            relative_gaps=layer["relative_gap"].to_numpy()[:rank],
        )

    @property
    def rank(self) -> int:
        """Number of nonzero singular values, r."""
        return len(self.singular_values)

    @cached_property
    def arbitrary(self) -> Shaped[npt.NDArray[np.bool_], " r"]:
        """Which singular vectors the arithmetic leaves arbitrary: singular values too close.

        The paper assumes that there are none (footnote 8).
        """
        return self.relative_gaps < GAP_TOLERANCE
