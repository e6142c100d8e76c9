"""Hypergraphs from the stored significance: those that a run wrote, and any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypernetx as hnx

from ddp_tasks.hypergraphs.hif import write_hif
from ddp_tasks.hypergraphs.hypergraph import file_metadata, layer_graph
from ddp_tasks.queries.significance import StoredSignificance
from ddp_tasks.weights.layer_vectors import LayerVectors


def stored_hypergraph(
    stored: StoredSignificance,
    layer: str,
    quantile: float | None = None,
    percentage: float | None = None,
    direction: str | None = None,
) -> tuple[hnx.Hypergraph, dict[str, Any]]:
    """A hypergraph of a layer's family, and the metadata that its file holds.

    At the layer's own levels and directions it is the hypergraph that the run
    wrote to ``hypergraphs/LAYER.hif.json``. ``hif.write_hif`` takes what is returned.

    Raises
    ------
    RunError
        If the layer, level or direction is not stored.
    """
    table = stored.at(layer, quantile, percentage, direction)
    metadata = file_metadata(stored.run.name, table, stored.class_axis)
    return layer_graph(table, LayerVectors.of(stored.layers.sel(layer=layer))), metadata


def write_stored_hypergraph(
    stored: StoredSignificance,
    path: Path,
    layer: str,
    *,
    quantile: float | None = None,
    percentage: float | None = None,
    direction: str | None = None,
) -> None:
    """Write a hypergraph of a layer's family as HIF JSON.

    Raises
    ------
    RunError
        If the layer, level or direction is not stored.
    """
    graph, metadata = stored_hypergraph(stored, layer, quantile, percentage, direction)
    write_hif(graph, metadata, path)
