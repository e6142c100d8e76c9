"""An equivalence class of singular vectors: what it looks like, and where its images answer to it.

As below the hierarchies of figures 6 and 7 of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import holoviews as hv
import numpy as np
import numpy.typing as npt

from ddp_tasks.figures.elements import figure
from ddp_tasks.figures.optimised_pictures import OptimisedPicture
from ddp_tasks.figures.picture_marks import LINE, OPTIMISED, Marks
from ddp_tasks.figures.signal_overlays import limit_of, overlay
from ddp_tasks.figures.style import canvas
from ddp_tasks.figures.thumbnails import Thumbnail
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector

#: Vectors of a class whose maps are shown, those of the greatest singular values.
VECTORS_SHOWN = 6

_IMAGE, _PITCH = 96, 104
_OPTIMISED_PITCH, _LABELS, _GAP = 140, 96, 16
_MOST_OPTIMISED = 2


@dataclass(frozen=True)
class Exemplar:
    """One of the strongest images of an equivalence class."""

    image: str
    target_class: str
    signal: float
    """summed over the class's singular vectors."""
    thumbnail: Thumbnail


@dataclass(frozen=True)
class ClassPictures:
    """What is shown of one equivalence class."""

    layer: LayerVectors
    members: Sequence[SignedVector]
    optimised: Sequence[OptimisedPicture]
    """of exactly these vectors."""
    exemplars: Sequence[Exemplar]
    maps: npt.NDArray[np.float32] | None = None
    """shape (exemplar, member, h, w), signals at positions; None for a layer of one position."""


def class_rows(shown: ClassPictures) -> hv.Overlay:
    """Optimised images at the left; the strongest images, and below them their signals by vector.

    Maps of one vector share a colour scale, symmetric about zero, which is white.

    References
    ----------
    Praggastis et al. 2022, figures 6 and 7.
    """
    marks = Marks()
    members = list(shown.members)[:VECTORS_SHOWN]
    rows = 0 if shown.maps is None else len(members)
    columns = min(len(shown.optimised), _MOST_OPTIMISED)
    beside = _OPTIMISED_PITCH * columns + _GAP * (columns > 0)
    top_row = _IMAGE + LINE + 10
    high = float(max(top_row + rows * (_IMAGE + 10), OPTIMISED + 5 * LINE + 6 if columns else 0))
    for place, one in enumerate(shown.optimised[:columns]):
        marks.optimised(one, float(place * _OPTIMISED_PITCH), high, most=5)
    left = float(beside + _LABELS)
    marks.text("Small", beside, high - _IMAGE / 2 + 8, "strongest images")
    for column, exemplar in enumerate(shown.exemplars):
        x, tip = left + column * _PITCH, _tooltip(exemplar)
        marks.picture("Strongest", exemplar.thumbnail, (x, high - _IMAGE), _IMAGE, **tip)
        marks.text("Centred", x + _IMAGE / 2, high - _IMAGE - 2, tip["signal"])
    if shown.maps is not None:
        for row, member in enumerate(members):
            bottom = high - top_row - row * (_IMAGE + 10) - _IMAGE
            _draw_maps(marks, shown, row, member, (left, bottom))
    wide = left + max(len(shown.exemplars), 1) * _PITCH
    return figure(marks.elements(), **canvas(wide, high))


def _draw_maps(
    marks: Marks, shown: ClassPictures, row: int, member: SignedVector, corner: tuple[float, float]
) -> None:
    """The maps of one vector over the exemplars, with its singular value and its scale."""
    assert shown.maps is not None
    maps = shown.maps[:, row]
    limit, (left, bottom) = limit_of(*maps), corner
    label, middle = left - _LABELS, bottom + _IMAGE / 2
    star = "*" if shown.layer.arbitrary[member.vector] else ""
    marks.text("Titles", label, middle + 22, f"{member}{star}")
    marks.text("Small", label, middle + 4, f"s = {shown.layer.singular_values[member.vector]:.3g}")
    marks.text("Small", label, middle - 10, f"±{limit:.3g}")
    for column, (exemplar, values) in enumerate(zip(shown.exemplars, maps, strict=True)):
        at = (left + column * _PITCH, bottom)
        tip = {
            "image": exemplar.image,
            "mean signal": f"{values.mean():.3g}",
            "from": f"{values.min():.3g} to {values.max():.3g}",
        }
        marks.picture("Under", exemplar.thumbnail, at, _IMAGE)
        marks.picture("Projections", overlay(values, limit, exemplar.thumbnail), at, _IMAGE, **tip)


def _tooltip(exemplar: Exemplar) -> dict[str, str]:
    return {
        "image": exemplar.image,
        "class": exemplar.target_class,
        "signal": f"{exemplar.signal:.3g}",
    }
