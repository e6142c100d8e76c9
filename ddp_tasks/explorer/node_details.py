"""What is known of one singular vector in one direction: which classes, which images, by chance?"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from ddp_tasks.explorer.slices import Slice
from ddp_tasks.explorer.view_state import address_of
from ddp_tasks.figures.notation import node_name
from ddp_tasks.figures.optimised_pictures import OptimisedPicture, of_target
from ddp_tasks.figures.signal_overlays import limit_of, overlay
from ddp_tasks.figures.thumbnails import Thumbnail, thumbnail
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.significance.tables import table_intervals
from ddp_tasks.weights.signed_vectors import SignedVector

_IMAGES, _PATCHES, _CLASSES, _OPTIMISED = 12, 8, 12, 4
#: Measure of the controls that a single vector's η² can be held against.
_BEST = "eta_squared_best"


@dataclass(frozen=True)
class ShownImage:
    """An image with its signal."""

    id: str
    does: str
    picture: Thumbnail
    target_class: str
    signal: float
    map: Thumbnail | None = None
    """its signals at every position, to lie over the picture."""


@dataclass(frozen=True)
class ClassShare:
    """How often a vector is significant for the images of a class."""

    name: str
    does: str
    share: float
    low: float
    high: float
    """ends of the interval; those of the layer's whole table hold together."""
    significant: bool
    resamples: float
    """share of the resamples in which the incidence holds; NaN where that is not known."""


@dataclass(frozen=True)
class Chance:
    """What random rotations of the layer's vectors give in place of the best of these."""

    rotations: int
    best_below: int
    """rotations whose best vector has a smaller η² than this one."""
    layer_percentile: float
    """where the best of the layer's own vectors stands among them."""
    median: float
    """of the rotations' best."""


@dataclass(frozen=True)
class NodeDetails:
    """Everything that is shown of a node."""

    name: str
    layer: str
    direction: str
    singular_value: float
    arbitrary: bool
    """whether its singular value cannot be told from its neighbour's."""
    eta_squared: float
    threshold: float
    shares: list[ClassShare]
    shares_left_out: int
    judged_on: int
    confidence: float
    chance: Chance | None
    strongest: list[ShownImage]
    patches: list[ShownImage]
    searched: int
    """images searched for patches."""
    optimised: list[OptimisedPicture]
    same: list[tuple[str, str]]
    """other members of its equivalence class, by what choosing them does."""
    above: list[tuple[str, str]]
    """more general equivalence classes that cover it."""
    below: list[tuple[str, str]]
    opposite: tuple[str, str]
    """the same vector in the other direction."""


def node_details(shown: Slice, member: SignedVector) -> NodeDetails | None:
    """Gather what a run knows of one of its vectors; None where the vector is no node here."""
    node = shown.node(member)
    if node is None:
        return None
    table, run = shown.table, shown.run
    confidence = run.signals.run.significance.confidence
    shares = _shares(shown, node, confidence)
    strongest, patches, searched = _images(shown, member)
    same, above, below = _neighbours(shown, member)
    other = SignedVector(member.vector, -member.sign)
    return NodeDetails(
        name=shown.nodes.name(node),
        layer=shown.layer,
        direction=member.direction,
        singular_value=float(shown.nodes.singular_values[node]),
        arbitrary=bool(shown.nodes.arbitrary[node]),
        eta_squared=float(table.eta_squared[node]),
        threshold=table.thresholds[table.directions.index(member.direction)],
        shares=shares[:_CLASSES],
        shares_left_out=sum(share.significant for share in shares[_CLASSES:]),
        judged_on=int(table.images.sum()),
        confidence=confidence,
        chance=_chance(shown, float(table.eta_squared[node])),
        strongest=strongest,
        patches=patches,
        searched=searched,
        optimised=of_target(run.optimised(shown.layer), (member,))[:_OPTIMISED],
        same=same,
        above=above,
        below=below,
        opposite=(str(other), _at(address_of(other), direction="both")),
    )


def _at(at: str, **more: str) -> str:
    return urlencode({"at": at, **more})


def _shares(shown: Slice, node: int, confidence: float) -> list[ClassShare]:
    """Of all classes: the significant ones first, then by their shares."""
    table = shown.table
    low, high = (ends[:, 0] for ends in table_intervals(table, confidence, [node]))
    fraction, held = table.fraction[:, node], table.significant[:, node]
    resamples = _resamples(shown, node, len(fraction))
    order = np.lexsort((-np.nan_to_num(fraction), ~held))
    return [
        ClassShare(
            table.target_classes[c],
            _at(f"class:{table.target_classes[c]}"),
            float(fraction[c]),
            float(low[c]),
            float(high[c]),
            bool(held[c]),
            float(resamples[c]),
        )
        for c in order.tolist()
        if np.isfinite(fraction[c])
    ]


