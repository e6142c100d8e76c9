"""The boxes of a semantic hierarchy's diagram: what each holds, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ddp_tasks.figures.hypergraph_figures import class_names, member_names
from ddp_tasks.figures.notation import abbreviated, text_width, wrapped
from ddp_tasks.figures.optimised_pictures import OptimisedPicture, of_target
from ddp_tasks.hypergraphs.semantic_hierarchy import lies_above, members_of, node_members
from ddp_tasks.weights.layer_vectors import LayerVectors

#: Boxes of a diagram at most.
MOST_BOXES = 60
_IMAGES_IN_BOX = 10
#: Images in each box of a diagram of many boxes, so that the page stays small.
_IMAGES_IN_CROWDED_BOX, _CROWDED = 5, 24
_IMAGES_IN_SMALL_BOX = 3

#: Side of an image and room around what a box holds, in pixels.
IMAGE, PAD = 38, 10
_CELL = 41
#: Side of an optimised image: two rows of exemplars.
OPTIMISED = 83
#: Height of a line that says what is left out.
_NOTE = 16


@dataclass(frozen=True)
class Box:
    """One equivalence class of a hierarchy diagram; sizes in pixels, y grows downwards."""

    title: str
    vectors: str
    all_vectors: str
    classes: tuple[str, ...]
    """lines of text."""
    all_classes: str
    exemplars: tuple[str, ...]
    """ids of the images shown."""
    exemplar_classes: tuple[int, ...]
    """positions of their target classes."""
    left_out: int
    """images not shown."""
    below: int
    """equivalence classes that lie below and are not shown."""
    width: float
    height: float
    x: float = 0.0
    """left edge."""
    y: float = 0.0
    """upper edge."""
    optimised: OptimisedPicture | None = None
    """image that maximises the signals of its vectors."""

    @property
    def images_top(self) -> float:
        """Distance of the images from the upper edge."""
        return PAD + 20 + 15 * len(self.classes) + 6

    def image_corner(self, position: int) -> tuple[float, float]:
        """Upper left corner of an image."""
        row, column = divmod(position, _per_row(len(self.exemplars)))
        left = self.x + PAD + _beside(self.optimised)
        return left + column * _CELL, self.y + self.images_top + row * (_CELL + 4)


def hierarchy_boxes(
    hierarchy: xr.Dataset,
    layer: LayerVectors,
    most_boxes: int = MOST_BOXES,
    optimised: Sequence[OptimisedPicture] = (),
    *,
    values: bool = False,
    small: bool = False,
) -> list[Box]:
    """Boxes of the most general equivalence classes, with sizes but without places.

    Parameters
    ----------
    optimised, values
        as in ``hierarchy_figure``.
    small
        boxes of one row of images, without optimised ones.
    """
    return Boxes(hierarchy, layer, optimised, values).first(most_boxes, small=small)


class Boxes:
    """A hierarchy whose boxes are made for several numbers of them, each box once."""

    def __init__(
        self,
        hierarchy: xr.Dataset,
        layer: LayerVectors,
        optimised: Sequence[OptimisedPicture],
        values: bool,
    ) -> None:
        contains = hierarchy["target_classes"].to_numpy()
        # Of thousands of equivalence classes only those that may be shown are looked at closely.
        hierarchy = hierarchy.isel(equivalence_class=slice(MOST_BOXES))
        self._names, self._classes = member_names(hierarchy, layer), class_names(hierarchy)
        self._vectors, self._signed = node_members(hierarchy), members_of(hierarchy)
        self._exemplar = hierarchy["exemplar"].to_numpy().astype(object)
        self._above = lies_above(contains, min(len(contains), MOST_BOXES))
        self._values = layer.singular_values if values else None
        self._optimised = optimised
        self._made: dict[tuple[int, int, bool], Box] = {}

    def first(self, most: int, *, small: bool = False) -> list[Box]:
        """The first ones; each says how many of the others lie below it."""
        shown = min(len(self._classes), most)
        images = _IMAGES_IN_BOX if shown <= _CROWDED else _IMAGES_IN_CROWDED_BOX
        images = _IMAGES_IN_SMALL_BOX if small else images
        below = self._above[:, shown:].sum(axis=1).tolist()
        return [_with_below(self._box(i, images, small), below[i]) for i in range(shown)]

    def _box(self, number: int, most: int, small: bool) -> Box:
        if (key := (number, most, small)) not in self._made:
            self._made[key] = self._make(number, most, small)
        return self._made[key]

    def _make(self, number: int, most: int, small: bool) -> Box:
        classes, signed = self._classes[number], self._signed[number]
        members = [self._names[v] for v in np.flatnonzero(self._vectors[number])]
        with_exemplar = np.flatnonzero(self._exemplar[number] != "")
        title, listed = f"[{members[0]}]", abbreviated(members, 3)
        if self._values is not None:
            own = self._values[[member.vector for member in signed]]
            listed = abbreviated([f"{n} {s:.2f}" for n, s in zip(members, own, strict=True)], 3)
        pictures_of_class = [] if small else of_target(self._optimised, signed)
        picture = pictures_of_class[0] if pictures_of_class else None
        columns = _per_row(min(len(with_exemplar), most))
        width = max(
            2 * PAD + _beside(picture) + columns * _CELL - (_CELL - IMAGE),
            2 * PAD + text_width(title, 14) + 8 + text_width(listed, 12),
            140,
        )
        lines = wrapped(classes, width - 2 * PAD, 12, 4)
        box = Box(
            title=title,
            vectors=listed,
            all_vectors=abbreviated(members, 40),
            classes=tuple(lines),
            all_classes=abbreviated(classes, 40),
            exemplars=tuple(self._exemplar[number][with_exemplar[:most]]),
            exemplar_classes=tuple(with_exemplar[:most].tolist()),
            left_out=max(len(with_exemplar) - most, 0),
            below=0,
            width=width,
            height=0,
            optimised=picture,
        )
        rows = -(-len(box.exemplars) // columns)
        images_height = max(rows * (_CELL + 4), (OPTIMISED + 18) * (picture is not None))
        height = box.images_top + images_height + _NOTE * (box.left_out > 0) + PAD - 4
        return replace(box, height=height)


def _with_below(box: Box, below: int) -> Box:
    return replace(box, below=below, height=box.height + _NOTE * (below > 0))


def _per_row(images: int) -> int:
    return max(1, min(images, 5))


def _beside(picture: OptimisedPicture | None) -> float:
    """Width that an optimised image takes from the exemplars."""
    return 0.0 if picture is None else OPTIMISED + 8.0
