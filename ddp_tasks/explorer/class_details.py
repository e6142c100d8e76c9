"""What a layer knows of one class: its significant vectors, and the classes that share them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np

from ddp_tasks.explorer.node_details import ShownImage, shown_image
from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import address_of
from ddp_tasks.figures.notation import node_names

_VECTORS, _CLASSES, _IMAGES = 30, 10, 12


@dataclass(frozen=True)
class VectorOfClass:
    """A vector that is significant for the class."""

    name: str
    does: str
    share: float
    """of the class's images that judge."""
    others: int
    """other classes that it is significant for."""


@dataclass(frozen=True)
class NearClass:
    """Another class that shares vectors with it."""

    name: str
    does: str
    shared: int
    jaccard: float
    """shared vectors over those of either."""
    apart: str
    """what shows the vectors that tell the two apart."""


@dataclass(frozen=True)
class ClassDetails:
    """Everything that is shown of a class, or of a group of them."""

    name: str
    members: tuple[str, ...]
    """classes of a group; empty of a class."""
    images: int
    """that choose and that judge."""
    accuracy: float
    """share of its images that the network names correctly; NaN of a group."""
    vectors: list[VectorOfClass]
    vectors_in_all: int
    near: list[NearClass]
    pictures: list[ShownImage]
    pictures_in_all: int


def class_details(shown: Slice, name: str) -> ClassDetails | None:
    """Gather what a layer knows of a class; None where no class or group has this name."""
    table, run = shown.table, shown.run
    if name not in table.target_classes:
        return None
    place = table.target_classes.index(name)
    own = table.significant[place]
    nodes, names = np.flatnonzero(own), node_names(shown.nodes)
    others = table.significant.sum(axis=0) - 1
    # The vectors of few classes say most of one.
    order = nodes[np.lexsort((-table.fraction[place, nodes], others[nodes]))]
    members = tuple(shown.groups[name]) if shown.groups else ()
    labels = [run.target_classes.index(c) for c in (members or (name,))]
    inside = np.isin(run.signals.target, labels)
    predicted, _ = run.predicted
    ids = [image for image in run.pictures if inside[run.position[image]]]
    return ClassDetails(
        name=name,
        members=members,
        images=int(inside.sum()),
        accuracy=float((predicted[inside] == labels[0]).mean())
        if len(labels) == 1 and inside.any()
        else float("nan"),
        vectors=[
            VectorOfClass(
                names[node],
                urlencode({"at": address_of(shown.nodes[node])}),
                float(table.fraction[place, node]),
                int(others[node]),
            )
            for node in order[:_VECTORS].tolist()
        ],
        vectors_in_all=len(nodes),
        near=_near(shown, place),
        pictures=[shown_image(shown, image, float("nan")) for image in ids[:_IMAGES]],
        pictures_in_all=len(ids),
    )


def _near(shown: Slice, place: int) -> list[NearClass]:
    significant = shown.table.significant
    own, names = significant[place], shown.table.target_classes
    shared = (significant & own).sum(axis=1)
    either = (significant | own).sum(axis=1)
    jaccard = np.where(either > 0, shared / np.maximum(either, 1), 0.0)
    jaccard[place] = -1
    order = np.argsort(-jaccard, kind="stable")[:_CLASSES]
    return [
        NearClass(
            names[c],
            urlencode({"at": f"class:{names[c]}"}),
            int(shared[c]),
            float(jaccard[c]),
            urlencode({"view": "pair", "a": names[place], "b": names[c]}),
        )
        for c in order.tolist()
        if jaccard[c] > 0
    ]
