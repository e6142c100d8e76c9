"""One layer from its significance table to hypergraph, relations of classes and hierarchy."""

from __future__ import annotations

from dataclasses import dataclass

import hypernetx as hnx
import xarray as xr

from ddp_tasks.hypergraphs.class_relations import relations_dataset
from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.hypergraphs.semantic_hierarchy import SemanticHierarchy, semantic_hierarchy


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


def layer_hypergraph(
    table: xr.Dataset, of_layer: xr.Dataset, levels: tuple[float, float]
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
    names, significant = _names(table), table["significant"].to_numpy()
    quantile, percentage = levels
    empty = why_empty(
        table["fraction"].to_numpy(),
        significant,
        names,
        threshold=float(table["threshold"]),
        quantile=quantile,
        percentage=percentage,
    )
    graph = layer_graph(table, of_layer)
    relations = relations_dataset(significant, graph, names, empty)
    return LayerHypergraph(graph, relations, semantic_hierarchy(significant))


def layer_graph(table: xr.Dataset, of_layer: xr.Dataset) -> hnx.Hypergraph:
    """The hypergraph alone, with all known properties of nodes, hyperedges and incidences.

    Parameters
    ----------
    table, of_layer
        as ``layer_hypergraph`` takes them; the table may be over groups of classes.
    """
    return hypergraph(
        table["significant"].to_numpy(),
        table["fraction"].to_numpy(),
        _names(table),
        of_layer["singular_value"].to_numpy(),
        str(of_layer["layer"].item()),
        node_properties={
            "relative_gap": of_layer["relative_gap"].to_numpy(),
            "discrimination": table["discrimination"].to_numpy(),
        },
        edge_properties={"images": table["images"].to_numpy()},
    )


def file_metadata(
    run: str, table: xr.Dataset, percentage: float, empty: str, hyperedges: str = "target_class"
) -> dict[str, float | str]:
    """Metadata for the file of a hypergraph: its place in the family, and why it is empty.

    Parameters
    ----------
    run
        name of the run.
    table
        as ``layer_hypergraph`` takes it.
    empty
        why the hypergraph is empty; empty text where it is not.
    hyperedges
        what they are, ``target_class`` or ``superclass``.
    """
    return {
        "run": run,
        "hyperedges": hyperedges,
        "direction": str(table["direction"].item()),
        "quantile": float(table["quantile"]),
        "threshold": float(table["threshold"]),
        "percentage": percentage,
        **({"empty": empty} if empty else {}),
    }


def _names(table: xr.Dataset) -> list[str]:
    return [str(name) for name in table["target_class"].to_numpy()]
