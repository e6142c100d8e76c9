"""Two layers of finished runs compared on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ddp_tasks.controls.random_rotations import haar_rotations, variance_keeping_rotations
from ddp_tasks.hypergraphs.survival import (
    class_sets,
    hierarchy_drift,
    incidences_kept,
    renamed,
    share_surviving,
)
from ddp_tasks.queries.common_images import CommonImages
from ddp_tasks.queries.run_signals import RunSignals
from ddp_tasks.significance.image_nodes import ImageNodes, image_nodes
from ddp_tasks.significance.paired_shares import paired_difference_interval
from ddp_tasks.significance.signal_similarity import (
    FEWEST_IMAGES,
    Correspondence,
    channel_correspondence,
    linear_cka,
    principal_directions,
    subspace_cosines,
)
from ddp_tasks.significance.vector_matching import Matching, close_groups, every_vector, match

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LayerOnImages:
    """A layer of one run on the images that are compared, and its hypergraph on them."""

    layer: str
    signals: npt.NDArray[np.float32]
    """shape (image, r); NaN for images that do not reach the layer."""
    target: npt.NDArray[np.int64]
    classes: int
    singular_values: Floats
    left_vectors: Floats
    """shape (d, r)."""
    nodes: ImageNodes
    confidence: float
    bases: Floats
    """shape (draw, r, r); rotations that take its vectors to random bases."""
    turned: tuple[Flags, ...]
    """incidences of the same layer in each of these, each of shape (class, node)."""
    varied: tuple[Flags, ...]
    """the same in as many random bases that keep each signal's variance."""

    @classmethod
    def of(
        cls,
        run: RunSignals,
        layer: str,
        positions: npt.NDArray[np.int64],
        images: CommonImages,
        draws: int,
    ) -> LayerOnImages:
        """Read a layer.

        Parameters
        ----------
        positions
            shape (image,); of the images in the run.
        draws
            random bases.
        """
        wanted = np.zeros(len(run.ids), dtype=np.bool_)
        wanted[positions] = True
        # Rows come in the order of the run.
        signals = run.signals(layer, wanted)[np.argsort(np.argsort(positions))]
        chooses, target, classes = run.chooses[positions], images.target, len(images.classes)
        levels = run.run.significance.levels(layer)
        directions = run.directions

        def nodes(values: npt.NDArray[np.floating]) -> ImageNodes:
            return image_nodes(
                values, target, chooses, classes, levels=levels, directions=directions
            )

        def in_bases(rotations: Floats) -> tuple[Flags, ...]:
            turns = rotations.astype(np.float32)
            return tuple(nodes(signals @ turn).significant for turn in turns)

        number = list(run.layers).index(layer)
        bases = haar_rotations(signals.shape[1], draws, np.random.default_rng([number, 3]))
        varied = varied_bases(signals[chooses], draws, np.random.default_rng([number, 4]))
        return cls(
            layer=layer,
            signals=signals,
            target=target,
            classes=classes,
            singular_values=run.layers[layer].singular_values,
            left_vectors=run.left_vectors(layer),
            nodes=nodes(signals),
            confidence=run.run.significance.confidence,
            bases=bases,
            turned=in_bases(bases),
            varied=in_bases(varied),
        )

    @cached_property
    def reached(self) -> Flags:
        """Shape (image,); images that reach the layer."""
        return np.isfinite(self.signals[:, 0])


def varied_bases(
    signals: npt.NDArray[np.float32], draws: int, random: np.random.Generator
) -> Floats:
    """Random bases that keep each signal's variance; the own one where there is no other.

    Returns
    -------
    shape (draw, r, r)
    """
    reached = signals[np.isfinite(signals[:, 0])].astype(np.float64)
    rank = signals.shape[1]
    covariance = np.zeros((rank, rank))
    if len(reached) > 1:
        covariance = np.atleast_2d(np.cov(reached, rowvar=False))
    rotations = variance_keeping_rotations(covariance, draws, random)
    rotations[np.isnan(rotations[:, 0, 0])] = np.eye(rank)
    return rotations


