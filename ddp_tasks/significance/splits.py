"""Images split in two: those that choose thresholds and vectors, and those that judge them.

What is chosen because it stands out on some images stands out less on others. So the fractions,
intervals and η² of a finding are told on images that took no part in choosing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schemas.parameters import SignificanceParameters

if TYPE_CHECKING:
    from jaxtyping import Shaped

#: Names of the two parts, along the dimension ``split``.
SELECTION, ESTIMATION = "selection", "estimation"

#: Name of the one part of images that are not split.
ALL = "all"


def part_names(parts: int) -> tuple[str, ...]:
    """Names of the parts of a run's images: one, or two if they are split."""
    return (ALL,) if parts == 1 else (SELECTION, ESTIMATION)


def split_images(
    target: Shaped[npt.NDArray[np.int64], " image"], share: float | None, seed: int
) -> Shaped[npt.NDArray[np.int8], " image"]:
    """Split the images of each class in two at random.

    Parameters
    ----------
    target
        shape (image,); class of each image, negative for those that count nowhere.
    share
        share of each class that chooses, between 0 and 1; rounded to whole images, at least one on
        either side. None splits nothing.
    seed
        determines the draw of each class together with its position, whatever other classes hold.

    Returns
    -------
    shape (image,); 0 for images that choose, 1 for images that judge, all 0 without a split

    Raises
    ------
    ValueError
        If a class has a single image.

    References
    ----------
    Cox 1975, A note on data-splitting for the evaluation of significance levels, Biometrika 62.
    """
    part = np.zeros(len(target), dtype=np.int8)
    if share is None:
        return part
    for c in np.unique(target[target >= 0]).tolist():
        (rows,) = np.nonzero(target == c)
        if len(rows) < 2:
            raise ValueError(f"class {c} has {len(rows)} image, and a split needs 2")
        choosing = min(max(round(share * len(rows)), 1), len(rows) - 1)
        order = np.random.default_rng([seed, c]).permutation(len(rows))
        part[rows[order[choosing:]]] = 1
    return part


@dataclass(frozen=True)
class Split:
    """How a run's images are split; see ``split_images``."""

    share: float | None
    seed: int

    @classmethod
    def of(cls, parameters: SignificanceParameters) -> Split:
        """The split that a run asks for."""
        return cls(parameters.split, parameters.seed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts, the one that chooses first and the one that judges last."""
        return part_names(1 if self.share is None else 2)

    def parts(
        self, target: Shaped[npt.NDArray[np.int64], " image"]
    ) -> Shaped[npt.NDArray[np.int8], " image"]:
        """Position of each image's part along ``names``."""
        return split_images(target, self.share, self.seed)
