"""Hypergraphs drawn by HyperNetX itself, as on the left of figures 6 and 7 of the paper."""

from __future__ import annotations

import io
from pathlib import Path

import hypernetx as hnx
import matplotlib as mpl
import numpy as np
import xarray as xr
from hypernetx.drawing.draw_incidence import draw_incidence_upset
from matplotlib.figure import Figure

from ddp_tasks.hypergraph_figures import equivalence_class_labels, has_hulls
from ddp_tasks.notation import COLOURS, short
from schemas.parameters import RunError

#: Past these HyperNetX's drawings cannot be read.
_CLASSES, _EQUIVALENCE_CLASSES = 40, 120

_LOOKS = {
    # Names of classes are no formulas, whatever dollar signs are in them.
    "text.parse_math": False,
    # Text as text: a tenth of the bytes, and it can be searched.
    "svg.fonttype": "none",
    # The same ids, hence the same file, every time.
    "svg.hashsalt": "ddp",
    "font.family": "sans-serif",
    "font.size": 9,
}


def is_drawn(hierarchy: xr.Dataset) -> bool:
    """Whether a hypergraph is small enough for HyperNetX's drawings, and not empty."""
    member = hierarchy["target_classes"].to_numpy()
    few = int(member.any(axis=0).sum()) <= _CLASSES and len(member) <= _EQUIVALENCE_CLASSES
    return bool(len(member)) and few


def drawing(hierarchy: xr.Dataset, of_layer: xr.Dataset) -> Figure:
    """Hypergraph of a layer as HyperNetX draws it, its nodes collapsed to equivalence classes.

    Nodes are labelled representative:number of singular vectors. Small hypergraphs are drawn
    with rubber bands around their nodes; those of more than 12 target classes or 40 equivalence
    classes as an incidence diagram with a column for every hyperedge.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    of_layer
        the layer's slice of the store's group ``layers``.

    Raises
    ------
    RunError
        If the hypergraph is empty, or has more than 40 target classes or 120 equivalence
        classes.
    """
    layer, member = str(of_layer["layer"].item()), hierarchy["target_classes"].to_numpy()
    used = np.flatnonzero(member.any(axis=0))
    if not is_drawn(hierarchy):
        raise RunError(
            f"{layer} has {len(used)} target classes and {len(member)} equivalence classes; "
            f"HyperNetX draws 1 to {_CLASSES} and 1 to {_EQUIVALENCE_CLASSES}"
        )
    names = [short(str(name), 24) for name in hierarchy["target_class"].to_numpy()]
    labels = equivalence_class_labels(hierarchy, of_layer)
    # A number before each name keeps names apart that are the same once cut.
    edges = {(c, names[c]): [labels[e] for e in np.flatnonzero(member[:, c])] for c in used}
    graph = hnx.Hypergraph({f"{c}": nodes for (c, _), nodes in edges.items()}, name=layer)
    colours = {f"{c}": COLOURS[c % len(COLOURS)] for c, _ in edges}
    told = {f"{c}": name for c, name in edges}
    if has_hulls(hierarchy):
        figure = Figure(figsize=(6.4, 6.4))
        vectors = hierarchy["singular_vectors"].to_numpy().sum(axis=1)
        hnx.draw(
            graph,
            ax=figure.add_axes((0, 0, 1, 1)),
            layout_kwargs={"seed": 0},
            # The area grows with the number of singular vectors.
            node_radius=dict(zip(labels, np.sqrt(np.minimum(vectors, 9)).tolist(), strict=True)),
            edge_labels=told,
            edges_kwargs={"edgecolors": colours},
            edge_labels_kwargs={"color": colours},
        )
        return figure
    figure = Figure(figsize=(1.6 + 0.22 * len(used), 2.6 + 0.22 * len(member)))
    axes = figure.add_subplot()
    draw_incidence_upset(
        graph,
        ax=axes,
        # Most general first, and classes in their order.
        node_order=labels[::-1],
        edge_order=list(told),
        edge_labels=told,
        edges_kwargs={"edgecolors": colours},
        node_labels_on_axis=True,
    )
    axes.set(xlim=(-1, len(used)), ylim=(-1, len(member)), aspect="auto")
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=90)
    axes.spines[:].set_visible(False)
    figure.set_layout_engine("tight")
    return figure


def svg(hierarchy: xr.Dataset, of_layer: xr.Dataset) -> str:
    """The drawing as SVG text; parameters and errors as of ``drawing``."""
    with mpl.rc_context(_LOOKS):
        file = io.StringIO()
        drawing(hierarchy, of_layer).savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def write(hierarchy: xr.Dataset, of_layer: xr.Dataset, path: Path) -> None:
    """Write the drawing to a file, as PNG, SVG or PDF by its ending.

    Raises
    ------
    RunError
        As ``drawing`` does, or if the file has another ending.
    """
    kinds = (".png", ".svg", ".pdf")
    if path.suffix not in kinds:
        raise RunError(f"{path} ends in {path.suffix!r}; {', '.join(kinds)} are written")
    with mpl.rc_context(_LOOKS):
        drawing(hierarchy, of_layer).savefig(path, dpi=150, bbox_inches="tight")
