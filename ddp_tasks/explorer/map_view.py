"""Maps of a layer: its images, and its classes, as points near those with like signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ddp_tasks.explorer.layer_samples import LayerSample
from ddp_tasks.explorer.slices import Slice
from ddp_tasks.figures.map_figures import class_map, image_map
from ddp_tasks.figures.svg import svg
from ddp_tasks.figures.thumbnails import Thumbnail
from ddp_tasks.significance.signal_maps import (
    LEAST_IMAGES,
    SignalMap,
    class_means,
    has_umap,
    principal_plane,
)
from ddp_tasks.weights.signed_vectors import DIRECTIONS


@dataclass(frozen=True)
class DrawnMap:
    """A map, and what is said of it."""

    drawn: str
    """as SVG."""
    says: str
    name: str
    layouts: list[tuple[str, str, bool]]
    """ways to lay it out: its name, what choosing it does, and whether it is the one shown."""


def draw_images(
    shown: Slice, sample: LayerSample, plane: SignalMap, layouts: list[tuple[str, str, bool]]
) -> DrawnMap:
    """The images of a sample on a map."""
    run = shown.run
    ids = [run.signals.ids[place] for place in sample.position.tolist()]
    figure = image_map(plane, ids, sample.target, run.target_classes, run.thumbnails)
    images = len(run.signals.ids)
    of_all = "" if len(ids) == images else f"{len(ids):,} of {images:,} images. "
    drawn = svg(figure, f"Map of images in layer {shown.layer}", _image_action)
    says = f"{of_all}{_axes(plane)} Pictures stand where none covers another.{_no_umap(len(ids))}"
    return DrawnMap(drawn, says, f"images-{shown.layer}", layouts)


def draw_classes(shown: Slice, sample: LayerSample) -> DrawnMap:
    """The classes of a run by their mean signals on a map."""
    run = shown.run
    means, present = class_means(sample.signals, sample.target, len(run.target_classes))
    plane = principal_plane(means.astype("float32"))
    names = [run.target_classes[c] for c in present.tolist()]
    figure = class_map(plane, names, present, _pictured(shown, names))
    drawn = svg(figure, f"Map of classes in layer {shown.layer}", _class_action)
    says = f"Mean signals of each class over {len(sample):,} images. {_axes(plane)}"
    return DrawnMap(drawn, says, f"classes-{shown.layer}", [])


def layouts_of(sample: LayerSample, by: str) -> list[tuple[str, str, bool]]:
    """The ways to lay images out that there are here."""
    ways = [("principal components", "pca")]
    if has_umap() and len(sample) >= LEAST_IMAGES:
        ways.append(("UMAP", "umap"))
    return [(name, urlencode({"by": way}), way == by) for name, way in ways]


def _no_umap(images: int) -> str:
    """Why there is no UMAP of so many images; empty where there is."""
    if images < LEAST_IMAGES:
        return f" UMAP takes {LEAST_IMAGES} images or more."
    return "" if has_umap() else " For UMAP, install ddp-flows[umap]."


def _axes(plane: SignalMap) -> str:
    if plane.variance is None:
        return "UMAP by cosines: who is near whom counts, distances do not."
    first, second = plane.variance
    return (
        f"Principal components of the layer's signals: {first:.0%} of the variance from left to "
        f"right, {second:.0%} from below to above; each axis has a scale of its own."
    )


def _pictured(shown: Slice, names: list[str]) -> list[Thumbnail | None]:
    """A picture of each class: the strongest image along the layer's first vectors that has one."""
    run = shown.run
    of_layer = run.exemplars["class_image"].sel(layer=shown.layer, direction=DIRECTIONS[0])
    places = of_layer.isel(singular_vector=slice(0, 8)).load()
    ids: dict[str, str] = {}
    for image in run.pictures:
        ids.setdefault(run.class_of(image), image)
    found: list[Thumbnail | None] = []
    for name in names:
        strongest = [run.signals.ids[p] for p in places.sel(target_class=name).to_numpy() if p >= 0]
        kept = [image for image in strongest if image in run.thumbnails]
        shown_one = kept[0] if kept else ids.get(name)
        found.append(None if shown_one is None else run.thumbnails[shown_one])
    return found


def _image_action(_group: str, row: Mapping[str, Any]) -> str | None:
    return urlencode({"at": f"image:{row['image']}"}) if "image" in row else None


def _class_action(_group: str, row: Mapping[str, Any]) -> str | None:
    return urlencode({"at": f"class:{row['target_class']}"}) if "target_class" in row else None
