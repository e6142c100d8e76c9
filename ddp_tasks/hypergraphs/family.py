"""The family of hypergraphs that quantile level, percentage and direction span (section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs import sizes as hierarchy_depth
from ddp_tasks.hypergraphs.semantic_hierarchy import SemanticHierarchy, semantic_hierarchy
from ddp_tasks.significance.tables import least_images, significant_images
from schemas.parameters import RunError
from schemas.run_files import nearest

_SIZES = tuple(field.name for field in fields(hierarchy_depth.Sizes))


@dataclass(frozen=True)
class Slice:
    """One hypergraph of a family, as a table: hyperedges are target classes, nodes vectors."""

    layer: str
    quantile: float
    percentage: float
    direction: str
    threshold: float
    """q, in the units of the layer's output before bias."""
    target_classes: tuple[str, ...]
    fraction: npt.NDArray[np.float32]
    """shape (class, singular vector)."""
    significant: npt.NDArray[np.bool_]
    """shape (class, singular vector); the incidences."""
    images: npt.NDArray[np.int64]
    """shape (class,)."""

    def sizes(self) -> hierarchy_depth.Sizes:
        """Nodes, hyperedges, incidences, equivalence classes, and depth of the hierarchy."""
        return hierarchy_depth.sizes(self.significant)

    def hierarchy(self) -> SemanticHierarchy:
        """Equivalence classes and their partial order."""
        return semantic_hierarchy(self.significant)

    def empty_because(self) -> str:
        """Why the hypergraph is empty and what to change; empty text where it is not."""
        return why_empty(
            self.fraction,
            self.significant,
            self.target_classes,
            threshold=self.threshold,
            quantile=self.quantile,
            percentage=self.percentage,
        )


@dataclass(frozen=True)
class Family:
    """All hypergraphs of one layer; fractions are read only when a query needs them.

    References
    ----------
    Praggastis et al. 2022, section 5.1, last paragraph.
    """

    layer: str
    table: xr.Dataset
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
        """Images of each class; shape (class,)."""
        return np.asarray(self.table["images"].to_numpy())

    def at(self, quantile: float, percentage: float, direction: str = "positive") -> Slice:
        """The hypergraph at one place of the family.

        Parameters
        ----------
        quantile
            one of the stored levels.
        percentage
            p, any number above 0 and at most 100.

        Raises
        ------
        RunError
            If the level or direction is not stored, or the percentage is out of range.
        """
        if not 0 < percentage <= 100:
            raise RunError(f"percentage: {percentage:g} is refused; above 0 and at most 100")
        stored = self.table["quantile"].to_numpy()
        level = int(np.abs(stored - quantile).argmin())
        if not abs(stored[level] - quantile) <= 1e-9:  # so that NaN is refused too
            known = ", ".join(f"{q:g}" for q in stored)
            raise RunError(f"quantile level {quantile:g} is not stored; stored: {known}")
        directions = [str(d) for d in self.table["direction"].to_numpy()]
        if direction not in directions:
            raise RunError(f"direction {direction!r} is not stored; stored: {directions}")
        place = {"direction": directions.index(direction), "quantile": level}
        fraction = self._fraction(**place)
        count = significant_images(fraction, self.images)
        return Slice(
            layer=self.layer,
            quantile=float(stored[level]),
            percentage=percentage,
            direction=direction,
            threshold=float(self.table["threshold"].isel(place)),
            target_classes=tuple(str(c) for c in self.table["target_class"].to_numpy()),
            fraction=fraction,
            significant=count >= least_images(self.images, percentage)[:, None],
            images=self.images,
        )

    def highest_level(self, percentage: float, direction: str = "positive") -> xr.DataArray:
        """The greatest quantile level at which each incidence holds.

        A fraction never rises with the level, so an incidence holds at every stored level up to
        this one. It holds for every p up to the fraction itself.

        Returns
        -------
        dims (target_class, singular_vector); NaN where it holds at no stored level
        """
        levels = self.table["quantile"].to_numpy()
        held = [self.at(level, percentage, direction).significant for level in levels]
        greatest = np.full_like(held[0], np.nan, dtype=np.float64)
        for level, significant in zip(levels, held, strict=True):
            greatest[significant] = level
        return xr.DataArray(
            greatest,
            dims=("target_class", "singular_vector"),
            coords={
                "target_class": self.table["target_class"],
                "singular_vector": np.arange(greatest.shape[1]),
            },
            attrs={"long_name": "greatest quantile level at which the incidence holds"},
        )

    def sizes(self, percentages: Sequence[float]) -> xr.Dataset:
        """Sizes of all hypergraphs of the family, over (direction, quantile, percentage).

        Parameters
        ----------
        percentages
            ascending.
        """
        shape = (self.table.sizes["direction"], self.table.sizes["quantile"], len(percentages))
        tables = {name: np.zeros(shape, dtype=np.int64) for name in _SIZES}
        least = [least_images(self.images, percentage)[:, None] for percentage in percentages]
        for direction, level in np.ndindex(shape[:2]):
            fraction = self._fraction(direction=direction, quantile=level)
            count = significant_images(fraction, self.images).astype(np.int32)
            for place, enough in enumerate(least):
                slice_sizes = hierarchy_depth.sizes(count >= enough)
                for name in _SIZES:
                    tables[name][direction, level, place] = getattr(slice_sizes, name)
        dims = ("direction", "quantile", "percentage")
        return xr.Dataset(
            {name: (dims, values) for name, values in tables.items()},
            coords={
                "direction": self.table["direction"],
                "quantile": self.table["quantile"],
                "percentage": np.asarray(percentages, dtype=np.float64),
            },
        )

    def _fraction(self, **place: int) -> npt.NDArray[np.float32]:
        """Fractions at one direction and level, up to the rank; without images, of no vector."""
        fraction = self.table["fraction"].isel({**place}).to_numpy()
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


def why_empty(
    fraction: npt.NDArray[np.float32],
    significant: npt.NDArray[np.bool_],
    target_classes: Sequence[str],
    *,
    threshold: float,
    quantile: float,
    percentage: float,
) -> str:
    """Why a layer's hypergraph is empty and what would fill it; empty text where it is not.

    Parameters
    ----------
    fraction, significant
        shape (class, singular vector).
    threshold, quantile
        q, and the quantile level that chose it.
    percentage
        p.
    """
    if significant.any():
        return ""
    if not np.isfinite(fraction).any():
        return "No class has an image with signals."
    c, v = np.unravel_index(np.nanargmax(fraction), fraction.shape)
    greatest = float(fraction[c, v])
    q = f"q = {threshold:.3g}, the layer's quantile at level {quantile:g}"
    if greatest == 0:
        return (
            f"No signal exceeds {q}: the signals above that level are all equal. A lower level "
            "may tell them apart."
        )
    return (
        f"No singular vector exceeds {q}, in at least {percentage:g} % of any class. The greatest "
        f"share is {100 * greatest:.3g} %, of {target_classes[int(c)]} for v{int(v)}: lower p to "
        "that, or the quantile level."
    )
