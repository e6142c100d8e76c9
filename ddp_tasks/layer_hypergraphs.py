"""One layer from its significance table to hypergraph, relations of classes and hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hypernetx as hnx
import xarray as xr

from ddp_tasks.class_relations import relations_dataset
from ddp_tasks.exemplars import class_exemplars
from ddp_tasks.hypergraph import hypergraph, why_empty
from ddp_tasks.semantic_hierarchy import hierarchy_dataset, semantic_hierarchy
from ddp_tasks.significance import Parts


@dataclass(frozen=True)
class LayerHypergraph:
    """What section 5 makes of one layer."""

    graph: hnx.Hypergraph
    relations: xr.Dataset
    """the group ``hypergraphs/LAYER``."""
    hierarchy: xr.Dataset
    """the group ``hierarchies/LAYER``."""

    @property
    def empty(self) -> str:
        """Why the hypergraph is empty; empty text where it is not."""
        return str(self.relations["empty"].item())


def layer_hypergraph(
    table: xr.Dataset,
    of_layer: xr.Dataset,
    parts: Parts,
    ids: Sequence[str],
    levels: tuple[float, float],
) -> LayerHypergraph:
    """Hypergraph, relations of classes and semantic hierarchy of one layer.

    Parameters
    ----------
    table
        the layer's slice of the significance, as ``significance.layer_table`` gives it.
    of_layer
        the layer's slice of the store's group ``layers``.
    parts
        of the layer: signals (n, singular vectors).
    ids
        of the images, by their position in the run.
    levels
        quantile level and percentage p.
    """
    names = [str(name) for name in table["target_class"].to_numpy()]
    layer, vectors = str(of_layer["layer"].item()), int(of_layer["rank"].item())
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
    hierarchy = semantic_hierarchy(significant)
    exemplars = class_exemplars(parts, hierarchy.singular_vectors, len(names))
    assert hierarchy.singular_vectors.shape[1] == vectors
    return LayerHypergraph(
        graph,
        relations_dataset(significant, graph, names, empty),
        hierarchy_dataset(hierarchy, of_layer, names, exemplars, ids),
    )
