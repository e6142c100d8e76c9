"""One layer from its significance table to hypergraph, relations of classes and hierarchy."""

from __future__ import annotations

from dataclasses import dataclass

import hypernetx as hnx
import xarray as xr

from ddp_tasks.class_relations import relations_dataset
from ddp_tasks.hypergraph import hypergraph, why_empty
from ddp_tasks.semantic_hierarchy import SemanticHierarchy, semantic_hierarchy


@dataclass(frozen=True)
class LayerHypergraph:
    """What section 5 makes of one layer."""

    graph: hnx.Hypergraph
    relations: xr.Dataset
    """the group ``hypergraphs/LAYER``."""
    hierarchy: SemanticHierarchy

    @property
    def empty(self) -> str:
        """Why the hypergraph is empty; empty text where it is not."""
        return str(self.relations["empty"].item())


def layer_hypergraph(
    table: xr.Dataset,
    of_layer: xr.Dataset,
    levels: tuple[float, float],
) -> LayerHypergraph:
    """Hypergraph, relations of classes and semantic hierarchy of one layer.

    Parameters
    ----------
    table
        the layer's slice of the significance, as ``significance.layer_table`` gives it.
    of_layer
        the layer's slice of the store's group ``layers``.
    levels
        quantile level and percentage p.
    """
    names = [str(name) for name in table["target_class"].to_numpy()]
    layer = str(of_layer["layer"].item())
    significant, fraction = table["significant"].to_numpy(), table["fraction"].to_numpy()
    quantile, percentage = levels
    graph = hypergraph(
        significant,
        fraction,
        names,
        of_layer["singular_value"].to_numpy(),
        layer,
        node_properties={
            "relative_gap": of_layer["relative_gap"].to_numpy(),
            "discrimination": table["discrimination"].to_numpy(),
        },
        edge_properties={"images": table["images"].to_numpy()},
    )
    empty = why_empty(
        fraction,
        significant,
        names,
        threshold=float(table["threshold"]),
        quantile=quantile,
        percentage=percentage,
    )
    relations = relations_dataset(significant, graph, names, empty)
    return LayerHypergraph(graph, relations, semantic_hierarchy(significant))
