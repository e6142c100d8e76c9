"""Hypergraphs from the stored significance: those of a run, in its workers, and any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import hypernetx as hnx
import xarray as xr

from ddp_tasks import hif, store
from ddp_tasks.layer_hypergraphs import file_metadata, layer_graph, layer_hypergraph
from ddp_tasks.semantic_hierarchy import SemanticHierarchy
from ddp_tasks.significance import layer_table
from ddp_tasks.stored_significance import StoredSignificance
from schemas.parameters import SignificanceParameters


@dataclass(frozen=True)
class BuiltHypergraph:
    """What a layer's hypergraph leaves beside its file."""

    relations: xr.Dataset
    """the group ``hypergraphs/LAYER``."""
    hierarchy: SemanticHierarchy


def built_hypergraph(
    path: str, folder: str, run: str, levels: SignificanceParameters, layer: str
) -> BuiltHypergraph:
    """Build a layer's hypergraph at its own levels and write ``LAYER.hif.json``.

    Parameters
    ----------
    path
        of the store, whose significance is known.
    folder
        that receives the file.
    run
        name of the run.
    """
    quantile, percentage = levels.of_layer(layer)
    table = layer_table(store.read(Path(path), "significance"), layer, quantile, percentage)
    of_layer = store.read(Path(path), "layers").sel(layer=layer).load()
    found = layer_hypergraph(table, of_layer, (quantile, percentage))
    metadata = file_metadata(run, table, percentage, found.empty)
    hif.write_hif(found.graph, metadata, Path(folder) / f"{layer}.hif.json")
    return BuiltHypergraph(found.relations, found.hierarchy)


def stored_hypergraph(
    stored: StoredSignificance,
    layer: str,
    quantile: float | None = None,
    percentage: float | None = None,
    direction: str = "positive",
) -> tuple[hnx.Hypergraph, dict[str, float | str]]:
    """A hypergraph of a layer's family, and what a file of it says of its place there.

    At the layer's own levels and in the positive direction the hypergraph is that which the run
    wrote to ``hypergraphs/LAYER.hif.json``. ``hif.write_hif`` takes what is returned.

    Raises
    ------
    RunError
        If the layer, level or direction is not stored.
    """
    levels = stored.levels(layer, quantile, percentage)
    empty = stored.family(layer).at(*levels, direction).empty_because()
    table = layer_table(stored.significance, layer, *levels, direction)
    metadata = file_metadata(stored.run.name, table, levels[1], empty, stored.class_axis)
    return layer_graph(table, stored.layers.sel(layer=layer)), metadata