@dataclass(frozen=True)
class Survival:
    """A share of findings that survive, beside what chance gives."""

    share: float
    renamed: float
    """mean share once the classes of one layer are permuted by name."""
    turned: float
    """mean share in random bases of both layers."""
    varied: float
    """mean share in random bases of both that keep each signal's variance."""


@dataclass(frozen=True)
class Angles:
    """Cosines of the principal angles between the spaces of two layers."""

    cosine: float
    """mean over the angles between the spaces of their signals over images (SVCCA)."""
    permuted: float
    """the same after the images of one were permuted."""
    correspondence: Correspondence
    left_cosine: float
    """mean over the angles between the spaces of the leading left singular vectors; NaN where the
    output channels do not correspond."""
    leading: int
    """how many of these span each space."""


@dataclass(frozen=True)
class LayerComparison:
    """How much two layers have in common."""

    a: str
    b: str
    images: int
    """images that reach both."""
    cka: float
    angles: Angles
    vectors: Matching
    subspaces: Matching
    """of singular values that lie close together."""
    surviving: Survival
    incidences: Survival
    """of matched nodes: share of the incidences of either that both have; no random bases."""
    nodes: tuple[int, int]
    """significant signed vectors of either."""
    fraction_difference: float
    """mean absolute difference of the fractions of matched nodes, over classes; NaN where no node
    is matched."""
    fractions_changed: float
    """share of these differences whose simultaneous interval leaves out 0."""
    sets: float
    """Jaccard index of the sets of target classes of both hierarchies."""
    edges: float
    """that of the edges of their diagrams."""


def layer_cka(a: Sequence[LayerOnImages], b: Sequence[LayerOnImages]) -> Floats:
    """Linear CKA of every layer of one network with every layer of another; NaN where none.

    Returns
    -------
    shape (layers of a, layers of b)
    """
    table = np.full((len(a), len(b)), np.nan)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            both = one.reached & other.reached
            if both.sum() >= FEWEST_IMAGES:
                table[i, j] = linear_cka(
                    one.signals[both].astype(np.float64), other.signals[both].astype(np.float64)
                )
    return table


def compare_layers(
    a: LayerOnImages, b: LayerOnImages, cka: float, judges: Flags, *, seed: int = 0
) -> LayerComparison:
    """Compare two layers on the same images.

    Parameters
    ----------
    cka
        of the two, as ``layer_cka`` returns it.
    judges
        shape (image,); images that the fractions are told on.
    """
    both = a.reached & b.reached
    signals = [of.signals[both].astype(np.float64) for of in (a, b)]
    rng = np.random.default_rng([seed, 5])

    def matching(groups: Callable[[Floats], npt.NDArray[np.int64]]) -> Matching:
        numbers = [groups(of.singular_values) for of in (a, b)]
        return match(
            *(signals[0], numbers[0], signals[1], numbers[1], a.target[both]),
            bases=b.bases,
            seed=seed,
        )

    vectors = matching(every_vector)
    pairs = _node_pairs(a.nodes, b.nodes, vectors)
    difference, changed = _fraction_drift(a, b, pairs, judges)
    sets, edges = hierarchy_drift(a.nodes.significant, b.nodes.significant)
    return LayerComparison(
        a=a.layer,
        b=b.layer,
        images=int(both.sum()),
        cka=cka,
        angles=_angles(a, b, signals, rng),
        vectors=vectors,
        subspaces=matching(close_groups),
        surviving=_surviving(a, b, rng),
        incidences=_incidences(a, b, pairs, rng),
        nodes=(a.nodes.count, b.nodes.count),
        fraction_difference=difference,
        fractions_changed=changed,
        sets=sets,
        edges=edges,
    )


def _angles(
    a: LayerOnImages,
    b: LayerOnImages,
    signals: Sequence[Floats],
    rng: np.random.Generator,
) -> Angles:
    spaces = [principal_directions(of) for of in signals]
    permuted = [subspace_cosines(spaces[0], rng.permutation(spaces[1], axis=0)) for _ in a.bases]
    correspondence = channel_correspondence(
        signals[0] @ a.left_vectors.T, signals[1] @ b.left_vectors.T
    )
    leading = min(_leading(of.singular_values) for of in (a, b))
    left = np.empty(0)
    if correspondence.corresponds:
        left = subspace_cosines(a.left_vectors[:, :leading], b.left_vectors[:, :leading])
    return Angles(
        cosine=_mean(subspace_cosines(*spaces)),
        permuted=_mean(np.array([_mean(of) for of in permuted], dtype=np.float64)),
        correspondence=correspondence,
        left_cosine=_mean(left),
        leading=leading,
    )


