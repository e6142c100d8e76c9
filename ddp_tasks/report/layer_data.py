"""What a layer's pages of vectors and classes show, as compact data that the page's script draws.

A page of every significant vector as elements would make a report many times as large. The data
are short lists; ``report.js.jinja`` reads them and says what stands where. Budgets are those of the
whole report, shared evenly by its layers: what is past them is told and is in the explorer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.figures.optimised_pictures import OptimisedPicture, in_colour, of_target
from ddp_tasks.figures.signal_overlays import limit_of
from ddp_tasks.figures.thumbnails import NumberedThumbnails, thumbnail
from ddp_tasks.figures.uncertainty import edge_shares
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.queries.controls import percentile_among
from ddp_tasks.queries.recorded_images import RecordedImages
from ddp_tasks.significance.confidence_intervals import shares_intervals
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant_images
from ddp_tasks.significance.tables import intervals_together
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVector, by_nodes
from schemas.shown import escaped

#: Of all layers together: vectors with a page, patches, cells of maps.
VECTORS, PATCHES, CELLS = 6000, 700, 600_000
#: Pictures of images: all of a run that keeps so many, else as many over all layers.
PICTURES = 2000
#: Of a vector in one direction: strongest images, patches, maps, and optimised images.
_STRONGEST, _PATCHES, _MAPS, _OPTIMISED = 8, 3, 3, 2
#: Up to so many classes a vector's share of every class is told; of more, those of some.
EVERY_CLASS, _SOME_CLASSES, _NEXT = 32, 60, 3
#: Nearest classes of each, of few classes and of many.
_NEAREST, _NEAREST_OF_MANY = 3, 1
#: Where a direction stands in stored arrays.
_PLACES = {direction: place for place, direction in enumerate(DIRECTIONS)}
#: Side of a patch in the page, at most.
_PATCH = 48


@dataclass(frozen=True)
class DataSources:
    """One layer's part of the store, as far as these pages need it."""

    table: LayerTable
    layer: LayerVectors
    images: RecordedImages
    exemplars: xr.Dataset
    """the group ``exemplars`` at the layer."""
    hierarchy: xr.Dataset
    hypergraph: xr.Dataset
    stability: xr.Dataset | None
    projections: xr.Dataset | None
    optimised: Sequence[OptimisedPicture]
    rotations: npt.NDArray[np.float64]
    """best η² of each random rotation; empty without."""
    eta_squared_of_signals: npt.NDArray[np.float64]
    """shape (v,); on the images that judge."""
    confidence: float
    searched: int
    """singular vectors of all layers in all directions, whose differences hold together."""
    layers: int
    """layers of the report."""


