"""The family of hypergraphs that quantile level, percentage and direction span (section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.sizes import Sizes, sizes
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import least_images, significant_images
from ddp_tasks.weights.signed_vectors import DIRECTIONS, interleaved, signed_vector
from schemas.parameters import RunError
from schemas.run_files import nearest

#: Direction of hypergraphs whose nodes have both.
BOTH = "both"

_SIZES = tuple(field.name for field in fields(Sizes))


@dataclass(frozen=True)
class Family:
    """All hypergraphs of one layer; fractions are read only when a query needs them.

    Their nodes and hyperedges are those of the images that choose.

    References
    ----------
    Praggastis et al. 2022, section 5.1, last paragraph.
    """

    layer: str
    significance: xr.Dataset
    """the layer's part of the store's group ``significance``, or of the same over superclasses."""

    @classmethod
    def of(cls, significance: xr.Dataset, layer: str) -> Family:
        """The family of a layer.

        Raises
        ------
        RunError
            If the layer is not stored, naming the nearest.
        """
        layers = [str(name) for name in significance["layer"].to_numpy()]
        if layer not in layers:
            raise RunError(
                f"there is no layer {layer!r}{nearest(layer, layers)}; layers: {', '.join(layers)}"
            )
        return cls(layer, significance.sel(layer=layer))

    @cached_property
    def images(self) -> npt.NDArray[np.int64]:
        """Images of each class that choose; shape (class,)."""
        return np.asarray(self.significance["images"].to_numpy()[0])

    def at(
        self, quantile: float, percentage: float, directions: Sequence[str] = DIRECTIONS
    ) -> LayerTable:
        """The hypergraph at one place of the family.

        Parameters
        ----------
        quantile
            one of the stored levels.
        percentage
            p, any number above 0 and at most 100.
        directions
            of the nodes.

        Raises
        ------
        RunError
            If the level or direction is not stored, or the percentage is out of range.
        """
        if not 0 < percentage <= 100:
            raise RunError(f"percentage: {percentage:g} is refused; above 0 and at most 100")
        stored = self.significance["quantile"].to_numpy()
        level = int(np.abs(stored - quantile).argmin())
        if not abs(stored[level] - quantile) <= 1e-9:  # so that NaN is refused too
            known = ", ".join(f"{q:g}" for q in stored)
            raise RunError(f"quantile level {quantile:g} is not stored; stored: {known}")
        return LayerTable.of(self.significance, float(stored[level]), percentage, directions)

    def highest_level(
        self, percentage: float, directions: Sequence[str] = DIRECTIONS
    ) -> npt.NDArray[np.float64]:
        """The greatest quantile level at which each incidence holds.

        A fraction never rises with the level, so an incidence holds at every stored level up to
        this one. It holds for every p up to the fraction itself.

        Returns
        -------
        shape (class, node); NaN where it holds at no stored level
        """
        levels = self.significance["quantile"].to_numpy()
        held = [self.at(level, percentage, directions).significant for level in levels]
        greatest = np.full_like(held[0], np.nan, dtype=np.float64)
        for level, significant in zip(levels, held, strict=True):
            greatest[significant] = level
        return greatest

    def sizes(self, percentages: Sequence[float]) -> xr.Dataset:
        """Sizes of all hypergraphs of the family, over (direction, quantile, percentage).

        The nodes of a hypergraph have the positive direction, the negative one, or both.

        Parameters
        ----------
        percentages
            ascending.
        """
        directions = [*self.significance["direction"].to_numpy().tolist(), BOTH]
        shape = (len(directions), self.significance.sizes["quantile"], len(percentages))
        tables = {name: np.zeros(shape, dtype=np.int64) for name in _SIZES}
        least = [least_images(self.images, percentage)[:, None] for percentage in percentages]
        for level in range(shape[1]):
            counts = [
                significant_images(self._fraction(direction, level), self.images).astype(np.int32)
                for direction in range(len(directions) - 1)
            ]
            for place, enough in enumerate(least):
                held = [count >= enough for count in counts]
                for number, significant in enumerate([*held, interleaved(held)]):
                    slice_sizes = sizes(significant)
                    for name in _SIZES:
                        tables[name][number, level, place] = getattr(slice_sizes, name)
        dims = ("direction", "quantile", "percentage")
        return xr.Dataset(
            {name: (dims, values) for name, values in tables.items()},
            coords={
                "direction": np.array(directions, dtype=object),
                "quantile": self.significance["quantile"],
                "percentage": np.asarray(percentages, dtype=np.float64),
            },
        )

    def _fraction(self, direction: int, level: int) -> npt.NDArray[np.float32]:
        """Fractions at one direction and level, up to the rank; without images, of no vector."""
        place = {"split": 0, "direction": direction, "quantile": level}
        fraction = self.significance["fraction"].isel(place).to_numpy()
        return np.asarray(fraction[:, : np.isfinite(fraction).any(axis=0).sum()])


def family_dataset(significance: xr.Dataset, percentages: Sequence[float]) -> xr.Dataset:
    """The group ``family``: sizes over all levels, percentages, directions and layers.

    Parameters
    ----------
    significance
        the store's group ``significance``.
    percentages
        ascending.
    """
    layers = [str(name) for name in significance["layer"].to_numpy()]
    layer_sizes = [Family.of(significance, layer).sizes(percentages) for layer in layers]
    joined = xr.concat(layer_sizes, dim="layer").assign_coords(layer=np.array(layers, dtype=object))
    return joined.transpose("direction", "quantile", "percentage", "layer").drop_vars(
        [name for name in ("threshold", "images") if name in joined.coords]
    )


def why_empty(table: LayerTable) -> str:
    """Why a layer's hypergraph is empty and what would fill it; empty text where it is not."""
    if table.significant.any():
        return ""
    fraction = table.selection_fraction
    if not np.isfinite(fraction).any():
        return "No class has an image with signals."
    c, v = np.unravel_index(np.nanargmax(fraction), fraction.shape)
    greatest, node = float(fraction[c, v]), signed_vector(int(v), table.directions)
    threshold = table.thresholds[int(v) % len(table.directions)]
    q = f"q = {threshold:.3g}, the layer's quantile at level {table.quantile:g}"
    if greatest == 0:
        return (
            f"No signal exceeds {q}: the signals above that level are all equal. A lower level "
            "may tell them apart."
        )
    return (
        f"No singular vector exceeds {q}, in at least {table.percentage:g} % of any class. The "
        f"greatest share is {100 * greatest:.3g} %, of {table.target_classes[int(c)]} for "
        f"{node}: lower p to that, or the quantile level."
    )
