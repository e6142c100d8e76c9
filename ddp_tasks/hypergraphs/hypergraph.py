"""A layer's hypergraph of classes over singular vectors, with what belongs to it (section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from jaxtyping import Shaped


def hypergraph(
    significant: Shaped[npt.NDArray[np.bool_], "class v"],
    fraction: Shaped[npt.NDArray[np.float32], "class v"],
    target_classes: Sequence[str],
    singular_values: npt.NDArray[np.float64],
    layer: str,
    *,
    node_properties: Mapping[str, npt.NDArray[np.generic]] | None = None,
    edge_properties: Mapping[str, npt.NDArray[np.generic]] | None = None,
) -> hnx.Hypergraph:
    """The hypergraph of a layer: hyperedges are target classes, nodes are singular vectors.

    Classes that no vector is significant for, and vectors significant for no class, are left
    out. The weight of an incidence is the fraction of the class's images; a node carries its
    singular value.

    Parameters
    ----------
    significant, fraction
        shape (class, singular vector).
    target_classes
        names, one per class.
    singular_values
        shape (singular vector,); NaN past the rank.
    layer
        name of the layer, and of the hypergraph.
    node_properties
        further properties by name, shape (singular vector,) each.
    edge_properties
        further properties by name, shape (class,) each.

    References
    ----------
    Praggastis et al. 2022, section 5.1.
    """
    classes, vectors = np.nonzero(significant)
    if not len(classes):
        return hnx.Hypergraph({}, name=layer)
    names = np.array(target_classes, dtype=object)
    incidences = pd.DataFrame(
        {
            "edge": names[classes],
            "node": vectors.astype(object),
            "weight": fraction[classes, vectors].astype(float),
        }
    )
    nodes, edges = np.unique(vectors), np.unique(classes)
    node_columns = {"singular_value": singular_values, **(node_properties or {})}
    edge_columns = {"singular_vectors": significant.sum(axis=1), **(edge_properties or {})}
    return hnx.Hypergraph(
        incidences,
        cell_weight_col="weight",
        node_properties=pd.DataFrame(
            {"node": nodes.astype(object), **{k: v[nodes] for k, v in node_columns.items()}}
        ),
        edge_properties=pd.DataFrame(
            {"edge": names[edges], **{k: v[edges] for k, v in edge_columns.items()}}
        ),
        name=layer,
    )


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
    return hypergraph(
        table.significant,
        table.fraction,
        table.target_classes,
        vectors.singular_values,
        table.layer,
        node_properties={
            "relative_gap": vectors.relative_gaps,
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
