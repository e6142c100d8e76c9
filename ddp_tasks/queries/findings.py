"""What a finished run says its network has learned: a few statements, and what speaks against.

A statement is a singular vector in one direction with the target classes that it is significant
for. Vectors are chosen by the images that choose and told by those that judge, so that a statement
is not flattered by having been picked. Those come first that survive resamples, that random
rotations of the layer's outputs seldom match, and that stand for few classes or for a group of
them; other layers and other classes come before more of the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.queries.ablation import stored_comparison
from ddp_tasks.queries.conclusion import Conclusion, conclusion
from ddp_tasks.queries.controls import SPECIAL, best_of_rotations, percentile_among
from ddp_tasks.queries.statements import ClassShare, Exemplar, Finding
from ddp_tasks.significance.confidence_intervals import shares_intervals
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant_images
from ddp_tasks.significance.stability import SURE
from ddp_tasks.significance.tables import intervals_together, table_intervals
from ddp_tasks.store import groups
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVector, SignedVectors, by_nodes
from schemas.names import group_path
from schemas.parameters import RunParameters

#: Statements of a run, at most.
MOST = 5
#: Nodes of a layer that are looked at closely.
_CLOSELY = 60
#: What each merit of a candidate counts beside its η²: that its classes are a group of the run,
#: are few, are not told of yet; that it stands out, is above p. Each one of its layer takes that.
_BONUS = 0.25
#: Exemplars of a finding.
_EXEMPLARS = 6


@dataclass(frozen=True)
class RunFindings:
    """The statements of a run, and its conclusion."""

    statements: tuple[Finding, ...]
    conclusion: Conclusion


def read_findings(run: RunParameters, path: Path, most: int = MOST) -> RunFindings:
    """The statements that best say what a network has learned, from a finished store.

    Parameters
    ----------
    run
        as recorded.
    path
        of the run's store.
    most
        of the statements; there are fewer where fewer vectors are significant.
    """
    controls = groups.read(path, "controls").load()
    superclasses = _superclasses(run, path)
    candidates, rows = _read_candidates(run, path, controls)
    chosen = _diverse(candidates, _groups_of(superclasses), most)
    told = _Told(run, path, superclasses, groups.read(path, "signals"))
    return RunFindings(
        statements=tuple(_finding(one, *rows[one.layer], told) for one in chosen),
        conclusion=conclusion(controls, stored_comparison(path, run.significance.directions)),
    )


def stated_vectors(
    run: RunParameters, path: Path, most: int = MOST
) -> dict[str, list[SignedVector]]:
    """The singular vectors that the statements of a run are about, by layer.

    Neither images nor optimised images need be there.

    Parameters
    ----------
    run, path, most
        as in ``read_findings``.
    """
    controls = groups.read(path, "controls").load()
    candidates, rows = _read_candidates(run, path, controls)
    stated: dict[str, list[SignedVector]] = {}
    for one in _diverse(candidates, _groups_of(_superclasses(run, path)), most):
        vectors, of_layer = rows[one.layer]
        node = SignedVectors(vectors, of_layer.directions)[one.node]
        stated.setdefault(of_layer.layer, []).append(node)
    return stated


def _superclasses(run: RunParameters, path: Path) -> xr.Dataset | None:
    return groups.read(path, "superclasses") if run.significance.superclasses else None


def _read_candidates(
    run: RunParameters, path: Path, controls: xr.Dataset
) -> tuple[list[_Candidate], dict[int, tuple[LayerVectors, _Rows]]]:
    """What may be stated of each layer, and by layer its vectors and rows of its table."""
    layers = groups.read(path, "layers").load()
    significance = groups.read(path, "significance")
    candidates: list[_Candidate] = []
    rows = {}
    for position, layer in enumerate(map(str, layers["layer"].to_numpy())):
        # One table at a time: those of all layers may be larger than memory.
        levels = run.significance.levels(layer)
        table = LayerTable.of(
            significance.isel(layer=position), *levels, run.significance.directions
        )
        stability = group_path("stability", layer)
        incidence = None
        if groups.is_marked(path, stability):
            share = by_nodes(groups.read(path, stability)["incidence"], "target_class")
            incidence = share if np.isfinite(share).any() else None
        vectors = LayerVectors.of(layers.isel(layer=position))
        rotations = best_of_rotations(controls, layer)
        confidence = run.significance.confidence
        nodes = SignedVectors(vectors, table.directions)
        of_layer = _candidates(
            position, table, nodes, incidence, rotations=rotations, confidence=confidence
        )
        candidates += of_layer
        rows[position] = (vectors, _Rows.of(table, incidence, [one.node for one in of_layer]))
    return candidates, rows


@dataclass(frozen=True)
class _Told:
    """What a store says of each statement beside the layers' tables."""

    run: RunParameters
    path: Path
    superclasses: xr.Dataset | None
    signals: xr.Dataset


