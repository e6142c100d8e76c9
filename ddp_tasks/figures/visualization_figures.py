"""All optimised images of a layer's singular vectors on one sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import holoviews as hv

from ddp_tasks.figures.elements import figure
from ddp_tasks.figures.notation import abbreviated, node_names, text_width
from ddp_tasks.figures.optimised_pictures import OptimisedPicture
from ddp_tasks.figures.picture_marks import LINE, OPTIMISED, Marks
from ddp_tasks.figures.style import canvas
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors

_CONTENT = OPTIMISED + 4 * LINE


def by_vectors(optimised: Iterable[OptimisedPicture]) -> list[OptimisedPicture]:
    """Optimised images in the order of their singular vectors, positive directions first."""
    return sorted(
        optimised, key=lambda one: [(member.vector, -member.sign) for member in one.members]
    )


def contact_sheet(layer: LayerVectors, optimised: Sequence[OptimisedPicture]) -> hv.Overlay:
    """All optimised images of a layer with their measures of trust, by singular vectors.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not optimised:
        raise ValueError(f"layer {layer.layer} has no optimised images")
    nodes = SignedVectors(layer, DIRECTIONS)
    names = dict(zip((nodes[i] for i in range(len(nodes))), node_names(nodes), strict=True))
    ordered = by_vectors(optimised)
    columns, wide, tall = 9, 142, _CONTENT + 44
    rows = -(-len(ordered) // columns)
    marks = Marks()
    for place, one in enumerate(ordered):
        row, column = divmod(place, columns)
        x, top = float(column * wide), float((rows - row) * tall)
        title = abbreviated([names[member] for member in one.members], 2)
        value = layer.singular_values[[member.vector for member in one.members]].max()
        marks.text("Titles", x, top - 3, title)
        marks.text("Small", x + text_width(title, 14) + 6, top - 6, f"s = {value:.3g}")
        marks.optimised(one, x, top - 22)
    return figure(marks.elements(), **canvas(columns * wide, rows * tall))
