"""One layer's significance at one quantile level and percentage: a table of classes and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.significance import by_discrimination, discrimination, significant
from ddp_tasks.weights.signed_vectors import DIRECTIONS, interleaved

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True)
class LayerTable:
    """A layer's slice of the significance, over the nodes of its hypergraph.

    Its hyperedges are the target classes; its nodes are singular vectors with a direction, in the
    order of ``SignedVectors``. What is significant was chosen on one part of the images, and
    fractions and η² are told on the other; without a split both are the whole set.
    """

    layer: str
    directions: tuple[str, ...]
    """positive, negative or both."""
    quantile: float
    """quantile level, one of those stored."""
    percentage: float
    """p, above 0 and at most 100."""
    thresholds: tuple[float, ...]
    """q of each direction, in the units of the layer's output before bias."""
    target_classes: tuple[str, ...]
    """names of the classes, or of groups of classes."""
    images: Shaped[npt.NDArray[np.int64], " class"]
    """number of images of each class that the fractions are told on."""
    fraction: Shaped[npt.NDArray[np.float32], "class node"]
    """share of these images for which the node is significant; NaN for a class without images."""
    selection_images: Shaped[npt.NDArray[np.int64], " class"]
    """number of images of each class that chose."""
    selection_fraction: Shaped[npt.NDArray[np.float32], "class node"]
    """share of those for which the node is significant."""
    significant: Shaped[npt.NDArray[np.bool_], "class node"]
    """whether that share is at least p: the incidences."""

    @classmethod
    def of(
        cls,
        significance: xr.Dataset,
        quantile: float,
        percentage: float,
        directions: Sequence[str] = DIRECTIONS,
    ) -> LayerTable:
        """Read one slice.

        Parameters
        ----------
        significance
            the layer's part of the store's group ``significance``, or of the same over
            superclasses.
        quantile
            one of the stored levels.
        directions
            of the nodes.

        Raises
        ------
        KeyError
            If the level or a direction is not stored.
        """
        level = _position(significance, "quantile", quantile)
        places = [_position(significance, "direction", direction) for direction in directions]
        stored = significance.variables["fraction"].isel(quantile=level)
        of_directions = [stored.isel(direction=place).to_numpy() for place in places]
        # The parts of the images come first; the first chooses, the last judges.
        fraction = interleaved(of_directions)
        within = np.isfinite(fraction).any(axis=(0, 1))
        if not within.all():  # a copy of a large table takes long
            fraction = fraction[..., within]
        images = significance.variables["images"].to_numpy()
        threshold = significance.variables["threshold"].isel(quantile=level).to_numpy()
        return cls(
            layer=str(significance.variables["layer"].to_numpy()),
            directions=tuple(directions),
            quantile=float(significance.variables["quantile"][level]),
            percentage=percentage,
            thresholds=tuple(threshold[places].tolist()),
            target_classes=tuple(map(str, significance.variables["target_class"].to_numpy())),
            images=images[-1],
            fraction=fraction[-1],
            selection_images=images[0],
            selection_fraction=fraction[0],
            significant=significant(fraction[0], images[0], percentage),
        )

    def at_percentage(self, percentage: float) -> LayerTable:
        """The same table at another p; its fractions are not read again."""
        other = replace(
            self,
            percentage=percentage,
            significant=significant(self.selection_fraction, self.selection_images, percentage),
        )
        # η² knows no p, and of thousands of classes takes long.
        known = ("eta_squared", "selection_eta_squared")
        other.__dict__.update(
            {name: self.__dict__[name] for name in known if name in self.__dict__}
        )
        return other

    @property
    def direction(self) -> str:
        """positive, negative or both."""
        return self.directions[0] if len(self.directions) == 1 else "both"

    @cached_property
    def eta_squared(self) -> Shaped[npt.NDArray[np.float64], " node"]:
        """η² of each node, told on the images that judge; see ``discrimination``."""
        return discrimination(self.fraction, self.images)

    @cached_property
    def selection_eta_squared(self) -> Shaped[npt.NDArray[np.float64], " node"]:
        """η² of each node on the images that chose: by it nodes are ranked, never told."""
        return discrimination(self.selection_fraction, self.selection_images)

    def most_discriminating(self) -> npt.NDArray[np.int64]:
        """The nodes that are significant for a class, greatest η² first.

        The order is that of the images that chose, so that what is told of the first ones is not
        flattered by their having been picked.

        Raises
        ------
        ValueError
            If no singular vector is significant for any class.
        """
        ranked = by_discrimination(self.selection_eta_squared)
        ranked = ranked[self.significant[:, ranked].any(axis=0)]
        if not len(ranked):
            raise ValueError("no singular vector is significant for any class")
        return ranked


def _position(significance: xr.Dataset, name: str, wanted: float | str) -> int:
    """Where a level or a direction is stored, without xarray's indexes, which take longer."""
    stored = significance.variables[name].to_numpy()
    if isinstance(wanted, str):
        same = stored == wanted
    else:
        apart = np.abs(stored - wanted)
        same = (apart == apart.min()) & (apart <= 1e-9)
    if not same.any():
        raise KeyError(f"{name} {wanted} is not stored; stored: {', '.join(map(str, stored))}")
    return int(same.argmax())