@dataclass(frozen=True)
class _Candidate:
    """A node that may make a statement."""

    layer: int
    """position."""
    node: int
    classes: tuple[int, ...]
    """positions of the classes that it is significant for."""
    every: bool
    """whether these are all classes with images."""
    few: bool
    """whether these are at most half of them."""
    sure: bool
    """whether all of them hold in the resamples, as far as there are some, and the arithmetic does
    not leave the vector arbitrary."""
    above: bool
    """whether the intervals of all of them lie at or above p."""
    special: bool
    chosen_by: float
    """η² on the images that choose."""
    percentile: float


@dataclass(frozen=True)
class _Rows:
    """What a layer's table has of its candidates, so that the table itself can go."""

    layer: str
    directions: tuple[str, ...]
    target_classes: tuple[str, ...]
    images: npt.NDArray[np.int64]
    percentage: float
    together: int
    """intervals of the layer's table, which hold together."""
    fraction: dict[int, npt.NDArray[np.float32]]
    significant: dict[int, npt.NDArray[np.bool_]]
    resamples: dict[int, npt.NDArray[np.float64]]
    eta_squared: dict[int, float]

    @classmethod
    def of(
        cls, table: LayerTable, incidence: npt.NDArray[np.float64] | None, nodes: list[int]
    ) -> _Rows:
        missing = np.full(len(table.target_classes), np.nan)
        return cls(
            layer=table.layer,
            directions=table.directions,
            target_classes=table.target_classes,
            images=table.images,
            percentage=table.percentage,
            together=intervals_together(table),
            fraction={n: table.fraction[:, n] for n in nodes},
            significant={n: table.significant[:, n] for n in nodes},
            resamples={n: missing if incidence is None else incidence[:, n] for n in nodes},
            eta_squared={n: float(table.eta_squared[n]) for n in nodes},
        )


def _candidates(
    position: int,
    table: LayerTable,
    nodes: SignedVectors,
    incidence: npt.NDArray[np.float64] | None,
    *,
    rotations: npt.NDArray[np.float64],
    confidence: float,
) -> list[_Candidate]:
    """The nodes of a layer that tell the classes apart best on the images that choose."""
    if not table.significant.any():
        return []
    there = int(((table.images > 0) | (table.selection_images > 0)).sum())
    found = []
    for node in table.most_discriminating()[:_CLOSELY].tolist():
        own = table.significant[:, node]
        holds = incidence is None or bool((incidence[own, node] >= SURE).all())
        eta_squared = float(np.nan_to_num(table.eta_squared[node]))
        percentile = percentile_among(eta_squared, rotations)
        found.append(
            _Candidate(
                layer=position,
                node=node,
                classes=tuple(np.flatnonzero(own).tolist()),
                every=int(own.sum()) == there,
                few=2 * int(own.sum()) <= there,
                sure=holds and not nodes.arbitrary[node],
                above=_above(table, node, confidence),
                special=percentile >= SPECIAL,
                chosen_by=float(np.nan_to_num(table.selection_eta_squared[node])),
                percentile=percentile,
            )
        )
    return found


def _above(table: LayerTable, node: int, confidence: float) -> bool:
    """Whether the interval of each class that a node is significant for lies at or above p."""
    low, _ = table_intervals(table, confidence, [node])
    return bool((low[table.significant[:, node], 0] >= table.percentage / 100).all())


def _groups_of(superclasses: xr.Dataset | None) -> dict[tuple[int, ...], str]:
    """The run's groups of classes by the positions of their classes."""
    if superclasses is None:
        return {}
    names = superclasses["superclass"].to_numpy()
    rows = superclasses["member"].to_numpy()
    return {
        tuple(np.flatnonzero(row).tolist()): str(name)
        for name, row in zip(names, rows, strict=True)
    }


