"""One layer's hypergraph from the stored significance, built in a Dask worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from ddp_tasks import hif, store
from ddp_tasks.layer_hypergraphs import file_metadata, layer_hypergraph
from ddp_tasks.semantic_hierarchy import SemanticHierarchy
from ddp_tasks.significance import layer_table
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
