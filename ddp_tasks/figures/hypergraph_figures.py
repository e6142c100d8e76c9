"""The hypergraph of a layer as a figure: hulls around circles, or a matrix of dots."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.diagram_layout import hulls, place_circles
from ddp_tasks.figures.elements import element, figure, with_options
from ddp_tasks.figures.notation import COLOURS, abbreviated, node_names, short, text_width
from ddp_tasks.figures.style import GLYPH_FONT, TABLE_AXES, canvas, plain, shown_of
from ddp_tasks.figures.uncertainty import least_shares
from ddp_tasks.hypergraphs.semantic_hierarchy import node_directions, node_members
from ddp_tasks.significance.stability import SURE
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors

#: Larger hypergraphs are drawn as a matrix of dots, since their hulls could not be read.
_HULLS, _CIRCLES = 12, 24
_EQUIVALENCE_CLASSES_IN_MATRIX, _CLASSES_IN_MATRIX = 120, 100
_RING = 5.0
_DOT = "#2171b5"


def hypergraph_figure(
    hierarchy: xr.Dataset, layer: LayerVectors, stability: xr.Dataset | None = None
) -> hv.Overlay:
    """Hypergraph of a layer, its nodes collapsed to equivalence classes.

    A circle is an equivalence class, labelled representative:number of singular vectors, its
    area growing with that number; a hull is a target class around its equivalence classes.
    Past 12 target classes or 24 equivalence classes the incidence is drawn as a matrix instead.
    A circle is dashed, and a dot of the matrix is a ring, where an incidence holds in fewer than
    95 % of the resamples.

    Parameters
    ----------
    hierarchy
        the store's group ``hierarchies/LAYER``.
    stability
        the store's group ``stability/LAYER``, where there is one.

    Raises
    ------
    ValueError
        If the hypergraph is empty.

    References
    ----------
    Praggastis et al. 2022, section 5.1, left of figures 6 and 7.
    """
    member = hierarchy["target_classes"].to_numpy()
    if not len(member):
        raise ValueError("the hypergraph is empty: no singular vector is significant for a class")
    if not has_hulls(hierarchy):
        return incidence_matrix(hierarchy, layer, stability)
    classes = np.flatnonzero(member.any(axis=0))
    inside = member[:, classes].T
    vectors = node_members(hierarchy).sum(axis=1)
    labels = equivalence_class_labels(hierarchy, layer)
    # The area grows with the number of vectors; the smallest circle holds the label.
    widest = max(text_width(label, 11) for label in labels) / 2 + 3
    radius = np.minimum(np.sqrt(widest**2 * (1 + 0.35 * (vectors - 1))), 2.2 * widest)
    centre, size = place_circles(inside, radius, _RING)
    outlines = hulls(inside, centre, radius, _RING)
    names = hierarchy["target_class"].to_numpy().astype(object)
    key, (width, below) = _key([str(n) for n in names[classes]], classes, size[0])
    shift = np.array([(width - size[0]) / 2, below])
    drawn = _hulls([outline + shift for outline in outlines], hierarchy, layer, classes)
    least = least_shares(hierarchy, stability)
    circles = _circles(hierarchy, layer, (centre + shift, radius), labels, least)
    return figure([drawn, *circles, *key], **canvas(width, size[1] + below))


def _key(
    names: list[str], classes: npt.NDArray[np.int64], width: float
) -> tuple[list[hv.Element], tuple[float, float]]:
    """Colours and names of the target classes in rows below the drawing, and their extent."""
    cut = [short(name, 24) for name in names]
    column = max(text_width(name, 12) for name in cut) + 34
    width = max(width, column, 320.0)
    columns = max(1, min(int(width // column), len(cut)))
    rows = -(-len(cut) // columns)
    # Column by column, so that the names are read in their order.
    place = np.arange(len(cut))
    x, y = place // rows * column, (rows - 1 - place % rows) * 18.0 + 9
    colours = [COLOURS[c % len(COLOURS)] for c in classes]
    boxes = {"key_x0": x, "key_y0": y - 2, "key_x1": x + 16, "key_y1": y + 2, "colour": colours}
    swatches = element(hv.Rectangles, boxes, 4, group="Swatches", color="colour", line_alpha=0)
    text = element(
        hv.Labels,
        {"key_x": x + 22, "key_y": y, "text": cut},
        2,
        group="Key",
        text_font=GLYPH_FONT,
        text_font_size="12px",
        text_align="left",
        text_color="#1d2329",
    )
    return [swatches, text], (width, rows * 18.0 + 14)


def has_hulls(hierarchy: xr.Dataset) -> bool:
    """Whether a hypergraph is small enough to be drawn as hulls around circles."""
    member = hierarchy["target_classes"].to_numpy()
    return len(member) <= _CIRCLES and int(member.any(axis=0).sum()) <= _HULLS


def has_matrix(hierarchy: xr.Dataset) -> bool:
    """Whether a hypergraph is small enough for a matrix of dots to show all of it."""
    member = hierarchy["target_classes"].to_numpy()
    return (
        len(member) <= _EQUIVALENCE_CLASSES_IN_MATRIX
        and int(member.any(axis=0).sum()) <= _CLASSES_IN_MATRIX
    )


def _hulls(
    outlines: list[npt.NDArray[np.float64]],
    hierarchy: xr.Dataset,
    layer: LayerVectors,
    classes: npt.NDArray[np.int64],
) -> hv.Polygons:
    names = hierarchy["target_class"].to_numpy()
    outlined = [
        {
            "hull_x": outline[:, 0],
            "hull_y": outline[:, 1],
            "target_class": str(names[c]),
            "vectors": _vectors_of(hierarchy, layer, int(c)),
            "colour": COLOURS[c % len(COLOURS)],
        }
        for c, outline in zip(classes, outlines, strict=True)
    ]
    dims = {"kdims": ["hull_x", "hull_y"], "vdims": ["target_class", "vectors", "colour"]}
    return with_options(
        hv.Polygons(outlined, **dims, group="Hulls"),
        color="colour",
        line_color="colour",
        fill_alpha=0.05,
        line_width=2,
        hover_fill_alpha=0.18,
        tools=["hover"],
        hover_tooltips=[("target class", "@target_class"), ("singular vectors", "@vectors")],
    )


def _vectors_of(hierarchy: xr.Dataset, layer: LayerVectors, target_class: int) -> str:
    """The singular vectors of a hyperedge, by name."""
    chosen = hierarchy["target_classes"].to_numpy()[:, target_class]
    vectors = np.flatnonzero(node_members(hierarchy)[chosen].any(axis=0))
    names = member_names(hierarchy, layer)
    return abbreviated([names[v] for v in vectors], 12)


def _circles(
    hierarchy: xr.Dataset,
    layer: LayerVectors,
    placed: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    labels: list[str],
    least: npt.NDArray[np.float64] | None,
) -> list[hv.Element]:
    """Circles at their centres with their radii; those of unsure equivalence classes are dashed."""
    centre, radius = placed
    names, members = member_names(hierarchy, layer), node_members(hierarchy)
    columns: dict[str, Any] = {
        "hull_x": centre[:, 0],
        "hull_y": centre[:, 1],
        "diameter": 2 * radius,
        "vectors": [abbreviated([names[v] for v in np.flatnonzero(m)], 12) for m in members],
        "classes": [", ".join(c) for c in class_names(hierarchy)],
        "label": labels,
    }
    tooltips = [("singular vectors", "@vectors"), ("target classes", "@classes")]
    share = np.ones(len(members)) if least is None else least.min(axis=1)
    if least is not None:
        columns["resamples"] = [f"{one:.0%}" for one in share]
        tooltips.append(("least share of resamples", "@resamples"))
    drawn: list[hv.Element] = []
    for group, chosen, dash in (
        ("Circles", share >= SURE, "solid"),
        ("Unsure circles", share < SURE, "dashed"),
    ):
        at = np.flatnonzero(chosen)
        if not len(at):
            continue
        own = {
            name: values[at] if isinstance(values, np.ndarray) else [values[i] for i in at]
            for name, values in columns.items()
        }
        drawn.append(
            element(
                hv.Points,
                own,
                2,
                group=group,
                size="diameter",
                color="white",
                line_color="#3a434c",
                line_width=1.2,
                line_dash=dash,
                tools=["hover"],
                hover_tooltips=tooltips,
            )
        )
    text = element(
        hv.Labels,
        {"hull_x": centre[:, 0], "hull_y": centre[:, 1], "text": labels},
        2,
        text_font=GLYPH_FONT,
        text_font_size="11px",
        text_color="#1d2329",
    )
    return [*drawn, text]


def incidence_matrix(
    hierarchy: xr.Dataset, layer: LayerVectors, stability: xr.Dataset | None = None
) -> hv.Overlay:
    """Which equivalence classes belong to which target classes, as a matrix of dots.

    Parameters
    ----------
    hierarchy, stability
        as in ``hypergraph_figure``.

    References
    ----------
    Praggastis et al. 2022, Eq. 17.
    """
    member = hierarchy["target_classes"].to_numpy()
    shown = min(len(member), _EQUIVALENCE_CLASSES_IN_MATRIX)
    used = np.flatnonzero(member[:shown].any(axis=0))
    rows = np.sort(
        used[np.argsort(-member[:shown, used].sum(axis=0), kind="stable")][:_CLASSES_IN_MATRIX]
    )
    title = shown_of(shown, len(member), "equivalence classes", "most general")
    title += shown_of(
        len(rows), int(member.any(axis=0).sum()), "target classes", "with most equivalence classes"
    )
    names = hierarchy["target_class"].to_numpy().astype(object)[rows]
    labels = equivalence_class_labels(hierarchy, layer)[:shown]
    # int32 halves their size in the page.
    x, y = (a.ravel().astype(np.int32) for a in np.meshgrid(range(shown), range(len(rows))))
    inside = member[:shown, rows].T.ravel()
    tooltips = [("equivalence class", "@equivalence_class"), ("target class", "@target_class")]
    few = member.shape[1] <= len(COLOURS)
    colours = np.array(COLOURS * (member.shape[1] // len(COLOURS) + 1))[rows] if few else None
    text = np.array(labels, dtype=object)
    dots = {
        "class_x": x[inside],
        "class_y": -y[inside],
        "equivalence_class": text[x[inside]],
        "target_class": names[y[inside]],
        "colour": (np.full(len(rows), _DOT) if colours is None else colours)[y[inside]],
    }
    dots["inner"] = dots["colour"]
    least = least_shares(hierarchy, stability)
    if least is not None:
        share = least[x[inside], rows[y[inside]]]
        dots["inner"] = np.where(share < SURE, "#ffffff", dots["colour"])
        dots["resamples"] = np.array([f"{one:.0%}" for one in share], dtype=object)
        tooltips.append(("least share of resamples", "@resamples"))
    cell = 34 if shown <= 16 else 18
    high = 22 if len(rows) <= 30 else 13
    size = 11 if cell == 34 and high == 22 else 8
    widest = max(text_width(label, 11) for label in labels)
    empty = element(
        hv.Points,
        {"class_x": x[~inside], "class_y": -y[~inside]},
        2,
        group="Outside",
        color="#e4e8ec",
        size=size * 0.5,
    )
    filled = element(
        hv.Points,
        dots,
        2,
        group="Inside",
        fill_color="inner",
        line_color="colour",
        line_width=1.6,
        size=size,
        tools=["hover"],
        hover_tooltips=tooltips,
    )
    return figure(
        [empty, filled],
        **plain(
            shown * cell,
            len(rows) * high,
            title,
            show_legend=False,
            xlim=(-0.5, shown - 0.5),
            ylim=(0.5 - len(rows), 0.5),
            xticks=list(enumerate(labels)),
            yticks=[(-i, short(str(name))) for i, name in enumerate(names)],
            xrotation=0 if widest + 4 < cell else 90,
            xlabel="",
            ylabel="",
            xaxis="top",
        )
        | {"backend_opts": TABLE_AXES},
    )


def equivalence_class_labels(hierarchy: xr.Dataset, layer: LayerVectors) -> list[str]:
    """Label of each equivalence class as in the paper's figures: representative:vectors."""
    names, members = member_names(hierarchy, layer), node_members(hierarchy)
    return [f"{names[int(np.flatnonzero(m)[0])]}:{int(m.sum())}" for m in members]


def member_names(hierarchy: xr.Dataset, layer: LayerVectors) -> list[str]:
    """Names of the nodes that equivalence classes are made of; see ``node_members``."""
    return node_names(SignedVectors(layer, node_directions(hierarchy)))


def class_names(hierarchy: xr.Dataset) -> list[list[str]]:
    """Names of the target classes of each equivalence class."""
    names = hierarchy["target_class"].to_numpy().astype(object)
    return [[str(n) for n in names[row]] for row in hierarchy["target_classes"].to_numpy()]
