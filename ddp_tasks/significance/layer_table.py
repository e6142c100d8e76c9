"""One layer's table of classes and singular vectors, at one quantile level and percentage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.significance.significance import by_discrimination, discrimination, significant

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True)
class LayerTable:
    """A layer's slice of the significance, over its singular vectors 0 to rank - 1.

    As a hypergraph its hyperedges are the target classes and its nodes the singular vectors.
    """

    layer: str
    direction: str
    """positive or negative."""
    quantile: float
    """quantile level, one of those stored."""
    percentage: float
    """p, above 0 and at most 100."""
    threshold: float
    """q, in the units of the layer's output before bias."""
    target_classes: tuple[str, ...]
    """names of the classes, or of groups of classes."""
    images: Shaped[npt.NDArray[np.int64], " class"]
    """number of images of each class."""
    fraction: Shaped[npt.NDArray[np.float32], "class singular_vector"]
    """share of the class's images for which the vector is significant; NaN for a class without
    images."""
    significant: Shaped[npt.NDArray[np.bool_], "class singular_vector"]
    """whether that share is at least p: the incidences."""

    @classmethod
    def of(
        cls,
        significance: xr.Dataset,
        quantile: float,
        percentage: float,
        direction: str = "positive",
    ) -> LayerTable:
        """Read one slice.

        Parameters
        ----------
        significance
            the layer's part of the store's group ``significance``, or of the same over
            superclasses.
        quantile
            one of the stored levels.

        Raises
        ------
        KeyError
            If the level or direction is not stored.
        """
        at = {
            "direction": _position(significance, "direction", direction),
            "quantile": _position(significance, "quantile", quantile),
        }
        fraction = significance.variables["fraction"].isel(at).to_numpy()
        images = significance.variables["images"].to_numpy()
        fraction = fraction[:, np.isfinite(fraction).any(axis=0)]
        return cls(
            layer=str(significance.variables["layer"].to_numpy()),
            direction=direction,
            quantile=float(significance.variables["quantile"][at["quantile"]]),
            percentage=percentage,
            threshold=float(significance.variables["threshold"].isel(at)),
            target_classes=tuple(map(str, significance.variables["target_class"].to_numpy())),
            images=images,
            fraction=fraction,
            significant=significant(fraction, images, percentage),
        )

    @cached_property
    def eta_squared(self) -> Shaped[npt.NDArray[np.float64], " singular_vector"]:
        """η² of each singular vector; see ``discrimination``."""
        return discrimination(self.fraction, self.images)

    def most_discriminating(self) -> npt.NDArray[np.int64]:
        """The singular vectors that are significant for a class, greatest η² first.

        Raises
        ------
        ValueError
            If no singular vector is significant for any class.
        """
        ranked = by_discrimination(self.eta_squared)
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
