"""A layer's hypergraph of classes over singular vectors, with what belongs to it (section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hypernetx as hnx
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.hypergraphs.class_relations import relations_dataset
from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.semantic_hierarchy import SemanticHierarchy, semantic_hierarchy
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors

if TYPE_CHECKING:
    from jaxtyping import Shaped


def hypergraph(
    significant: Shaped[npt.NDArray[np.bool_], "class v"],
    fraction: Shaped[npt.NDArray[np.float32], "class v"],
    target_classes: Sequence[str],
    nodes: SignedVectors,
    *,
    node_properties: Mapping[str, npt.NDArray[np.generic]] | None = None,
    edge_properties: Mapping[str, npt.NDArray[np.generic]] | None = None,
) -> hnx.Hypergraph:
    """The hypergraph of a layer: hyperedges are target classes, nodes are singular vectors.

    Nodes of both directions are named v3⁺ and v3⁻; those of a single one by their number.
    Classes that no vector is significant for, and vectors significant for no class, are left
    out. The weight of an incidence is the fraction of the class's images; a node carries its
    singular value.

    Parameters
    ----------
    significant, fraction
        shape (class, node).
    target_classes
        names, one per class.
    nodes
        of the layer, which gives the hypergraph its name.
    node_properties
        further properties by name, shape (node,) each.
    edge_properties
        further properties by name, shape (class,) each.

    References
    ----------
    Praggastis et al. 2022, section 5.1.
    """
    classes, incident = np.nonzero(significant)
    if not len(classes):
        return hnx.Hypergraph({}, name=nodes.layer)
    names, node_ids = np.array(target_classes, dtype=object), _identities(nodes)
    incidences = pd.DataFrame(
        {
            "edge": names[classes],
            "node": node_ids[incident],
            "weight": fraction[classes, incident].astype(float),
        }
    )
    used, edges = np.unique(incident), np.unique(classes)
    directions = [nodes[node].direction for node in used.tolist()]
    node_columns = {
        "singular_vector": nodes.singular_vector,
        "singular_value": nodes.singular_values,
        **(node_properties or {}),
    }
    edge_columns = {"singular_vectors": significant.sum(axis=1), **(edge_properties or {})}
    return hnx.Hypergraph(
        incidences,
        cell_weight_col="weight",
        node_properties=pd.DataFrame(
            {
                "node": node_ids[used],
                "direction": directions,
                **{k: v[used] for k, v in node_columns.items()},
            }
        ),
        edge_properties=pd.DataFrame(
            {"edge": names[edges], **{k: v[edges] for k, v in edge_columns.items()}}
        ),
        name=nodes.layer,
    )


def _identities(nodes: SignedVectors) -> npt.NDArray[np.object_]:
    """What a hypergraph calls its nodes."""
    if len(nodes.directions) == 1:
        return nodes.singular_vector.astype(object)
    return np.array([str(nodes[node]) for node in range(len(nodes))], dtype=object)


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


def layer_hypergraph(table: LayerTable, vectors: LayerVectors) -> LayerHypergraph:
    """Hypergraph, relations of classes and semantic hierarchy of one layer."""
    graph = layer_graph(table, vectors)
    relations = relations_dataset(table.significant, graph, table.target_classes, why_empty(table))
    return LayerHypergraph(graph, relations, semantic_hierarchy(table.significant))


def layer_graph(table: LayerTable, vectors: LayerVectors) -> hnx.Hypergraph:
    """The hypergraph alone, with all known properties of nodes, hyperedges and incidences.

    Parameters
    ----------
    table, vectors
        as ``layer_hypergraph`` takes them; the table may be over groups of classes.
    """
    nodes = SignedVectors(vectors, table.directions)
    return hypergraph(
        table.significant,
        table.fraction,
        table.target_classes,
        nodes,
        node_properties={
            "relative_gap": nodes.relative_gaps,
            "discrimination": table.eta_squared,
        },
        edge_properties={"images": table.images},
    )


def file_metadata(run: str, table: LayerTable, hyperedges: str = "target_class") -> dict[str, Any]:
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
        "threshold": dict(zip(table.directions, table.thresholds, strict=True))
        if len(table.thresholds) > 1
        else table.thresholds[0],
        "percentage": table.percentage,
        **({"empty": empty} if empty else {}),
    }
