"""What the singular vectors of a layer look like: optimised images, strongest images, patches.

Every optimised image has natural ones beside it: people predict a unit's answers better from
those (Borowski et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from ddp_tasks.figures.elements import figure
from ddp_tasks.figures.notation import abbreviated, node_names, text_width, vector_names
from ddp_tasks.figures.optimised_pictures import OptimisedPicture, of_target
from ddp_tasks.figures.picture_marks import LINE, OPTIMISED, Marks
from ddp_tasks.figures.signal_overlays import limit_of, overlay
from ddp_tasks.figures.style import canvas
from ddp_tasks.figures.thumbnails import Thumbnail, thumbnail
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVector, SignedVectors

#: Vectors that a layer's section shows: at most so many, and so many in a report of many layers.
_MOST_VECTORS, _LEAST_VECTORS, _VECTORS_IN_REPORT = 6, 2, 72

_OPTIMISED_PITCH, _MOST_OPTIMISED = 128, 2
_IMAGE, _IMAGE_PITCH, _IMAGES = 60, 64, 4
_PATCH, _PATCH_PITCH, _PATCHES = 44, 48, 6
_PATCH_ROWS = 3
_SIDE, _BETWEEN, _GAP = 636, 20, 12
_TITLE, _HEADING, _ROW_GAP = 24, 18, 22
_CONTENT = OPTIMISED + 4 * LINE


@dataclass(frozen=True)
class LayerPictures:
    """Everything that is stored of what a layer's singular vectors look like."""

    layer: LayerVectors
    exemplars: xr.Dataset
    """the group ``exemplars`` at the layer."""
    thumbnails: Mapping[str, Thumbnail]
    """by image id."""
    target_class_of: Mapping[str, str]
    """by image id."""
    projections: xr.Dataset | None = None
    """the group ``projections/LAYER``."""
    optimised: Sequence[OptimisedPicture] = ()