def _diverse(
    candidates: list[_Candidate], known: Mapping[tuple[int, ...], str], most: int
) -> list[_Candidate]:
    """The best candidates, one after the other, each unlike those before it."""
    chosen: list[_Candidate] = []
    left = list(candidates)
    while left and len(chosen) < most:
        layers = [one.layer for one in chosen]
        sets = [one.classes for one in chosen]
        covered = {c for one in chosen for c in one.classes}

        def merit(
            one: _Candidate, layers: list[int] = layers, covered: set[int] = covered
        ) -> tuple[float, ...]:
            new = len(set(one.classes) - covered) / len(one.classes)
            worth = one.chosen_by + _BONUS * (
                (one.classes in known) + one.special + one.above + one.few + new
            )
            return (not one.every, one.sure, worth - _BONUS * layers.count(one.layer))

        best = max(left, key=merit)
        chosen.append(best)
        sets.append(best.classes)
        # The same classes again say nothing new, nor does the other direction of a vector that
        # all classes share.
        left = [one for one in left if one.classes not in sets]
    return chosen


def _finding(one: _Candidate, vectors: LayerVectors, rows: _Rows, told: _Told) -> Finding:
    nodes = SignedVectors(vectors, rows.directions)
    signed, own = nodes[one.node], rows.significant[one.node]
    fraction = rows.fraction[one.node].astype(np.float64)
    others = np.flatnonzero(~own & (rows.images > 0))
    others = others[np.argsort(-fraction[others], kind="stable")]
    return Finding(
        layer=rows.layer,
        singular_vector=signed,
        name=nodes.name(one.node) + "*" * bool(nodes.arbitrary[one.node]),
        arbitrary=bool(nodes.arbitrary[one.node]),
        singular_value=float(nodes.singular_values[one.node]),
        classes=_class_shares(rows, one.node, told.run.significance.confidence),
        target_classes=int((rows.images > 0).sum()),
        group=_groups_of(told.superclasses).get(one.classes, ""),
        percentage=rows.percentage,
        others=tuple(rows.target_classes[k] for k in others.tolist()),
        next_share=float(fraction[others[0]]) if len(others) else float("nan"),
        eta_squared=rows.eta_squared[one.node],
        percentile=one.percentile,
        exemplars=_exemplars(told, rows.layer, signed),
        optimised=_optimised(told.path, rows.layer, signed),
    )


def _class_shares(rows: _Rows, node: int, confidence: float) -> tuple[ClassShare, ...]:
    at = np.flatnonzero(rows.significant[node])
    share = rows.fraction[node][at].astype(np.float64)
    images = rows.images[at]
    count = significant_images(share[:, None].astype(np.float32), images)[:, 0]
    low, high = shares_intervals(count, images, confidence, rows.together)
    of_classes = [
        ClassShare(
            rows.target_classes[k],
            float(share[i]),
            float(low[i]),
            float(high[i]),
            float(rows.resamples[node][k]),
        )
        for i, k in enumerate(at.tolist())
    ]
    return tuple(sorted(of_classes, key=lambda one: -np.nan_to_num(one.share, nan=-1)))


def _exemplars(told: _Told, layer: str, signed: SignedVector) -> tuple[Exemplar, ...]:
    place = {"layer": layer, "singular_vector": signed.vector, "direction": signed.direction}
    stored = groups.read(told.path, "exemplars")[["image", "signal"]].sel(place)
    stored = stored.isel(place=slice(_EXEMPLARS)).load()
    ids = [str(i) for i in stored["image"].to_numpy() if i]
    if not ids:
        return ()
    names = told.signals["target_class"].to_numpy().astype(object)
    every = told.signals["image"].to_numpy().astype(object)
    target = told.signals["target"].to_numpy()
    at = [int(np.flatnonzero(every == image)[0]) for image in ids]
    values = stored["signal"].to_numpy()
    return tuple(
        Exemplar(image, str(names[target[p]]), float(v))
        for image, p, v in zip(ids, at, values, strict=False)
    )


def _optimised(path: Path, layer: str, signed: SignedVector) -> str:
    """The name of an image that was optimised for this vector alone and is to be trusted."""
    group = group_path("visualizations", layer)
    if not groups.is_marked(path, group):
        return ""
    stored = groups.read(path, group)[["target", "weight", "direction", "failed"]].load()
    weight = stored["weight"].to_numpy()
    alone = (weight != 0).sum(axis=1) == 1
    upward = np.where(stored["direction"].to_numpy() == "positive", 1, -1)
    matching = alone & (np.sign(weight[:, signed.vector]) * upward == signed.sign)
    matching &= stored["failed"].to_numpy() == ""
    return str(stored["target"].to_numpy()[matching.argmax()]) if matching.any() else ""
