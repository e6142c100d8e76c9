"""Hypergraphs of classes over singular vectors (section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import hypernetx as hnx
import numpy as np
import numpy.typing as npt
import pandas as pd

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
