"""The view of one layer: its hypergraph, its semantic hierarchy and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import holoviews as hv
import numpy as np
import param

from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import View, address_of, member_at
from ddp_tasks.figures.hierarchy_figures import WIDEST, hierarchy_figure
from ddp_tasks.figures.hypergraph_figures import has_hulls, hypergraph_figure, incidence_matrix
from ddp_tasks.figures.notation import node_names
from ddp_tasks.figures.svg import svg
from ddp_tasks.hypergraphs.sizes import Sizes

#: Rows of the table, the most discriminating nodes first.
_ROWS = 60
_CLASSES_IN_ROW = 12
#: Equivalence classes that rings are drawn around where nothing else is asked for.
_RINGS = 18
#: Width of the column that stands alone, and of one of two, in pixels of the figure.
_COLUMN, _TWO_COLUMNS = 1000.0, 640.0


@dataclass(frozen=True)
class NodeRow:
    """One node in the table."""

    name: str
    does: str
    """what choosing it changes in the view."""
    singular_value: float
    eta_squared: float
    classes: list[tuple[str, float]]
    """classes that it is significant for, with the shares of their images, the greatest first."""
    left_out: int
    """of these, classes that there is no room for."""
    chosen: bool
    """whether the details are of it."""


@dataclass(frozen=True)
class LayerColumn:
    """What is shown of one layer; two stand side by side."""

    shown: Slice
    title: str
    kind: str
    shape: str
    sizes: Sizes
    thresholds: list[tuple[str, float]]
    """q by direction."""
    exact: bool
    """whether the level lies between those that are stored."""
    hypergraph: str
    """as SVG; empty where there is nothing to show."""
    rings: bool
    """whether it is drawn as rings around circles, or as a matrix of dots."""
    either: bool
    """whether it is small enough for both."""
    hierarchy: str
    folded: bool
    """whether the hierarchy is folded to the width of the page."""
    rows: list[NodeRow]
    nodes: int
    """of all rows that there are."""
    query: str
    """for the addresses of files."""


def drawn_as_rings(shown: Slice, view: View) -> bool:
    """Whether a hypergraph is drawn as rings around circles: if that is asked for, or of few."""
    if not has_hulls(shown.hierarchy) or view.drawn == "matrix":
        return False
    return view.drawn == "rings" or shown.hierarchy.sizes["equivalence_class"] <= _RINGS


def layer_column(shown: Slice, view: View, *, several: bool) -> LayerColumn:
    """Draw what is shown of a layer.

    Parameters
    ----------
    several
        whether there are two runs, so that the title names this one.
    """
    run, table = shown.run, shown.table
    stored = run.signals.stored.layers.sel(layer=shown.layer)
    hypergraph = hierarchy = ""
    rings = folded = False
    if not shown.empty:
        of_layer, vectors = f"of layer {shown.layer}", shown.levels.vectors
        does = _Doing(view, shown)
        rings = drawn_as_rings(shown, view)
        draw = hypergraph_figure if rings else incidence_matrix
        # Each element would copy the default dimensions of its kind, which it does not use.
        with param.shared_parameters():
            drawn = draw(shown.hierarchy, vectors, shown.stability)
            hypergraph = svg(drawn, f"Hypergraph {of_layer}", does)
            drawn = _hierarchy(shown, view, wide=view.whole == "all")
            folded = _is_folded(drawn)
            hierarchy = svg(drawn, f"Semantic hierarchy {of_layer}", does)
    levels = run.signals.stored.significance["quantile"].to_numpy()
    rows, nodes = _rows(shown, view)
    return LayerColumn(
        shown=shown,
        title=f"{shown.layer} ({run.name})" if several else shown.layer,
        kind=str(stored["kind"].item()),
        shape=str(stored["shape"].item()),
        sizes=shown.sizes,
        thresholds=list(zip(table.directions, table.thresholds, strict=True)),
        exact=not bool((np.abs(levels - table.quantile) <= 1e-9).any()),
        hypergraph=hypergraph,
        rings=rings,
        either=has_hulls(shown.hierarchy) if hypergraph else False,
        hierarchy=hierarchy,
        folded=folded,
        rows=rows,
        nodes=nodes,
        query=view.changed({"run": str(run.number), "layer": shown.layer}).query(),
    )


def _hierarchy(shown: Slice, view: View, *, wide: bool) -> hv.Overlay:
    """The diagram of a hierarchy, folded to the width of its column or whole."""
    run = shown.run
    widest = WIDEST if wide else _TWO_COLUMNS if view.beside else _COLUMN
    return hierarchy_figure(
        shown.hierarchy,
        shown.levels.vectors,
        run.thumbnails,
        run.optimised(shown.layer),
        stability=shown.stability,
        widest=widest,
    )


def _is_folded(diagram: hv.Overlay) -> bool:
    """Whether a diagram leaves equivalence classes out: its title says so then."""
    return bool(hv.Store.lookup_options("bokeh", diagram, "plot").kwargs["title"])


@dataclass(frozen=True)
class _Doing:
    """What the marks of a layer's figures change in the view: they lead to details."""

    view: View
    shown: Slice

    def __call__(self, group: str, row: Mapping[str, Any]) -> str | None:
        at = self._at(group, row)
        return None if at is None else self.leading_to(at)

    def leading_to(self, at: str) -> str:
        """What shows something of this layer in the details."""
        of = {"run": str(self.shown.run.number), "layer": self.shown.layer}
        if self.view.beside and (of["run"], of["layer"]) != (self.view.run, self.view.layer):
            # The other column: its details are shown with both layers in place.
            of = {**of, "beside": f"{self.view.run}/{self.view.layer}"}
        return urlencode({**of, "at": at})

    def _at(self, group: str, row: Mapping[str, Any]) -> str | None:
        if group in ("Circles", "Unsure circles"):
            return self._node(str(row["label"]).partition(":")[0])
        if group == "Inside":
            return self._node(str(row["equivalence_class"]).partition(":")[0])
        if group == "Boxes":
            return self._node(str(row["title"])[1:-1])
        if group == "Hulls":
            return f"class:{row['target_class']}"
        if group == "Pictures":
            return f"image:{row['image']}"
        return None

    def _node(self, name: str) -> str | None:
        """The address of a node by its name in a figure, such as v85⁺* or v85."""
        name = name.rstrip("*").replace("⁺", "+").replace("⁻", "-")
        if name[-1] not in "+-":
            name += "+"
        member = member_at(name)
        return None if member is None else address_of(member)


def _rows(shown: Slice, view: View) -> tuple[list[NodeRow], int]:
    """The nodes of the hypergraph, the most discriminating first, and how many there are."""
    table = shown.table
    if not table.significant.any():
        return [], 0
    names, ranked = node_names(shown.nodes), table.most_discriminating()
    does, rows = _Doing(view, shown), []
    for node in ranked[:_ROWS].tolist():
        of_node = np.flatnonzero(table.significant[:, node])
        share = table.fraction[of_node, node]
        order = np.argsort(-share, kind="stable")
        address = address_of(shown.nodes[node])
        rows.append(
            NodeRow(
                name=names[node],
                does=does.leading_to(address),
                singular_value=float(shown.nodes.singular_values[node]),
                eta_squared=float(table.eta_squared[node]),
                classes=[
                    (table.target_classes[c], float(s))
                    for c, s in zip(
                        of_node[order][:_CLASSES_IN_ROW],
                        share[order][:_CLASSES_IN_ROW],
                        strict=True,
                    )
                ],
                left_out=max(len(of_node) - _CLASSES_IN_ROW, 0),
                chosen=view.at == address and view.layer in ("", shown.layer),
            )
        )
    return rows, len(ranked)