def vectors_shown(layers: int) -> int:
    """Singular vectors that each section of a report with so many layers shows."""
    return max(_LEAST_VECTORS, min(_MOST_VECTORS, _VECTORS_IN_REPORT // max(layers, 1)))


def most_telling(table: LayerTable, hierarchy: xr.Dataset, most: int) -> list[int]:
    """The singular vectors to look at first.

    The representatives of the equivalence classes, then other vectors that are significant for a
    class, each by η²; without any, those of the greatest singular values.
    """
    members, directions = members_of(hierarchy), len(table.directions)
    if not members:
        return list(range(min(most, table.fraction.shape[1] // directions)))
    representatives = {of[0].vector for of in members}
    # A vector that is a node in both directions is shown once.
    ranked = list(dict.fromkeys((table.most_discriminating() // directions).tolist()))
    first = [v for v in ranked if v in representatives]
    return [*first, *(v for v in ranked if v not in representatives)][:most]


def vector_rows(
    stored: LayerPictures,
    vectors: Sequence[int],
    eta_squared: Mapping[int, float] | None = None,
) -> hv.Overlay:
    """A row for each of some singular vectors, its positive side beside its negative one.

    Each side has the optimised images with their measures of trust, the strongest natural images
    with their signals, the same images under the map of their signals (one scale for both sides
    of a vector, white at zero) and the patches with the strongest signals.

    Parameters
    ----------
    vectors
        of the layer, at least one.
    eta_squared
        by vector, for the titles.

    References
    ----------
    Praggastis et al. 2022, section 6, figures 6 and 7.
    """
    columns = min(
        max(
            len(of_target(stored.optimised, [SignedVector(v, sign)]))
            for v in vectors
            for sign in (1, -1)
        ),
        _MOST_OPTIMISED,
    )
    pitch = _TITLE + _HEADING + _CONTENT + _ROW_GAP
    high = len(vectors) * pitch
    marks = Marks()
    for row, vector in enumerate(vectors):
        top = high - row * pitch
        _title(marks, stored, vector, top, (eta_squared or {}).get(vector))
        limit = _limit(stored.projections, vector)
        for side, direction in enumerate(DIRECTIONS):
            left = float(side * (_SIDE + _BETWEEN))
            place = _Side(stored, vector, direction, left, top - _TITLE, limit)
            _draw_side(marks, place, columns)
    return figure(marks.elements(), **canvas(2 * _SIDE + _BETWEEN, high))


@dataclass(frozen=True)
class _Side:
    """One direction of one singular vector, and where it is drawn."""

    stored: LayerPictures
    vector: int
    direction: str
    left: float
    top: float
    limit: float | None
    """greatest magnitude of the vector's maps; None where there are none."""


def _title(
    marks: Marks, stored: LayerPictures, vector: int, top: float, eta_squared: float | None
) -> None:
    name = f"{vector_names(stored.layer)[vector]}"
    value = f"s = {stored.layer.singular_values[vector]:.3g}"
    words = value if eta_squared is None else f"{value}, η² {eta_squared:.2f}"
    marks.text("Titles", 0.0, top - 3, name)
    marks.text("Notes", text_width(name, 14) + 10, top - 5, words)


def _draw_side(marks: Marks, side: _Side, columns: int) -> None:
    words = "greatest signals" if side.direction == "positive" else "least signals"
    marks.text("Notes", side.left, side.top - 2, f"{side.direction}: {words}")
    top, x = side.top - _HEADING, side.left
    signed = SignedVector(side.vector, 1 if side.direction == "positive" else -1)
    chosen = of_target(side.stored.optimised, [signed])
    for place in range(columns):
        at = (x + place * _OPTIMISED_PITCH, top)
        if place < len(chosen):
            marks.optimised(chosen[place], *at)
        elif place == 0:
            marks.text("Small", at[0], top - 4, "no optimised image")
    x += columns * _OPTIMISED_PITCH + _GAP * (columns > 0)
    most = _IMAGES if columns else _IMAGES + 2
    _draw_strongest(marks, side, x, top, most)
    _draw_patches(marks, side, x + most * _IMAGE_PITCH + _GAP, top)


def _draw_strongest(marks: Marks, side: _Side, x: float, top: float, most: int) -> None:
    """The strongest images with their signals, and below them the maps of those that have one."""
    at = {"singular_vector": side.vector, "direction": side.direction}
    strongest = side.stored.exemplars.sel(at)
    ids = [str(one) for one in strongest["image"].to_numpy()[:most] if one]
    signals = strongest["signal"].to_numpy()
    maps = _maps(side.stored.projections, side.vector, side.direction)
    below = top - _IMAGE - LINE - 6
    for place, image in enumerate(ids):
        left = x + place * _IMAGE_PITCH
        tip = {
            "image": image,
            "class": side.stored.target_class_of[image],
            "signal": f"{signals[place]:.3g}",
        }
        corner = (left, top - _IMAGE)
        marks.picture("Strongest", side.stored.thumbnails[image], corner, _IMAGE, **tip)
        marks.text("Centred", left + _IMAGE / 2, top - _IMAGE - 2, tip["signal"])
        if image in maps and side.limit is not None:
            corner = (left, below - _IMAGE)
            marks.picture("Under", side.stored.thumbnails[image], corner, _IMAGE)
            veil = overlay(maps[image], side.limit, side.stored.thumbnails[image])
            marks.picture("Projections", veil, corner, _IMAGE, **tip)
    if maps and side.limit is not None:
        words = f"signal at each position, colours to ±{side.limit:.3g}"
        marks.text("Small", x, below - _IMAGE - 3, words)


def _draw_patches(marks: Marks, side: _Side, x: float, top: float) -> None:
    """The patches with the strongest signals, in columns of three."""
    if side.stored.projections is None:
        return
    at = {"singular_vector": side.vector, "direction": side.direction}
    of_side = side.stored.projections[["patch", "patch_image", "patch_signal"]].sel(at)
    images = of_side["patch_image"].to_numpy()
    signals = of_side["patch_signal"].to_numpy()
    cut = of_side["patch"].to_numpy()
    shown = [i for i, image in enumerate(images) if image][:_PATCHES]
    for place, i in enumerate(shown):
        column, row = divmod(place, _PATCH_ROWS)
        corner = (x + column * _PATCH_PITCH, top - row * _PATCH_PITCH - _PATCH)
        tip = {"patch of image": str(images[i]), "signal there": f"{signals[i]:.3g}"}
        small = thumbnail(_three(cut[i]), _PATCH, _PATCH)
        marks.picture("Patches", small, corner, _PATCH, **tip)
    if shown:
        searched = int(side.stored.projections.attrs["images_searched"])
        words = f"strongest patches of {searched:,} images"
        marks.text("Small", x, top - _PATCH_ROWS * _PATCH_PITCH - 3, words)


def _three(picture: Any) -> Any:
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def _maps(projections: xr.Dataset | None, vector: int, direction: str) -> dict[str, Any]:
    """Maps of a vector's signals by image; none where the layer has a single position."""
    if projections is None or projections["map"].shape[-2:] == (1, 1):
        return {}
    of_side = projections[["map", "image"]].sel(singular_vector=vector, direction=direction)
    pairs = zip(of_side["image"].to_numpy(), of_side["map"].to_numpy(), strict=True)
    return {str(image): values for image, values in pairs if image}


def _limit(projections: xr.Dataset | None, vector: int) -> float | None:
    """The common scale of a vector's maps, in both directions."""
    maps = [m for d in DIRECTIONS for m in _maps(projections, vector, d).values()]
    return limit_of(*maps) if maps else None


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
