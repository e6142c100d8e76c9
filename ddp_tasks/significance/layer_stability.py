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
from schemas.parameters import SignificanceParameters


def made_with(levels: SignificanceParameters, layer: str) -> Mapping[str, str]:
    """What a layer's stability depends on besides the cube, as the store records it."""
    quantile, percentage = levels.of_layer(layer)
    return {
        "quantile_level": f"{quantile:g}",
        "percentage": f"{percentage:g}",
        "resamples": str(levels.resamples),
        "sample_sizes": ", ".join(map(str, levels.sample_sizes)),
        "seed": str(SEED),
    }


def layer_stability(
    parts: LayerParts,
    of_layer: xr.Dataset,
    hierarchy: xr.Dataset,
    percentage: float,
    quantile: float,
    *,
    resamples: int,
    sample_sizes: Sequence[int],
) -> xr.Dataset:
    """Stability of the findings of one layer at one quantile level and percentage.

    Parameters
    ----------
    of_layer
        the layer's part of the store's group ``significance``.
    hierarchy
        the store's group ``hierarchies/LAYER``, of the same level and percentage.
    resamples
        of the bootstrap; with 0, its shares are NaN.
    sample_sizes
        images per class; sizes that no class exceeds are left out, since they give all images.
    """
    level = int(np.abs(of_layer["quantile"].to_numpy() - quantile).argmin())
    threshold = of_layer["threshold"].to_numpy()
    classes = hierarchy.sizes["target_class"]
    order = _order(hierarchy)
    significant = indicators(parts, threshold[:, level].tolist(), classes)
    if resamples:
        # The semantic hierarchy is that of the positive direction.
        positive = bootstrap(significant[0], percentage, resamples, order)
        negative = bootstrap(significant[1], percentage, resamples, _NO_HIERARCHY)
        incidence = np.stack([positive.incidence, negative.incidence])
        together, inclusion = positive.together, positive.inclusion
    else:
        incidence = np.full((2, classes, significant[0].vectors), np.nan, dtype=np.float32)
        together = np.full(len(order.members), np.nan, dtype=np.float32)
        inclusion = np.full(len(order.general), np.nan, dtype=np.float32)
    most = int(of_layer["images"].to_numpy().max(initial=0))
    sizes = sorted({size for size in sample_sizes if size < most})
    sample_threshold = sample_thresholds(parts, of_layer["quantile"].to_numpy().tolist(), sizes)
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
            "direction": of_layer["direction"],
            "quantile": of_layer["quantile"],
        },
    ).drop_vars("layer", errors="ignore")


_NO_HIERARCHY = Hierarchy((), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _order(hierarchy: xr.Dataset) -> Hierarchy:
    general, specific = np.nonzero(hierarchy["covers"].to_numpy())
    members = tuple(np.flatnonzero(m) for m in hierarchy["singular_vectors"].to_numpy())
    return Hierarchy(members, general, specific)
