"""The group ``stability/LAYER``: results of the bootstrap and the samples for one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ddp_tasks.significance.stability import (
    SEED,
    Hierarchy,
    LayerParts,
    bootstrap,
    indicators,
    sample_thresholds,
)
from schemas.parameters import Levels, SignificanceParameters


def made_with(parameters: SignificanceParameters, layer: str) -> Mapping[str, str]:
    """What a layer's stability depends on besides the cube, as the store records it."""
    levels = parameters.levels(layer)
    return {
        "quantile_level": f"{levels.quantile:g}",
        "percentage": f"{levels.percentage:g}",
        "resamples": str(parameters.resamples),
        "sample_sizes": ", ".join(map(str, parameters.sample_sizes)),
        "seed": str(SEED),
    }


def layer_stability(
    parts: LayerParts,
    significance: xr.Dataset,
    hierarchy: xr.Dataset,
    levels: Levels,
    *,
    resamples: int,
    sample_sizes: Sequence[int],
) -> xr.Dataset:
    """Stability of the findings of one layer at one quantile level and percentage.

    Parameters
    ----------
    significance
        the layer's part of the store's group ``significance``.
    hierarchy
        the store's group ``hierarchies/LAYER``, of the same level and percentage.
    resamples
        of the bootstrap; with 0, its shares are NaN.
    sample_sizes
        images per class; sizes that no class exceeds are left out, since they give all images.
    """
    level = int(np.abs(significance["quantile"].to_numpy() - levels.quantile).argmin())
    threshold = significance["threshold"].to_numpy()
    classes = hierarchy.sizes["target_class"]
    order = _order(hierarchy)
    significant = indicators(parts, threshold[:, level].tolist(), classes)
    if resamples:
        # The semantic hierarchy is that of the positive direction.
        positive = bootstrap(significant[0], levels.percentage, resamples, order)
        negative = bootstrap(significant[1], levels.percentage, resamples, _NO_HIERARCHY)
        incidence = np.stack([positive.incidence, negative.incidence])
        together, inclusion = positive.together, positive.inclusion
    else:
        incidence = np.full((2, classes, significant[0].vectors), np.nan, dtype=np.float32)
        together = np.full(len(order.members), np.nan, dtype=np.float32)
        inclusion = np.full(len(order.general), np.nan, dtype=np.float32)
    most = int(significance["images"].to_numpy().max(initial=0))
    sizes = sorted({size for size in sample_sizes if size < most})
    sample_threshold = sample_thresholds(parts, significance["quantile"].to_numpy().tolist(), sizes)
    grid = ("direction", "quantile", "sample")
    return xr.Dataset(
        {
            "incidence": (("direction", "target_class", "singular_vector"), incidence),
            "together": ("equivalence_class", together),
            "general": ("cover", order.general),
            "specific": ("cover", order.specific),
            "inclusion": ("cover", inclusion),
            "images_a_class": ("sample", np.array(sizes, dtype=np.int64)),
            "threshold_of_sample": (grid, sample_threshold),
            "threshold_difference": (grid, sample_threshold - threshold[:, :, None]),
        },
        coords={
            "target_class": hierarchy["target_class"],
            "singular_vector": np.arange(significant[0].vectors),
            "direction": significance["direction"],
            "quantile": significance["quantile"],
        },
    ).drop_vars("layer", errors="ignore")


_NO_HIERARCHY = Hierarchy((), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _order(hierarchy: xr.Dataset) -> Hierarchy:
    general, specific = np.nonzero(hierarchy["covers"].to_numpy())
    members = tuple(np.flatnonzero(m) for m in hierarchy["singular_vectors"].to_numpy())
    return Hierarchy(members, general, specific)
