"""Which parts of a layer's diagrams depend on the images that were taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.semantic_hierarchy import node_members
from ddp_tasks.weights.signed_vectors import by_nodes


def edge_shares(stability: xr.Dataset | None) -> dict[tuple[int, int], float]:
    """Share of resamples in which each edge of a hierarchy holds, by its equivalence classes.

    Parameters
    ----------
    stability
        the store's group ``stability/LAYER``; None where nothing was resampled.
    """
    if stability is None:
        return {}
    ends = (stability[name].to_numpy().tolist() for name in ("general", "specific"))
    share = stability["inclusion"].to_numpy().tolist()
    of_edges = zip(zip(*ends, strict=True), share, strict=True)
    return {edge: one for edge, one in of_edges if np.isfinite(one)}


def least_shares(
    hierarchy: xr.Dataset, stability: xr.Dataset | None
) -> npt.NDArray[np.float64] | None:
    """Of each equivalence class and target class the least share of resamples of its vectors.

    Parameters
    ----------
    hierarchy, stability
        the store's groups ``hierarchies/LAYER`` and ``stability/LAYER``.

    Returns
    -------
    shape (equivalence class, target class); 1 for target classes that are not its own; None
    without resamples
    """
    if stability is None or not np.isfinite(stability["incidence"]).any():
        return None
    share = by_nodes(stability["incidence"].sel(direction=hierarchy["direction"]), "target_class")
    least = np.stack([share[:, members].min(axis=1) for members in node_members(hierarchy)])
    return np.where(hierarchy["target_classes"].to_numpy(), np.nan_to_num(least, nan=1.0), 1.0)
