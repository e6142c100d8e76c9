"""A layer's family over (q, p) in the report, and how certain the layer's findings are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures import class_heatmaps, family_figures
from ddp_tasks.figures.hypergraph_figures import equivalence_class_labels
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.stability import SURE
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import by_nodes
from schemas.parameters import SignificanceParameters

_EDGES_NAMED = 4


@dataclass(frozen=True)
class Certainty:
    """Numbers that say how certain the findings of one layer are."""

    resamples: int
    incidences: int
    unsure_incidences: int
    """incidences that hold in fewer than 95 % of the resamples."""
    near_misses: int
    """pairs that are an incidence in more than 5 % of the resamples, but not in the run."""
    classes: int
    unsure_classes: int
    """equivalence classes that are split in more than 5 % of the resamples."""
    edges: int
    unsure_edges: tuple[str, ...]
    more_edges: int
    """unsure edges past those named."""
    samples: tuple[tuple[int, float, float], ...]
    """images a class, the sample's q of the first direction, and its difference from the layer's q
    over that."""


def certainty(
    stability: xr.Dataset | None,
    table: LayerTable,
    hierarchy: xr.Dataset,
    layer: LayerVectors,
    levels: SignificanceParameters,
) -> Certainty | None:
    """How certain the findings of one layer are; None if the run tested nothing.

    Parameters
    ----------
    stability
        the store's group ``stability/LAYER``.
    table
        at the layer's own levels.
    hierarchy
        the store's group ``hierarchies/LAYER``.
    """
    if stability is None:
        return None
    share = by_nodes(stability["incidence"], "target_class")
    significant = table.significant
    labels = equivalence_class_labels(hierarchy, layer)
    weak = family_figures.unsure_edges(stability, labels, SURE)
    q = table.thresholds[0]
    level = int(np.abs(stability["quantile"].to_numpy() - table.quantile).argmin())
    at = stability.isel(direction=0, quantile=level)
    return Certainty(
        resamples=levels.resamples,
        incidences=int(significant.sum()),
        unsure_incidences=int((significant & (share < SURE)).sum()),
        near_misses=int((~significant & (share > 1 - SURE)).sum()),
        classes=hierarchy.sizes["equivalence_class"],
        unsure_classes=int((stability["together"] < SURE).sum()),
        edges=stability.sizes["cover"],
        unsure_edges=tuple(f"{a} → {b} ({share:.0%})" for a, b, share in weak[:_EDGES_NAMED]),
        more_edges=max(0, len(weak) - _EDGES_NAMED),
        samples=tuple(
            (int(size), float(sampled), float(difference) / abs(q) if q else float("nan"))
            for size, sampled, difference in zip(
                at["images_a_class"].to_numpy(),
                at["threshold_of_sample"].to_numpy(),
                at["threshold_difference"].to_numpy(),
                strict=True,
            )
        ),
    )


def family_figures_of(
    family: xr.Dataset,
    highest_level: npt.NDArray[np.float64],
    stability: xr.Dataset | None,
    table: LayerTable,
    layer: LayerVectors,
    *,
    levels: SignificanceParameters,
) -> Mapping[str, hv.Overlay]:
    """Figures of one layer by kind: the maps always, the others if they have something to show.

    Parameters
    ----------
    family
        the store's group ``family``.
    highest_level
        as ``Family.highest_level`` returns it, at the layer's own percentage.
    stability, table, layer
        as in ``certainty``.
    """
    own = (table.quantile, table.percentage)
    mapped = family.sel(layer=table.layer, direction=table.direction)
    drawn = {
        f"family {quantity}": family_figures.family_map(mapped, quantity, own)
        for quantity in family_figures.MAPPED
    }
    if not table.significant.any():
        return drawn
    drawn["highest level"] = class_heatmaps.highest_level_heatmap(
        highest_level, table, layer, mapped["quantile"].to_numpy().tolist()
    )
    drawn["intervals"] = family_figures.intervals(table, layer, levels.confidence)
    drawn["discrimination"] = family_figures.discrimination_bars(table, layer)
    if stability is not None and levels.resamples and class_heatmaps.undecided(stability).any():
        drawn["stability"] = class_heatmaps.stability_heatmap(stability, table, layer)
    return drawn