def _resamples(shown: Slice, node: int, classes: int) -> npt.NDArray[np.float64]:
    """In which share of the run's resamples each incidence of a node holds, at its own levels."""
    stability = shown.stability
    if stability is None:
        return np.full(classes, np.nan)
    member = shown.nodes[node]
    at = {"singular_vector": member.vector, "direction": member.direction}
    return np.asarray(stability["incidence"].sel(at).to_numpy(), dtype=np.float64)


def _chance(shown: Slice, eta_squared: float) -> Chance | None:
    """Where the vector stands among the best of random rotations; at the run's own levels alone."""
    controls = shown.run.controls
    if not shown.own or _BEST not in controls["measure"].to_numpy():
        return None
    at = {"layer": shown.layer, "measure": _BEST}
    drawn = controls["rotation"].sel(at).to_numpy()
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    return Chance(
        len(drawn),
        int((drawn < eta_squared).sum()),
        float(controls["percentile"].sel(at)),
        float(np.median(drawn)),
    )


def _images(shown: Slice, member: SignedVector) -> tuple[list[ShownImage], list[ShownImage], int]:
    """Strongest images with their maps, patches, and how many images were searched for these."""
    run = shown.run
    at = {"singular_vector": member.vector, "direction": member.direction}
    stored = run.exemplars.sel({**at, "layer": shown.layer})
    projections = run.of_layer("projections", shown.layer)
    maps: dict[str, npt.NDArray[np.float32]] = {}
    if projections is not None and projections["map"].shape[-2:] != (1, 1):
        of_side = projections[["map", "image"]].sel(at)
        pairs = zip(of_side["image"].to_numpy(), of_side["map"].to_numpy(), strict=True)
        maps = {str(image): values for image, values in pairs if image}
    limit = limit_of(*maps.values())
    strongest = []
    for image, signal in zip(
        stored["image"].to_numpy()[:_IMAGES], stored["signal"].to_numpy(), strict=False
    ):
        if not image:
            continue
        picture = run.thumbnails[str(image)]
        veil = overlay(maps[str(image)], limit, picture) if str(image) in maps else None
        strongest.append(shown_image(shown, str(image), float(signal), veil))
    patches, searched = [], 0
    if projections is not None:
        of_side = projections[["patch", "patch_image", "patch_signal"]].sel(at).load()
        searched = int(projections.attrs["images_searched"])
        rows = zip(
            of_side["patch_image"].to_numpy(),
            of_side["patch"].to_numpy(),
            of_side["patch_signal"].to_numpy(),
            strict=True,
        )
        for image, cut, signal in [row for row in rows if row[0]][:_PATCHES]:
            three = np.repeat(cut, 3, axis=2) if cut.shape[2] == 1 else cut
            patches.append(
                ShownImage(
                    str(image),
                    _at(f"image:{image}"),
                    thumbnail(three, 64, 48),
                    run.class_of(str(image)),
                    float(signal),
                )
            )
    return strongest, patches, searched


def shown_image(
    shown: Slice, image: str, signal: float, veil: Thumbnail | None = None
) -> ShownImage:
    """An image of the run with its signal."""
    run = shown.run
    return ShownImage(
        image, _at(f"image:{image}"), run.thumbnails[image], run.class_of(image), signal, veil
    )


def _neighbours(
    shown: Slice, member: SignedVector
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """Others of its equivalence class, and the classes just above and below it in the hierarchy."""
    members = members_of(shown.hierarchy)
    own = next((i for i, of in enumerate(members) if member in of), None)
    if own is None:
        return [], [], []
    directions, covers = shown.table.directions, shown.hierarchy["covers"].to_numpy()

    def named(one: SignedVector, more: int = 0) -> tuple[str, str]:
        name = node_name(one.vector, one.direction, directions)
        return (f"{name}:{more}" if more else name), _at(address_of(one))

    def classes(numbers: npt.NDArray[np.int64]) -> list[tuple[str, str]]:
        return [named(members[i][0], len(members[i])) for i in numbers.tolist()]

    return (
        [named(one) for one in members[own] if one != member][:24],
        classes(np.flatnonzero(covers[:, own])),
        classes(np.flatnonzero(covers[own])),
    )