def layer_data(sources: DataSources, pictures: NumberedThumbnails, anchor: str) -> str:
    """The layer's data as JSON.

    Parameters
    ----------
    pictures
        takes note of the pictures that the pages show.
    anchor
        prefix of the names of pictures that are the layer's own.
    """
    return json.dumps(
        _Layer(sources, pictures, anchor).data(),
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


@dataclass
class _Left:
    """What is left of the budgets of a layer."""

    pictures: int
    patches: int
    cells: int
    seen: set[str] = field(default_factory=set)
    """images with a picture."""


class _Layer:
    """Collects the data of one layer."""

    def __init__(self, sources: DataSources, pictures: NumberedThumbnails, anchor: str) -> None:
        self._of, self._pictures, self._anchor = sources, pictures, anchor
        whole = (VECTORS, 24), (PICTURES, 24), (PATCHES, 12), (CELLS, 4000)
        own = [max(least, most // sources.layers) for most, least in whole]
        few = len(pictures) <= PICTURES
        self._most, self._left = own[0], _Left(PICTURES if few else own[1], own[2], own[3])
        self._images: dict[int, list[Any]] = {}
        self._target = dict(zip(sources.images.ids, sources.images.target.tolist(), strict=True))

    @cached_property
    def _count(self) -> npt.NDArray[np.int64]:
        """Images that judge which each node is significant for, shape (class, node)."""
        return significant_images(self._of.table.fraction, self._of.table.images)

    @cached_property
    def _resamples(self) -> npt.NDArray[np.float64] | None:
        of = self._of.stability
        if of is None or not np.isfinite(of["incidence"]).any():
            return None
        return by_nodes(of["incidence"], "target_class")

    def data(self) -> dict[str, Any]:
        of = self._of
        table, directions = of.table, len(of.table.directions)
        ranked: list[int] = []
        if table.significant.any():
            ranked = list(dict.fromkeys((table.most_discriminating() // directions).tolist()))
        shown = ranked[: self._most]
        vectors = [self._vector(vector) for vector in shown]
        return {
            "layer": of.layer.layer,
            "directions": list(table.directions),
            "quantile": table.quantile,
            "percentage": table.percentage,
            "thresholds": [_number(q) for q in table.thresholds],
            "rotations": len(of.rotations),
            "resampled": self._resamples is not None,
            "leftOut": len(ranked) - len(shown),
            "images": table.images.tolist(),
            "ends": self._ends(shown),
            "vectors": vectors,
            "sets": self._sets(),
            "nearest": self._nearest(),
            "seen": self._images,
        }

    def _vector(self, vector: int) -> dict[str, Any]:
        of, directions = self._of, self._of.table.directions
        sides = [self._side(vector, place) for place in range(len(directions))]
        of_sides = [
            self._maps(vector, direction, side["x"])
            for side, direction in zip(sides, directions, strict=True)
        ]
        maps = [one for of_side in of_sides for one in of_side]
        limit = limit_of(*maps)
        for side, of_side in zip(sides, of_sides, strict=True):
            side["m"] = [_signed_bytes(one, limit) for one in of_side]
        return {
            "v": vector,
            "s": _number(of.layer.singular_values[vector]),
            "a": int(of.layer.arbitrary[vector]),
            "g": _number(of.eta_squared_of_signals[vector]),
            "l": _number(limit) if maps else None,
            "h": list(maps[0].shape) if maps else None,
            "d": sides,
        }

    def _side(self, vector: int, place: int) -> dict[str, Any]:
        """One direction of a vector."""
        of, table = self._of, self._of.table
        node = vector * len(table.directions) + place
        signed = SignedVector(vector, 1 if table.directions[place] == DIRECTIONS[0] else -1)
        significant = np.flatnonzero(table.significant[:, node])
        if len(significant) > _SOME_CLASSES and len(table.images) > EVERY_CLASS:
            order = np.argsort(-table.fraction[significant, node], kind="stable")
            significant = significant[order[:_SOME_CLASSES]]
        side: dict[str, Any] = {
            "n": int(table.significant[:, node].sum()),
            "c": significant.tolist(),
            "e": _number(table.eta_squared[node]),
            **self._shares(node, significant),
        }
        if len(of.rotations):
            value = float(np.nan_to_num(table.eta_squared[node]))
            side["t"] = np.floor(10 * percentile_among(value, of.rotations)) / 10
        if self._resamples is not None:
            side["r"] = (
                np.rint(100 * np.nan_to_num(self._resamples[significant, node]))
                .astype(int)
                .tolist()
            )
        images = self._strongest(signed)
        return {
            **side,
            "x": [self._image(image) for image, _ in images],
            "y": [_number(signal) for _, signal in images],
            "p": self._patches(signed),
            "z": self._optimised(signed),
        }

    def _shares(self, node: int, significant: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Counts of images by class: of every class, or of the significant and the next ones."""
        count, images = self._count[:, node], self._of.table.images
        if len(images) <= EVERY_CLASS:
            return {"k": count.tolist()}
        share = np.where(images > 0, count / np.maximum(images, 1), -1.0)
        share[self._of.table.significant[:, node]] = -1
        others = np.argsort(-share, kind="stable")[:_NEXT]
        told = [*significant.tolist(), *others[share[others] >= 0].tolist()]
        return {"w": told, "k": count[told].tolist()}

    def _ends(self, vectors: Sequence[int]) -> dict[str, list[float]]:
        """Ends of the intervals of the counts that occur, as "count/images".

        Those of shares hold together within the layer; the third and fourth within all layers, and
        those of differences of shares are made of them.
        """
        table, directions = self._of.table, len(self._of.table.directions)
        nodes = [v * directions + place for v in vectors for place in range(directions)]
        if not nodes:
            return {}
        images = np.broadcast_to(table.images[:, None], (len(table.images), len(nodes)))
        pairs = np.unique(np.stack([self._count[:, nodes].ravel(), images.ravel()]), axis=1)
        k, n = pairs[:, pairs[1] > 0]
        ends = [
            end
            for together in (intervals_together(table), self._of.searched)
            for end in shares_intervals(k, n, self._of.confidence, together)
        ]
        rounded = np.round(np.stack(ends, axis=1), 4).tolist()
        return {
            f"{a}/{b}": four for a, b, four in zip(k.tolist(), n.tolist(), rounded, strict=True)
        }

    @cached_property
    def _exemplars(self) -> dict[str, npt.NDArray[Any]]:
        return _by_vector(self._of.exemplars, "image", "signal")

    @cached_property
    def _projections(self) -> dict[str, npt.NDArray[Any]]:
        of = self._of.projections
        names = ("image", "map", "patch", "patch_image", "patch_signal")
        return {} if of is None else _by_vector(of, *names)

    def _strongest(self, signed: SignedVector) -> list[tuple[str, float]]:
        at = _PLACES[signed.direction], signed.vector
        of_side = (self._exemplars[name][at] for name in ("image", "signal"))
        pairs = zip(*of_side, strict=True)
        return [(str(image), float(signal)) for image, signal in pairs if image][:_STRONGEST]

    def _image(self, image: str) -> int | str:
        """Number of an image's picture, or its id where no picture is shown."""
        left, number = self._left, self._pictures.number(image)
        if number < 0 or (image not in left.seen and left.pictures <= 0):
            return escaped(image)
        if image not in left.seen:
            left.seen.add(image)
            left.pictures -= 1
            self._pictures[image]
            self._images[number] = [escaped(image), self._target[image]]
        return number

    def _maps(
        self, vector: int, direction: str, shown: Sequence[int | str]
    ) -> list[npt.NDArray[np.float32]]:
        """Maps of the strongest images that are shown, in their order, while the budget lasts."""
        found: list[npt.NDArray[np.float32]] = []
        of = self._projections
        if not of or of["map"].shape[-2:] == (1, 1):
            return []
        at = _PLACES[direction], vector
        mapped, maps = of["image"][at], of["map"][at]
        for place, number in enumerate(shown[: min(_MAPS, len(maps))]):
            image = self._images.get(number, [""])[0] if isinstance(number, int) else ""
            size = maps[place].size
            if not image or escaped(str(mapped[place])) != image or self._left.cells < size:
                break
            self._left.cells -= size
            found.append(maps[place])
        return found

    def _patches(self, signed: SignedVector) -> list[list[Any]]:
        of = self._projections
        found: list[list[Any]] = []
        if not of or self._left.patches < _PATCHES:
            return []
        at = _PLACES[signed.direction], signed.vector
        cut, signal = of["patch"][at], of["patch_signal"][at]
        for place, image in enumerate(map(str, of["patch_image"][at])):
            if not image or len(found) == _PATCHES:
                continue
            name = f"{self._anchor}/patch-{signed.vector}-{signed.sign}-{place}"
            self._pictures.numbered(name, thumbnail(in_colour(cut[place]), _PATCH, 1))
            found.append([name, escaped(image), _number(signal[place])])
        self._left.patches -= len(found)
        return found

    def _optimised(self, signed: SignedVector) -> list[list[Any]]:
        shown = of_target(self._of.optimised, [signed])[:_OPTIMISED]
        return [[one.thumbnail.uri, one.method, list(one.trust), one.failed] for one in shown]

    def _sets(self) -> list[list[Any]]:
        """Equivalence classes: members as vector and sign, classes, and the edges below each."""
        hierarchy = self._of.hierarchy
        covers = hierarchy["covers"].to_numpy()
        held = edge_shares(self._of.stability)
        inclusion = {edge: round(100 * share) for edge, share in held.items()}
        return [
            [
                [[m.vector, m.sign] for m in members],
                np.flatnonzero(classes)[:_SOME_CLASSES].tolist(),
                [
                    [below, inclusion.get((i, below), -1)]
                    for below in np.flatnonzero(covers[i]).tolist()
                ],
            ]
            for i, (members, classes) in enumerate(
                zip(members_of(hierarchy), hierarchy["target_classes"].to_numpy(), strict=True)
            )
        ]

    def _nearest(self) -> list[list[list[Any]]]:
        """Of each class the classes that share most vectors with it: position and Jaccard, in %."""
        relations, names = self._of.hypergraph, self._of.images.target_classes
        position = {name: i for i, name in enumerate(names)}
        others = [position[str(n)] for n in relations["other_class"].to_numpy()]
        similar = np.nan_to_num(relations["jaccard"].to_numpy().astype(np.float64))
        most = _NEAREST if len(names) <= EVERY_CLASS else _NEAREST_OF_MANY
        rows = []
        for c, row in enumerate(similar):
            order = [i for i in np.argsort(-row, kind="stable")[: most + 1] if others[i] != c]
            rows.append([[others[i], round(100 * row[i])] for i in order[:most] if row[i] > 0])
        return rows


def _by_vector(stored: xr.Dataset, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a group with the direction first, positive before negative, then the vector."""
    ordered = stored[list(names)].sel(direction=list(DIRECTIONS))
    return {
        name: ordered[name].transpose("direction", "singular_vector", ...).to_numpy()
        for name in names
    }


def _signed_bytes(values: npt.NDArray[np.float32], limit: float) -> str:
    """A map as signed bytes from -127 to 127, which stand for -limit to limit."""
    scaled = np.rint(127 * np.clip(np.nan_to_num(values) / limit, -1, 1)).astype(np.int8)
    return base64.b64encode(scaled.tobytes()).decode("ascii")


def _number(value: Any) -> float | None:
    """A number of six significant digits; None in place of NaN, which JSON has not."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None
