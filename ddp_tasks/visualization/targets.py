"""What an image is optimised for: a singular vector, or a weighted sum of several (Eqs. 19, 20)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ddp_tasks.weights.signed_vectors import SignedVector, signs
from schemas.parameters import Direction

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
    signs: tuple[int, ...] = ()
    """1 or -1 of each in the sum; none stands for 1. The first is 1: its direction is the sum's."""

    def __post_init__(self) -> None:
        for what, given in (("weight", self.weights), ("sign", self.signs)):
            if not self.singular_vectors or (given and len(given) != len(self.singular_vectors)):
                raise ValueError(
                    f"a target needs a {what} for each of its singular vectors; it has "
                    f"{len(given)} for {len(self.singular_vectors)}"
                )

    @classmethod
    def of(cls, members: Iterable[SignedVector], **method: Any) -> Target:
        """The target of the sum of some signals, each in the direction of its vector.

        Parameters
        ----------
        method
            other fields, such as ``objective``.
        """
        sign = signs(members)
        first = next(iter(sign.values()))
        relative = tuple(first * one for one in sign.values())
        return cls(
            tuple(sign),
            signs=() if set(relative) == {1} else relative,
            direction="positive" if first > 0 else "negative",
            **method,
        )

    @property
    def members(self) -> tuple[SignedVector, ...]:
        """Its singular vectors, each in the direction that it is maximised in."""
        pairs = zip(self.singular_vectors, self._signs, strict=True)
        return tuple(SignedVector(vector, self.sign * sign) for vector, sign in pairs)

    @property
    def _signs(self) -> tuple[int, ...]:
        return self.signs or (1,) * len(self.singular_vectors)

    @property
    def key(self) -> str:
        """Its name, such as ``v7+v14 positive mean fourier``; weights are not part of it."""
        vectors = "".join(
            f"{'+' if sign > 0 else '-'}v{i}"
            for i, sign in zip(self.singular_vectors, self._signs, strict=True)
        ).removeprefix("+")
        number = f" {self.number + 1} of {self.images}" if self.images > 1 else ""
        return f"{vectors} {self.direction} {self.objective} {self.parametrization}{number}"

    @property
    def sign(self) -> int:
        """1 if the sum is maximised, -1 if it is minimised."""
        return 1 if self.direction == "positive" else -1

    def row(self, rank: int) -> npt.NDArray[np.float64]:
        """Its signed weights over all singular vectors of the layer: shape (rank,)."""
        row = np.zeros(rank)
        row[list(self.singular_vectors)] = np.multiply(self._signs, self.weights or 1.0)
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
