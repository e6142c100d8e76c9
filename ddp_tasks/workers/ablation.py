"""Removing singular vectors of one layer on the images that judge, in Dask workers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddp_tasks.controls.layer_images import some_of_each
from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.interventions.judged_removals import JudgedRemovals, judged_removals
from ddp_tasks.interventions.removal_controls import (
    LayerBasis,
    RemovedSet,
    controls,
    singular_set,
)
from ddp_tasks.interventions.removal_effects import ClassDrops, Floats, selectivity
from ddp_tasks.interventions.removal_sets import ClassSets, judging_images, own_and_others
from ddp_tasks.interventions.verified_removal import Candidate, Way, quickest_way
from ddp_tasks.networks.batch_norm_folding import FoldedLayer
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.forward_pass import folded_copy
from ddp_tasks.queries.shown_images import ShownImages
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.store import cube, groups
from ddp_tasks.workers import kept
from ddp_tasks.workers.decomposition import folding_once
from ddp_tasks.workers.devices import best_device
from ddp_tasks.workers.once import ONE_AT_A_TIME, content_of_run, prepared_once
from ddp_tasks.workers.opened import opened
from ddp_tasks.workers.signals import plain_pass
from ddp_tasks.workers.stored_run import StoredRun
from schemas.ablation_parameters import AblationParameters
from schemas.ablation_variables import CHANGES
from schemas.names import group_path
from schemas.parameters import RunError

#: Signals of a layer whose second moments are taken at most; of more, some images of each class.
_MOST_SIGNALS = 1 << 24
#: Tasks that a layer's classes, and its vectors, are cut into at most.
_MOST_TASKS = 10
#: Fewest vectors of a task: below, images are read more often than it is worth.
_LEAST_VECTORS = 63
#: Values of the directions that wait to be removed together: 128 MB.
_MOST_VALUES = 1 << 24
#: Images with which the way of removing is chosen, and directions removed for it.
_COMPARED_IMAGES, _COMPARED_DIRECTIONS = 4, 2


@dataclass(frozen=True)
class Part:
    """What one task removes from a layer."""

    layer: str
    classes: range = range(0)
    """target classes whose significant vectors are removed."""
    vectors: range = range(0)
    """singular vectors that are removed one by one."""

    def __str__(self) -> str:
        what = f"vectors of {len(self.classes)} classes" if self.classes else "single vectors"
        return f"{self.layer}: {what}"


@dataclass(frozen=True)
class Removal:
    """One removal of several directions, without the directions themselves."""

    kind: str
    draw: int
    control_of: int
    """which set of the class it is, or is a control of."""
    directions: int
    energy: float
    members: tuple[int, ...]
    """singular vectors, where it removes some."""

    @classmethod
    def of(cls, control_of: int, removed: RemovedSet) -> Removal:
        """What is kept of a removal; ``control_of`` is the number of its set."""
        m = removed.directions.shape[1]
        return cls(removed.kind, removed.draw, control_of, m, removed.energy, removed.members)


@dataclass(frozen=True)
class OfClass:
    """The sets of one class with their controls, and how selective each removal was."""

    own_class: int
    images: int
    """judged of the class."""
    number: npt.NDArray[np.int64]
    """shape (quantile, percentage); see ``ClassSets``."""
    before: Floats
    """shape (change,); of the class with nothing removed, NaN where nothing is."""
    removals: tuple[Removal, ...] = ()
    effects: Floats | None = None
    """shape (effect, change, removal); effects as ``EFFECTS``."""
    absent: tuple[str, ...] = ()
    """sentences on controls that do not exist."""


@dataclass(frozen=True)
class OfVectors:
    """What the removal of single vectors does to each class."""

    vectors: range
    before: Floats
    """shape (change, class); NaN for a class without images."""
    drops: ClassDrops


@dataclass(frozen=True)
class Removed:
    """What a task found."""

    way: str
    """how directions are removed, and why not in a quicker way."""
    classes: tuple[OfClass, ...] = ()
    vectors: OfVectors | None = None


#: What is stored of each removal of a set, in this order.
EFFECTS = ("own_drop", "other_drop", "selectivity", "selectivity_low", "selectivity_high")


def parts_of(path: Path, options: AblationParameters, layer: str) -> list[Part]:
    """The tasks of one layer."""
    layers = opened(path, "layers")
    rank = int(layers["rank"].sel(layer=layer))
    classes = opened(path, "significance").sizes["target_class"]
    few = max(1, math.ceil(classes / _MOST_TASKS))
    parts = [Part(layer, range(c, min(c + few, classes))) for c in range(0, classes, few)]
    if options.vectors:
        some = max(_LEAST_VECTORS, math.ceil(rank / _MOST_TASKS))
        parts += [Part(layer, vectors=range(i, min(i + some, rank))) for i in range(0, rank, some)]
    return parts


def take_out(stored: StoredRun, options: AblationParameters, part: Part) -> Removed:
    """Remove what a part of a layer's removals says, and judge it.

    Raises
    ------
    RunError
        If an image can no longer be read, or the network fails; the message names the part.
    """
    with ONE_AT_A_TIME:
        try:
            removing = _Removing.of(stored, options, part.layer)
            classes = tuple(removing.of_class(c) for c in part.classes)
            vectors = removing.of_vectors(part.vectors) if part.vectors else None
        except (ValueError, RuntimeError) as error:
            raise RunError(f"{part}: {error}") from error
    return Removed(removing.words, classes, vectors)


@dataclass(frozen=True)
class _Removing:
    """A layer, ready for removals."""

    stored: StoredRun
    options: AblationParameters
    layer: str
    way: Way
    images: ImageSet
    basis: LayerBasis

    @classmethod
    def of(cls, stored: StoredRun, options: AblationParameters, layer: str) -> _Removing:
        _, images = plain_pass(stored)
        basis = _basis(stored.path, layer, groups.fingerprint(stored.path, "significance"))
        way = _way(stored, layer, content_of_run(stored))
        return cls(stored, options, layer, way, images, basis)

    @property
    def words(self) -> str:
        """How directions are removed."""
        way = "many in one vectorised pass" if self.way.together else "one by one"
        return f"{way}; {'; '.join(self.way.refused)}" if self.way.refused else way

    def of_class(self, own: int) -> OfClass:
        """Remove the sets of a class and their controls."""
        sets = ClassSets.of(_significant(self.stored, self.options, self.layer)[:, :, own])
        drawn, classes = self._drawn()
        images, before = len(drawn[own]), np.full(len(CHANGES), np.nan)
        if not sets.members or not images:
            return OfClass(own, images, np.full_like(sets.number, -1), before)
        positions = own_and_others(drawn, own, self.options.others)
        target = self.images.target[positions]
        removals: list[Removal] = []
        effects: list[Floats] = []
        absent: dict[str, None] = {}
        for few in self._in_pieces(own, sets, absent):
            found = self._judged([one.directions for _, one in few], positions)
            before = found.before[:, target == own].mean(axis=1)
            drops = ClassDrops.of(found.before, found.after, target, classes)
            confidence = self.stored.parameters.significance.confidence
            of_own = selectivity(drops, own, confidence)
            values = (of_own.own_drop, of_own.other_drop, of_own.value, of_own.low, of_own.high)
            effects.append(np.stack(values))
            removals += [Removal.of(number, one) for number, one in few]
        every = np.concatenate(effects, axis=-1)
        return OfClass(own, images, sets.number, before, tuple(removals), every, tuple(absent))

    def _in_pieces(
        self, own: int, sets: ClassSets, absent: dict[str, None]
    ) -> Iterator[list[tuple[int, RemovedSet]]]:
        """All removals of a class, as many at a time as fit into memory."""
        place = kept.layer_names(self.stored.path).index(self.layer)
        waiting: list[tuple[int, RemovedSet]] = []
        for number, members in enumerate(sets.members):
            rng = np.random.default_rng([self.options.seed, place, own, number])
            others, why = controls(self.basis, members, self.options.draws, rng)
            absent |= dict.fromkeys(f"{kind}: {reason}" for kind, reason in why.items())
            waiting += [(number, singular_set(self.basis, members))]
            waiting += [(number, one) for one in others]
            if sum(one.directions.size for _, one in waiting) > _MOST_VALUES:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    def of_vectors(self, vectors: range) -> OfVectors:
        """Remove single vectors, one by one."""
        drawn, classes = self._drawn()
        positions = np.sort(np.concatenate(drawn))
        directions = [self.basis.U[:, [i]] for i in vectors]
        found = self._judged(directions, positions)
        target = self.images.target[positions]
        drops = ClassDrops.of(found.before, found.after, target, classes)
        member = (target[:, None] == np.arange(classes)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            before = found.before @ member / drops.images
        return OfVectors(vectors, before, drops)

    def _drawn(self) -> tuple[tuple[npt.NDArray[np.int64], ...], int]:
        """Judging images of each class, and the number of classes."""
        judging = _judging(self.stored.path, groups.fingerprint(self.stored.path, "significance"))
        classes = opened(self.stored.path, "significance").sizes["target_class"]
        return judging_images(judging, self.options.images, self.options.seed), classes

    def _judged(
        self, directions: Sequence[npt.NDArray[np.float64]], positions: npt.NDArray[np.int64]
    ) -> JudgedRemovals:
        of_output = self.images.class_of_output
        tensors = [torch.from_numpy(np.ascontiguousarray(one)) for one in directions]
        return judged_removals(self.way, tensors, self._batches(positions), of_output)

    def _batches(
        self, positions: npt.NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
        size = self.stored.parameters.shards.batch_size
        shown, first = ShownImages(self.images, positions, size, best_device()), 0
        for batch in shown.batches():
            yield batch, shown.target[first : first + len(batch)]
            first += len(batch)


def _significant(
    stored: StoredRun, options: AblationParameters, layer: str
) -> npt.NDArray[np.bool_]:
    """Which vectors are significant for which classes, in any direction of the run.

    Returns
    -------
    shape (quantile, percentage, class, r)
    """
    of_layer = opened(stored.path, "significance").sel(layer=layer).load()
    directions = stored.parameters.significance.directions
    tables = [
        [LayerTable.of(of_layer, q, p, directions).significant for p in options.percentages]
        for q in options.quantiles
    ]
    nodes = np.array(tables)
    return np.asarray(nodes.reshape(*nodes.shape[:3], -1, len(directions)).any(axis=-1))


@lru_cache(maxsize=1)
def _judging(path: Path, fingerprint: str) -> npt.NDArray[np.int64]:
    """Class of each image that judges, -1 for the others."""
    return np.where(_parts(path) > 0, _target_read(path), -1)


def _parts(path: Path) -> npt.NDArray[np.int64]:
    return opened(path, "significance")["part"].to_numpy().astype(np.int64)


def _target_read(path: Path) -> npt.NDArray[np.int64]:
    signals = groups.read(path, "signals")
    read = signals["error"].to_numpy().astype(object) == ""
    return np.where(read, signals["target"].to_numpy(), -1)


@lru_cache(maxsize=2)
def _basis(path: Path, layer: str, fingerprint: str) -> LayerBasis:
    """The layer's left singular vectors, and the signals of the images that choose."""
    svd = groups.read(path, group_path("decomposition", layer))
    position = kept.layer_names(path).index(layer)
    rank = svd.sizes["singular_vector"]
    part = _parts(path)
    chosen = some_of_each(np.where(part == 0, _target_read(path), -1), part, _MOST_SIGNALS // rank)
    signals = cube.rows_of_layer(cube.open_cube(path), position, slice(0, rank), chosen >= 0)
    U, S = (svd[name].to_numpy().astype(np.float64) for name in "US")
    return LayerBasis.of(U, S, signals)


@lru_cache(maxsize=4)
def _way(stored: StoredRun, layer: str, content: str) -> Way:
    """The quickest way of removing directions from a layer that gives what the plain way gives."""
    prepared, convention = prepared_once(stored), prepared_once(stored).layers.convention
    linear = next(one for one in prepared.layers.linear if one.name == layer)
    forward, _ = plain_pass(stored)
    decomposed = folding_once(stored).layers.get(layer)
    own = Candidate(forward.model, None if decomposed is None else decomposed.scale)
    candidates = [own]
    exact, folded = _folded_exactly(stored, content)
    if folded:
        scale = own.scale
        if layer in folded:
            scale = None if decomposed is not None else 1 / folded[layer].scale
        candidates.insert(0, Candidate(exact, scale))
    images = prepared.layers.images[:_COMPARED_IMAGES].to(forward.device)
    rng = np.random.default_rng(0)
    directions = [
        torch.from_numpy(np.linalg.qr(rng.standard_normal((linear.shape[0], m)))[0])
        for m in range(1, min(_COMPARED_DIRECTIONS, linear.shape[0]) + 1)
    ]
    way = quickest_way(candidates, convention, linear, images, directions)
    if way.cut.model is not exact:
        return way
    return replace(way, cut=replace(way.cut, model=_folded(stored, content)))


@lru_cache(maxsize=1)
def _folded(stored: StoredRun, content: str) -> nn.Module:
    """The folded network in the precision of the run's own."""
    convention = prepared_once(stored).layers.convention
    copied = copy.deepcopy(_folded_exactly(stored, content)[0])
    return convention.laid_out(copied.to(convention.dtype or torch.float32))


@lru_cache(maxsize=1)
def _folded_exactly(stored: StoredRun, content: str) -> tuple[nn.Module, Mapping[str, FoldedLayer]]:
    """A copy of the network in float64 with its BatchNorms folded, on this process's device.

    Folded in float32, it could not be told from one that is folded wrongly. The network itself,
    where nothing is folded.
    """
    layers, (forward, _) = prepared_once(stored).layers, plain_pass(stored)
    try:
        model, convention = float64_network(forward.model, layers.convention)
        copied, folded = folded_copy(model, layers.linear, layers.images.double(), convention)
    except Exception:  # noqa: BLE001 - a person's network may not run in float64
        return forward.model, {}
    return (copied, folded) if folded else (forward.model, {})
