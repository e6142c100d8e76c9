"""A layer's hierarchy in one direction of its signals, of a run whose nodes have both.

A run stores the hierarchy of all its nodes. Those of one direction by themselves have other
equivalence classes and other edges, so their hierarchy is found and resampled anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.hypergraphs.semantic_hierarchy import hierarchy_dataset, semantic_hierarchy
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import Parts, of_part
from ddp_tasks.significance.stability import resampled_findings
from ddp_tasks.visualization.exemplars import exemplars_of_sets
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors, signs


@dataclass(frozen=True)
class OneDirection:
    """What a layer's diagrams in one direction show."""

    hierarchy: xr.Dataset
    """as the group ``hierarchies/LAYER``, with the same nodes; those of the other direction are in
    no equivalence class."""
    stability: xr.Dataset | None
    """as the group ``stability/LAYER``, without its samples; None without resamples."""


@dataclass(frozen=True)
class LayerSignals:
    """A layer's signals with what is recorded of their images."""

    parts: Parts
    images: RecordedImages
    choosing: npt.NDArray[np.int8]
    """shape (image,); 0 where an image chose what is significant."""
    pictured: npt.NDArray[np.int8]
    """shape (image,); 1 where the run keeps a picture."""


def one_direction(
    table: LayerTable,
    vectors: LayerVectors,
    signals: LayerSignals,
    direction: str,
    *,
    stability: xr.Dataset | None,
    resamples: int,
) -> OneDirection:
    """A layer's hierarchy in one direction; its exemplars are images with a picture.

    Reads the layer's signals once, and once more for the resamples.

    Parameters
    ----------
    table
        of all directions of the run, at the layer's own levels.
    direction
        one of these.
    stability
        the store's group ``stability/LAYER``; None where nothing was resampled.
    resamples
        of the bootstrap; 0 for none.
    """
    place = table.directions.index(direction)
    own = np.arange(table.significant.shape[1]) % len(table.directions) == place
    found = semantic_hierarchy(table.significant & own)
    nodes = SignedVectors(vectors, table.directions)
    sets = [
        signs(nodes[node] for node in np.flatnonzero(row).tolist())
        for row in found.singular_vectors
    ]
    pictured = of_part(signals.parts, signals.pictured, 1)
    exemplars = exemplars_of_sets(pictured, sets, 1, len(table.target_classes))
    ids = signals.images.ids
    hierarchy = hierarchy_dataset(found, nodes, table.target_classes, exemplars, ids)
    if stability is None or not resamples or not len(found):
        return OneDirection(hierarchy, None)
    resampled = resampled_findings(
        of_part(signals.parts, signals.choosing, 0),
        {direction: table.thresholds[place]},
        hierarchy.sel(direction=[direction]),
        table.percentage,
        resamples,
    )
    # An incidence holds or not whatever the other nodes are.
    edges = resampled.drop_dims("direction")
    return OneDirection(hierarchy, edges.assign(incidence=stability["incidence"]))
