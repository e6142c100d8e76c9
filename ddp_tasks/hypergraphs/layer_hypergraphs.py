"""One layer from its significance table to hypergraph, relations of classes and hierarchy."""

from __future__ import annotations

from dataclasses import dataclass

import hypernetx as hnx
import xarray as xr

from ddp_tasks.hypergraphs.class_relations import relations_dataset
from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.hypergraphs.semantic_hierarchy import SemanticHierarchy, semantic_hierarchy
from ddp_tasks.significance.layer_table import LayerTable


@dataclass(frozen=True)
class LayerHypergraph:
    """The results of section 5 for one layer."""

    graph: hnx.Hypergraph
    relations: xr.Dataset
    """the group ``hypergraphs/LAYER``."""
    hierarchy: SemanticHierarchy

    @property
    def empty(self) -> str:
        """Why the hypergraph is empty; empty text where it is not."""
        return str(self.relations["empty"].item())


def layer_hypergraph(table: LayerTable, layer: xr.Dataset) -> LayerHypergraph:
    """Hypergraph, relations of classes and semantic hierarchy of one layer.

    Parameters
    ----------
    layer
        the layer's slice of the store's group ``layers``.
    """
    graph = layer_graph(table, layer)
    relations = relations_dataset(table.significant, graph, table.target_classes, why_empty(table))
    return LayerHypergraph(graph, relations, semantic_hierarchy(table.significant))


def layer_graph(table: LayerTable, layer: xr.Dataset) -> hnx.Hypergraph:
    """The hypergraph alone, with all known properties of nodes, hyperedges and incidences.

    Parameters
    ----------
    table, layer
        as ``layer_hypergraph`` takes them; the table may be over groups of classes.
    """
    return hypergraph(
        table.significant,
        table.fraction,
        table.target_classes,
        layer["singular_value"].to_numpy(),
        table.layer,
        node_properties={
            "relative_gap": layer["relative_gap"].to_numpy(),
            "discrimination": table.eta_squared,
        },
        edge_properties={"images": table.images},
    )


def file_metadata(
    run: str, table: LayerTable, hyperedges: str = "target_class"
) -> dict[str, float | str]:
    """Metadata for the file of a hypergraph: its place in the family, and why it is empty.

    Parameters
    ----------
    run
        name of the run.
    hyperedges
        what they are, ``target_class`` or ``superclass``.
    """
    empty = why_empty(table)
    return {
        "run": run,
        "hyperedges": hyperedges,
        "direction": table.direction,
        "quantile": table.quantile,
        "threshold": table.threshold,
        "percentage": table.percentage,
        **({"empty": empty} if empty else {}),
    }
