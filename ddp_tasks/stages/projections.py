"""Maps of signals over positions of the strongest images, and patches, as a Prefect task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.prepared_run import prepare
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.visualization.exemplars import image_ids
from ddp_tasks.visualization.projection_heatmaps import (
    PATCH_SIDE,
    PATCHES,
    Integers,
    Places,
    patch_size,
    strongest_places,
)
from ddp_tasks.weights.signed_vectors import DIRECTIONS
from ddp_tasks.workers import kept
from ddp_tasks.workers.opened import run_image_ids
from ddp_tasks.workers.projections import (
    Cutting,
    Found,
    Looking,
    cut_patches,
    look,
    patch_boxes,
    positions_of,
    strongest_of_positions,
    write_projections,
)
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import RunParameters

#: Images of each vector and direction that have a map.
_IMAGES = 3
#: Images that one task passes through the network at most, and tasks at least.
_MOST_IMAGES, _LEAST_TASKS = 256, 8
#: Bytes that a task is sent at most.
_SENT_BYTES = 1 << 22


def _has_projections(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    return None if kept.unprojected_layers(run, path) else "projections: kept from before"


@stage("projections", after=["exemplars", "spatial"], unless=_has_projections)
def project_exemplars(run: RunParameters, path: Path, scheduler: str) -> None:
    """Have the Dask workers make maps of signals of the strongest images, and cut patches.

    Finished layers are kept.
    """
    missing = kept.unprojected_layers(run, path)
    stored, mapping = StoredRun.of(path, run), _Mapping(run, scheduler)
    wanted = _Wanted.of(run, path, missing)
    boxes = mapping("receptive fields", partial(patch_boxes, stored), [wanted.grids])[0][1]
    if run.spatial_statistics:
        for layer, images in mapping(
            "strongest positions", partial(strongest_of_positions, path), sorted(boxes)
        ):
            wanted.add_patches(layer, images)
    blocks = wanted.blocks(() if run.spatial_statistics else tuple(boxes))
    layers = {layer: _Layer(wanted, layer, boxes.get(layer)) for layer in wanted.layers}
    for block, found in mapping("maps of signals", partial(look, stored, wanted.names), blocks):
        for layer in found.maps:
            layers[layer].take(block, found)
        for row, place in found.patches.items():
            layers[int(block.patches[row, 1])].take_patch(block.patches[row], place)
    for of_layer in layers.values():
        of_layer.settle()
    cuts = _cuts(layers)
    for (numbers, _), patches in mapping("patches", partial(_cut, stored), cuts):
        for (layer, place), cut in zip(numbers, patches, strict=True):
            layers[layer].patches[place] = cut
    write = partial(write_projections, path, kept.of_projections(run, path))
    made = [
        (group_path("projections", wanted.names[layer]), of_layer.dataset())
        for layer, of_layer in layers.items()
    ]
    # Large ones are not sent through Dask's scheduler.
    large = [one for one in made if one[1].nbytes > _SENT_BYTES]
    mapping("maps to the store", write, [one for one in made if one[1].nbytes <= _SENT_BYTES])
    for one in large:
        write(one)


class _Mapping:
    """Maps functions over the workers, each with a progress of its own."""

    def __init__(self, run: RunParameters, scheduler: str) -> None:
        self._run, self._scheduler = run, scheduler

    def __call__(self, what: str, function: Any, items: Any) -> list[tuple[Any, Any]]:
        """Items and their results, all of them."""
        with over_workers(
            self._scheduler,
            self._run.shards.patience,
            key=what.replace(" ", "-"),
            description=what,
            total=len(items),
            named=lambda _: what,
        ) as mapped:
            return list(mapped(function, items))


def _cut(stored: StoredRun, item: tuple[Any, Cutting]) -> list[npt.NDArray[np.uint8]]:
    return cut_patches(stored, item[1])


@dataclass
class _Wanted:
    """Whose maps and patches are wanted, in rows of (image, layer, direction, vector, place)."""

    names: list[str]
    layers: list[int]
    """that are to be written."""
    ranks: list[int]
    ids: tuple[str, ...]
    exemplars: xr.Dataset
    """the group ``exemplars``, the first places."""
    grids: list[int]
    """layers with a grid of several positions over images that are pictures."""
    maps: Integers
    patches: list[Integers] = field(default_factory=list)

    @classmethod
    def of(cls, run: RunParameters, path: Path, missing: list[str]) -> _Wanted:
        """The maps of the strongest images of some layers."""
        layers, ids = groups.read(path, "layers").load(), run_image_ids(path)
        names = layers["layer"].to_numpy().tolist()
        exemplars = groups.read(path, "exemplars")[["image", "signal"]]
        exemplars = exemplars.isel(place=slice(0, _IMAGES)).load()
        prepared = prepare(run)
        positions = {layer.name: positions_of(layer) for layer in prepared.layers.linear}
        chosen = [names.index(name) for name in missing]
        several = [layer for layer in chosen if np.prod(positions[names[layer]]) > 1]
        pictures = prepared.layers.images.ndim == 4
        number = {image: position for position, image in enumerate(ids)}
        image = exemplars["image"].to_numpy().astype(object)
        direction, layer, vector, place = np.nonzero(image != "")
        of_several = np.isin(layer, several)
        rows = [one[of_several] for one in (layer, direction, vector, place)]
        position = [number[one] for one in image[direction, layer, vector, place][of_several]]
        return cls(
            names=names,
            layers=chosen,
            ranks=layers["rank"].to_numpy().tolist(),
            ids=ids,
            exemplars=exemplars,
            grids=[i for i in several if pictures and len(positions[names[i]]) == 2],
            maps=np.stack([np.array(position, dtype=np.int64), *rows], axis=1),
        )

    def add_patches(self, layer: int, images: Integers) -> None:
        """Want the strongest positions of images, shape (direction, r, patch)."""
        direction, vector, place = np.nonzero(images >= 0)
        of_layer = np.full(len(direction), layer)
        image = images[direction, vector, place]
        self.patches.append(np.stack([image, of_layer, direction, vector, place], axis=1))

    def blocks(self, searched: tuple[int, ...]) -> list[Looking]:
        """Tasks, each of other images."""
        patches = np.concatenate([np.empty((0, 5), dtype=np.int64), *self.patches])
        both = np.concatenate([self.maps, patches])
        images, at = np.unique(both[:, 0], return_inverse=True)
        deepest = np.zeros(len(images), dtype=np.int64)
        np.maximum.at(deepest, at, both[:, 1])
        # The passes of a task end at the deepest layer that its images are wanted for.
        images = images[np.argsort(deepest, kind="stable")]
        size = max(1, min(_MOST_IMAGES, -(-len(images) // _LEAST_TASKS)))
        blocks = []
        for first in range(0, len(images), size):
            own = images[first : first + size]
            maps, of_patches = (_renumbered(rows, own) for rows in (self.maps, patches))
            blocks.append(Looking(tuple(own.tolist()), maps, of_patches, searched))
        return blocks


def _renumbered(rows: Integers, images: Integers) -> Integers:
    order = np.argsort(images)
    own = rows[np.isin(rows[:, 0], images)]
    own[:, 0] = order[np.searchsorted(images, own[:, 0], sorter=order)]
    return own


class _Layer:
    """What is gathered of one layer."""

    def __init__(self, wanted: _Wanted, layer: int, boxes: Integers | None) -> None:
        self._wanted, self._layer, self.boxes = wanted, layer, boxes
        rank = wanted.ranks[layer]
        self._exemplars = wanted.exemplars.isel(layer=layer, singular_vector=slice(0, rank))
        self._places = (len(DIRECTIONS), rank, self._exemplars.sizes["place"])
        self._map = self._exemplars["signal"].to_numpy()[..., None, None]
        self._position = np.zeros(self._places, dtype=np.int64)
        self.shape = (1, 1)
        self._images: set[int] = set()
        self._found: list[Places] = []
        none = (2, rank, PATCHES)
        self.found = Places(
            np.full(none, -1), np.full(none, np.nan, dtype=np.float32), np.zeros(none, dtype=int)
        )
        self.patches: dict[tuple[int, int, int], npt.NDArray[np.uint8]] = {}

    def take(self, block: Looking, found: Found) -> None:
        """Take the maps of some images."""
        layer = self._layer
        if self.shape != found.shape[layer]:
            self.shape = found.shape[layer]
            sides = found.maps[layer][0].shape
            self._map = np.full((*self._places, *sides), np.nan, dtype=np.float32)
        rows = block.maps[found.rows[layer]]
        at = tuple(rows[:, 2:].T)
        self._map[at] = np.stack(found.maps[layer])
        self._position[at] = found.positions[layer]
        self._images |= {block.images[image] for image in rows[:, 0]}
        if layer in found.searched:
            self._found.append(found.searched[layer])

    def take_patch(self, row: Integers, place: tuple[float, int, int]) -> None:
        """Take the strongest position of an image chosen before."""
        at = tuple(row[2:])
        self.found.signal[at], self.found.position[at], self.found.image[at] = place

    def settle(self) -> None:
        """Choose the strongest of all patches."""
        found = [self.found, *self._found]
        whole = [
            np.concatenate([getattr(one, name) for one in found], axis=-1)
            for name in ("image", "signal", "position")
        ]
        self.found = strongest_places(Places(*whole))

    def box(self) -> Integers:
        """The box of each patch, shape (direction, r, patch, 4); zeros where there is none."""
        assert self.boxes is not None
        y, x = np.divmod(self.found.position, self.shape[1])
        box = np.moveaxis(self.boxes[:, y, x], 0, -1)
        return np.where(self.found.image[..., None] < 0, 0, box)

    def dataset(self) -> xr.Dataset:
        """The group ``projections/LAYER``."""
        of_images, of_vectors = ("direction", "singular_vector", "place"), self._places[:2]
        y, x = np.divmod(self._position, self.shape[1])
        ids = self._wanted.ids
        if self.boxes is None:
            box = np.zeros((*of_vectors, 0, 4), dtype=np.int64)
            cut = np.zeros((*of_vectors, 0, 0, 0, 3), dtype=np.uint8)
            found = Places(box[..., 0], box[..., 0].astype(np.float32), box[..., 0])
        else:
            box, found = self.box(), self.found
            cut = np.zeros((*found.image.shape, *patch_size(self.boxes), 3), dtype=np.uint8)
            for place, patch in self.patches.items():
                cut[place] = patch
        of_patches = ("direction", "singular_vector", "patch")
        sides = {
            f"patch_{side}": (of_patches, box[..., i])
            for i, side in enumerate(("top", "left", "bottom", "right"))
        }
        return xr.Dataset(
            {
                "image": (of_images, self._exemplars["image"].to_numpy().astype(object)),
                "signal": (of_images, self._exemplars["signal"].to_numpy()),
                "map": ((*of_images, "y", "x"), self._map),
                "strongest_y": (of_images, y),
                "strongest_x": (of_images, x),
                "patch": ((*of_patches, "patch_y", "patch_x", "channel"), cut),
                "patch_image": (of_patches, image_ids(found.image, ids)),
                "patch_signal": (of_patches, found.signal),
                **sides,
            },
            coords={
                "direction": np.array(DIRECTIONS, dtype=object),
                "singular_vector": np.arange(of_vectors[1]),
            },
            attrs={
                "layer": self._wanted.names[self._layer],
                "map_height": self.shape[0],
                "map_width": self.shape[1],
                "images_searched": len(ids) if self._wanted.patches else len(self._images),
            },
        )


def _cuts(layers: Mapping[int, _Layer]) -> list[tuple[list[Any], Cutting]]:
    """Tasks that cut all patches, each from other images."""
    numbers: list[tuple[int, tuple[int, int, int]]] = []
    parts: list[tuple[Integers, Integers, Integers, npt.NDArray[np.float64]]] = []
    for layer, one in layers.items():
        if one.boxes is None:
            continue
        places = np.argwhere(one.found.image >= 0)
        at, size = tuple(places.T), patch_size(one.boxes)
        longest = int(max((one.boxes[2:] - one.boxes[:2]).max(), 1))
        parts.append(
            (
                one.found.image[at],
                one.box()[at],
                np.broadcast_to(size, (len(places), 2)),
                np.full(len(places), min(1.0, PATCH_SIDE / longest)),
            )
        )
        numbers += [(layer, (d, v, p)) for d, v, p in places.tolist()]
    if not numbers:
        return []
    whole = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(whole[0], kind="stable")
    return [
        ([numbers[i] for i in own], Cutting(*(column[own] for column in whole)))
        for own in np.array_split(order, min(len(order), _LEAST_TASKS))
    ]
