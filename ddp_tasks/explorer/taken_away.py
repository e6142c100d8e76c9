"""What a view shows as files: the table as CSV, the hypergraph as HIF."""

from __future__ import annotations

import csv
import io

import numpy as np

from ddp_tasks.explorer.pair_view import compared_in_all, compared_in_layer, names_of
from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import View
from ddp_tasks.significance.tables import table_intervals

COLUMNS = (
    *("class", "singular_vector", "direction", "singular_value", "quantile", "fraction"),
    *("low", "high", "images", "significant"),
)


def table_file(shown: Slice) -> str:
    """All nodes of a hypergraph with the shares of all classes, as CSV.

    Vectors that are significant for no class are left out; ``ddp table`` writes those too.
    """
    table = shown.table
    nodes = np.flatnonzero(table.significant.any(axis=0)).tolist()
    confidence = shown.run.signals.run.significance.confidence
    low, high = table_intervals(table, confidence, nodes)
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    for c, name in enumerate(table.target_classes):
        for place, node in enumerate(nodes):
            member = shown.nodes[node]
            rows.writerow(
                (
                    name,
                    member.vector,
                    member.direction,
                    float(shown.nodes.singular_values[node]),
                    table.quantile,
                    float(table.fraction[c, node]),
                    float(low[c, place]),
                    float(high[c, place]),
                    int(table.images[c]),
                    bool(table.significant[c, node]),
                )
            )
    return file.getvalue()


def pair_file(shown: Slice, view: View) -> str:
    """All vectors that two classes were compared by, the surest first, as CSV.

    Raises
    ------
    RunError
        If the classes cannot be compared.
    """
    compare = compared_in_all if view.over == "all" else compared_in_layer
    return compare(shown, *names_of(shown, view)).to_csv(index=False)


def hif_file(shown: Slice) -> str:
    """The hypergraph in the format of ``hypergraphs/LAYER.hif.json``, as HyperNetX reads it."""
    # HyperNetX takes a second to import, and nothing else here needs it.
    from ddp_tasks.hypergraphs.hif import hif_text
    from ddp_tasks.hypergraphs.hypergraph import file_metadata, layer_graph

    hyperedges = "superclass" if shown.groups else "target_class"
    metadata = file_metadata(shown.run.signals.run.name, shown.table, hyperedges)
    return hif_text(layer_graph(shown.table, shown.levels.vectors), metadata)
