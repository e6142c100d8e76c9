"""Hypergraphs of classes over singular vectors (section 5.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hypernetx as hnx
import numpy as np
import numpy.typing as npt
import pandas as pd


def hypergraph(
    significant: npt.NDArray[np.bool_],
    fraction: npt.NDArray[np.float32],
    target_classes: Sequence[str],
    singular_values: npt.NDArray[np.float64],
    layer: str,
) -> hnx.Hypergraph:
    """The hypergraph of a layer: hyperedges are target classes, nodes are singular vectors.

    Classes that no vector is significant for, and vectors significant for no class, are left
    out. An incidence weighs the fraction of the class's images; a node carries its singular
    value.

    Parameters
    ----------
    significant, fraction
        shape (class, singular vector).
    target_classes
        names, one a class.
    singular_values
        shape (singular vector,); NaN past the rank.
    layer
        name of the layer, and of the hypergraph.

    References
    ----------
    Praggastis et al. 2022, section 5.1.
    """
    classes, vectors = np.nonzero(significant)
    incidences = pd.DataFrame(
        {
            "edge": [target_classes[int(c)] for c in classes],
            "node": vectors.astype(object),
            "weight": fraction[classes, vectors].astype(float),
        }
    )
    nodes = pd.DataFrame(
        {
            "node": np.unique(vectors).astype(object),
            "singular_value": singular_values[np.unique(vectors)],
        }
    )
    if incidences.empty:
        return hnx.Hypergraph({}, name=layer)
    return hnx.Hypergraph(incidences, cell_weight_col="weight", node_properties=nodes, name=layer)


def to_hif(graph: hnx.Hypergraph, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The hypergraph as a dictionary in the Hypergraph Interchange Format (HIF).

    HyperNetX's own export fetches its JSON schema from the network at every call, and fails
    without one; this one stays here.

    Parameters
    ----------
    metadata
        what to say of the hypergraph as a whole, as JSON.
    """
    incidences = []
    for edge in graph.edges:
        incidences += [
            {
                "edge": edge,
                "node": int(node),
                "weight": graph.get_cell_properties(edge, node)["weight"],
            }
            for node in graph.edges[edge]
        ]
    nodes = [
        {"node": int(node), "attrs": {"singular_value": graph.nodes[node].singular_value}}
        for node in graph.nodes
    ]
    return {
        "network-type": "undirected",
        "metadata": {"name": graph.name, **metadata},
        "edges": [{"edge": edge} for edge in graph.edges],
        "nodes": nodes,
        "incidences": incidences,
    }


def write_hif(graph: hnx.Hypergraph, metadata: Mapping[str, Any], path: Path) -> None:
    """Write a hypergraph as HIF JSON, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(to_hif(graph, metadata), indent=1, allow_nan=False))
    part.replace(path)