def _leading(singular_values: Floats) -> int:
    """How many singular values carry nine tenths of the sum of squares."""
    energy = np.cumsum(singular_values**2)
    return int(np.searchsorted(energy, 0.9 * energy[-1])) + 1


def _mean(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _node_pairs(a: ImageNodes, b: ImageNodes, matching: Matching) -> npt.NDArray[np.int64]:
    """Nodes of a and of b whose vectors are matched, their directions by the sign of the match.

    Returns
    -------
    shape (pair, 2)
    """
    place = {key: i for i, key in enumerate(zip(b.vector.tolist(), b.sign.tolist(), strict=True))}
    partner = {
        int(i): (int(j), int(sign))
        for i, j, sign, matched in zip(
            matching.a, matching.b, matching.sign, matching.matched, strict=True
        )
        if matched
    }
    pairs = []
    for node, (vector, sign) in enumerate(zip(a.vector.tolist(), a.sign.tolist(), strict=True)):
        if vector in partner:
            other, same = partner[vector]
            if (other, sign * same) in place:
                pairs.append((node, place[other, sign * same]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _surviving(a: LayerOnImages, b: LayerOnImages, rng: np.random.Generator) -> Survival:
    own = class_sets(a.nodes.significant)
    by_name = [
        share_surviving(own, class_sets(renamed(b.nodes.significant, rng))) for _ in b.turned
    ]
    by_basis, by_variance = (
        [
            share_surviving(class_sets(one), class_sets(other))
            for one, other in zip(*tables, strict=True)
        ]
        for tables in ((a.turned, b.turned), (a.varied, b.varied))
    )
    return Survival(
        share_surviving(own, class_sets(b.nodes.significant)),
        _mean(np.array(by_name, dtype=np.float64)),
        _mean(np.array(by_basis, dtype=np.float64)),
        _mean(np.array(by_variance, dtype=np.float64)),
    )


def _incidences(
    a: LayerOnImages,
    b: LayerOnImages,
    pairs: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Survival:
    tables = [of.nodes.significant[:, pairs[:, i]] for i, of in enumerate((a, b))]
    by_name = [incidences_kept(tables[0], renamed(tables[1], rng)) for _ in a.bases]
    by_name_mean = _mean(np.array(by_name, dtype=np.float64))
    return Survival(incidences_kept(*tables), by_name_mean, float("nan"), float("nan"))


def _fraction_drift(
    a: LayerOnImages, b: LayerOnImages, pairs: npt.NDArray[np.int64], judges: Flags
) -> tuple[float, float]:
    """Mean absolute difference of matched nodes' fractions, and the share that is sure.

    Only nodes that are significant for a class in either layer are looked at. The intervals hold
    all at once (Bonferroni).
    """
    used = [of.nodes.significant[:, pairs[:, i]].any(axis=0) for i, of in enumerate((a, b))]
    pairs = pairs[used[0] | used[1]]
    if not len(pairs):
        return float("nan"), float("nan")
    member = (a.target[judges] == np.arange(a.classes)[:, None]).astype(np.float32)
    active = [of.nodes.active[judges][:, pairs[:, i]] for i, of in enumerate((a, b))]
    both, first, second = (
        (member @ flags.astype(np.float32)).astype(np.int64)
        for flags in (active[0] & active[1], *active)
    )
    present = member.any(axis=1)
    images = np.repeat(member.sum(axis=1).astype(np.int64)[:, None], len(pairs), axis=1)
    differences = first[present] / images[present] - second[present] / images[present]
    confidence = 1 - (1 - a.confidence) / differences.size
    low, high = paired_difference_interval(
        both[present], first[present], second[present], images[present], confidence
    )
    return float(np.abs(differences).mean()), float(((low > 0) | (high < 0)).mean())
