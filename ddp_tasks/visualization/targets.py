"""What an image is optimised for: a singular vector, or a weighted sum of several (Eqs. 19, 20)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Direction = Literal["positive", "negative"]
Objective = Literal["mean", "density"]
Parametrization = Literal["fourier", "maco"]


@dataclass(frozen=True)
class Target:
    """What an image is optimised for, and how the image is parametrised."""

    singular_vectors: tuple[int, ...]
    """ascending, at least one."""
    weights: tuple[float, ...] = ()
    """w_i of Eq. 20, greater than 0; none stands for equal ones."""
    direction: Direction = "positive"
    """positive: the sum of signals is maximised; negative: minimised."""
    objective: Objective = "mean"
    """mean of the signals over positions, or density: their soft maximum."""
    parametrization: Parametrization = "fourier"
    number: int = 0
    """position among the target's images."""
    images: int = 1
    """images of this target that are optimised together and pushed apart."""

    def __post_init__(self) -> None:
        if not self.singular_vectors or (
            self.weights and len(self.weights) != len(self.singular_vectors)
        ):
            raise ValueError(
                f"a target needs a weight for each of its singular vectors; it has "
                f"{len(self.weights)} for {len(self.singular_vectors)}"
            )

    @property
    def key(self) -> str:
        """Its name, such as ``v7+v14 positive mean fourier``; weights are not part of it."""
        vectors = "+".join(f"v{i}" for i in self.singular_vectors)
        number = f" {self.number + 1} of {self.images}" if self.images > 1 else ""
        return f"{vectors} {self.direction} {self.objective} {self.parametrization}{number}"

    @property
    def sign(self) -> int:
        """1 if the sum is maximised, -1 if it is minimised."""
        return 1 if self.direction == "positive" else -1

    def row(self, rank: int) -> npt.NDArray[np.float64]:
        """Its weights over all singular vectors of the layer: shape (rank,)."""
        row = np.zeros(rank)
        row[list(self.singular_vectors)] = self.weights or 1.0
        return row

    def weighted(self, deviation: npt.NDArray[np.float64]) -> Target:
        """The same target with weights of one over the standard deviation of each signal.

        With equal weights a vector whose signals vary much would drown the others.

        Parameters
        ----------
        deviation
            of the layer's signals over natural images: shape (rank,).
        """
        if len(self.singular_vectors) == 1:
            return replace(self, weights=(1.0,))
        of_vectors = deviation[list(self.singular_vectors)]
        least = max(float(of_vectors.max()) * 1e-6, np.finfo(np.float64).tiny)
        return replace(self, weights=tuple((1 / np.maximum(of_vectors, least)).tolist()))
