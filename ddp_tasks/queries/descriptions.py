"""What the singular vectors of a finished run mean, tested on images that chose nothing.

Neither the model nor the images are opened, so this needs only the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ddp_tasks.controls.described_directions import (
    BASES,
    DescribedLayer,
    described_layer,
    percentile_among,
    share_at_or_above,
)
from ddp_tasks.controls.layer_images import some_of_each
from ddp_tasks.images.wordnet_groups import wordnet_groups, wordnet_ids
from ddp_tasks.queries.attribute_tables import AttributeTable, read_attributes
from ddp_tasks.queries.image_parts import image_parts
from ddp_tasks.queries.layer_names import matching_layers
from ddp_tasks.queries.run_signals import RunSignals, open_run_signals
from ddp_tasks.significance.concepts import (
    LEAST,
    MOST_OF_PAIRS,
    Concepts,
    class_concepts,
    group_concepts,
    joined,
)
from ddp_tasks.significance.confidence_intervals import false_discovery_rates
from ddp_tasks.significance.descriptions import area_interval, chance_of_area
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVector, signed_name
from schemas.parameters import RunError

#: Images that a layer's vectors are described on at most.
MOST_IMAGES = 10_000

#: Percentile of random directions above which a description counts, and the rate of false
#: discoveries up to which it is one.
PERCENTILE, RATE = 95.0, 0.05

#: Random bases that a layer needs before the count of its vectors is set beside theirs.
_LEAST_BASES = 20


@dataclass(frozen=True)
class VectorsOfLayer:
    """A layer whose vectors are described, with the images and the sets that it was done by."""

    layer: str
    described: DescribedLayer
    signals: npt.NDArray[np.float32]
    """shape (image, r); of the images that judge and reach the layer."""
    concepts: Concepts
    """of the same images."""
    arbitrary: npt.NDArray[np.bool_]
    """shape (r,)"""


@dataclass(frozen=True)
class Counted:
    """How many signed vectors stand above a percentile of random directions, and by chance."""

    above: int
    vectors: int
    """signed vectors that have a percentile."""
    expected: float
    bases: tuple[float, float] | None
    """2.5th and 97.5th percentile of the same count of random bases; None if they are too few."""


@dataclass(frozen=True)
class Descriptions:
    """What each signed vector of a run means, and how that stands beside random directions."""

    run: RunSignals
    layers: tuple[VectorsOfLayer, ...]
    concepts: int
    """sets of images that were offered."""
    judged: int
    """images that judge."""
    notes: tuple[str, ...]
    """sentences on the split, the images, the sets, and layers that are left out."""

    @property
    def confidence(self) -> float:
        """Level of the intervals."""
        return self.run.run.significance.confidence

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each signed vector, those that stand out most first.

        Returns
        -------
        columns layer, singular_vector, direction, vector (its name, with an asterisk where it is
        arbitrary), description, kind, images (of the set, that judge), selection and estimation
        (area under the ROC curve on the images that choose and on those that judge), low and high
        (interval of the latter, of this row alone), percentile and percentile_variance (among
        random directions, and among those of bases that keep variances),
        false_discovery_rate_unseen (if rows with as great an area are said to predict unseen
        images at all), false_discovery_rate (if rows down to this one are said to be more than
        random directions)
        """
        frame = pd.concat([self._rows(one) for one in self.layers], ignore_index=True)
        for name, p in (("false_discovery_rate_unseen", "p_unseen"), ("false_discovery_rate", "p")):
            frame[name] = false_discovery_rates(frame.pop(p).to_numpy(dtype=np.float64))
        order = ["percentile", "estimation"]
        return frame.sort_values(order, ascending=False, kind="stable", ignore_index=True)

    def _rows(self, one: VectorsOfLayer) -> pd.DataFrame:
        found, concepts = one.described.found, one.concepts
        pools = [drawn.ravel() for drawn in (one.described.random, one.described.varied)]
        percentiles = [percentile_among(found.estimation, pool) for pool in pools]
        p = share_at_or_above(found.estimation, pools[0])
        rows = []
        for vector in range(len(found.concept)):
            for direction in self.run.directions:
                sign, side = (1, 0) if direction == DIRECTIONS[0] else (-1, 1)
                concept = int(found.concept[vector, side])
                known, member = concepts.known[concept], concepts.member[concept]
                area = float(found.estimation[vector, side])
                inside = int(member.sum())
                interval = area_interval(
                    sign * one.signals[known, vector], member[known], self.confidence
                )
                name = signed_name(SignedVector(vector, sign), self.run.directions)
                rows.append(
                    {
                        "layer": one.layer,
                        "singular_vector": vector,
                        "direction": direction,
                        "vector": f"{name}{'*' if one.arbitrary[vector] else ''}",
                        "description": concepts.names[concept],
                        "kind": concepts.kinds[concept],
                        "images": inside,
                        "selection": float(found.selection[vector, side]),
                        "estimation": area,
                        "low": interval.low,
                        "high": interval.high,
                        "p_unseen": chance_of_area(area, inside, int(known.sum()) - inside),
                        "percentile": percentiles[0][vector, side],
                        "percentile_variance": percentiles[1][vector, side],
                        "p": p[vector, side],
                    }
                )
        return pd.DataFrame(rows)

    def counted(self, kept_variances: bool = False) -> Counted:
        """How many signed vectors stand above the 95th percentile of random directions.

        Parameters
        ----------
        kept_variances
            random directions of bases that keep each signal's variance.
        """
        column = "percentile_variance" if kept_variances else "percentile"
        percentile = self.table[column].dropna()
        share = 1 - PERCENTILE / 100
        sides = [DIRECTIONS.index(direction) for direction in self.run.directions]
        counts, enough = np.zeros(BASES), True
        for one in self.layers:
            drawn = one.described.varied if kept_variances else one.described.random
            if not len(drawn):
                continue  # its vectors have no percentile
            threshold = np.quantile(drawn, PERCENTILE / 100)
            of_layer = (drawn[:, :, sides] > threshold).sum(axis=(1, 2))
            enough &= len(of_layer) >= _LEAST_BASES
            counts += np.resize(of_layer, BASES)
        ends = np.quantile(counts, (0.025, 0.975)) if enough and len(percentile) else None
        return Counted(
            above=int((percentile > PERCENTILE).sum()),
            vectors=len(percentile),
            expected=share * len(percentile),
            bases=None if ends is None else (float(ends[0]), float(ends[1])),
        )

    @property
    def discoveries(self) -> int:
        """Signed vectors that are more than random directions, at a rate of false ones of 5 %."""
        return int((self.table["false_discovery_rate"] <= RATE).sum())

    def verdict(self) -> tuple[str, ...]:
        """What the descriptions are worth, in plain sentences."""
        unseen = int((self.table["false_discovery_rate_unseen"] <= RATE).sum())
        return (
            f"{unseen:,} of {len(self.table):,} signed vectors have a description that predicts "
            "unseen images (false discoveries at most 5 %).",
            *(self._beside(kept) for kept in (False, True)),
            f"Beyond random directions with false discoveries of at most 5 %: "
            f"{self.discoveries or 'none'}.",
        )

    def _beside(self, kept_variances: bool) -> str:
        counted = self.counted(kept_variances)
        kind = "random directions that keep variances" if kept_variances else "random directions"
        if not counted.vectors:
            return f"No layer has {kind} to stand beside."
        said = (
            f"{counted.above:,} of {counted.vectors:,} signed vectors are above the 95th "
            f"percentile of {kind}; {counted.expected:.0f} by chance"
        )
        if counted.bases is None:
            return f"{said}."
        low, high = counted.bases
        more = (
            "more than a random basis has"
            if counted.above > high
            else "fewer than a random basis has"
            if counted.above < low
            else "no more than a random basis has"
        )
        return f"{said} ({low:.0f} to {high:.0f} in 95 % of random bases): {more}."


def describe(
    folder: Path,
    layers: Sequence[str] = ("*",),
    attributes: Path | None = None,
    columns: Sequence[str] = (),
    *,
    reading: Callable[[str], None] = lambda _: None,
) -> Descriptions:
    """Describe the singular vectors of a finished run, and test the descriptions.

    Parameters
    ----------
    folder
        that the run was written to.
    layers
        names or globs.
    attributes
        a CSV or Parquet file of image attributes with a column ``id``.
    columns
        of it; all of them if none is named.
    reading
        called with a few words before each part.

    Raises
    ------
    RunError
        If there is no finished run, no such layer, a table that does not fit, or no set of images
        that is large enough.
    """
    run = open_run_signals(folder)
    chosen = matching_layers(list(run.layers), layers, run.store)
    if columns and attributes is None:
        raise RunError("columns are named without a table of attributes")
    table = None if attributes is None else read_attributes(attributes, run.ids, columns)
    images, notes = _images(run)
    offered, of_sets = _offered(run, images, table)
    notes += of_sets
    described, counts = [], []
    for place, layer in enumerate(chosen):
        reading(f"{layer}, {place + 1} of {len(chosen)} layers")
        of_layer = _described(run, layer, images, offered)
        if isinstance(of_layer, str):
            notes.append(of_layer)
        else:
            described.append(of_layer)
            counts.append(len(of_layer.concepts))
    if not described:
        raise RunError(f"no layer of {run.store} can be described: {' '.join(notes[-5:])}")
    return Descriptions(
        run=run,
        layers=tuple(described),
        concepts=max(counts),
        judged=int((~images.choosing).sum()),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Images:
    """The images that vectors are described on."""

    target: npt.NDArray[np.int64]
    """shape (image,); of all images of the run, -1 for those that are not used."""
    part: npt.NDArray[np.int8]
    """shape (image,)"""

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Shape (image,)"""
        return np.asarray(self.target >= 0)

    @property
    def choosing(self) -> npt.NDArray[np.bool_]:
        """Shape (used image,); the others judge."""
        return np.asarray(self.part[self.used] == 0)


def _images(run: RunSignals) -> tuple[_Images, list[str]]:
    """The images, and sentences on their split and on those that are left out."""
    seed = run.run.significance.seed
    part, split = image_parts(run.stored.significance, run.target, seed, run.store)
    images = _Images(some_of_each(run.target, part, MOST_IMAGES), part)
    notes, used = [split], int(images.used.sum())
    if used < int((run.target >= 0).sum()):
        notes.append(f"{used:,} images are used, the first of each class.")
    return images, notes


def _offered(
    run: RunSignals, images: _Images, table: AttributeTable | None
) -> tuple[Concepts, list[str]]:
    """Sets of the images that are used, and sentences on what makes none."""
    groups = run.run.significance.superclasses
    target = images.target[images.used]
    parts, notes = [class_concepts(target, run.target_classes, groups)], []
    if len(np.unique(target)) > MOST_OF_PAIRS:
        notes.append(f"Of more than {MOST_OF_PAIRS} classes, two together are not searched.")
    labels = wordnet_ids([run.ids[i] for i in np.flatnonzero(images.used)])
    if any(labels):
        parts.append(group_concepts(labels, wordnet_groups()))
        notes.append("Groups of ImageNet's classes by WordNet are offered as well.")
    if table is not None:
        made, of_columns = table.concepts(images.used, images.choosing)
        parts += made
        notes += [*table.notes, *of_columns]
    offered = joined(parts)
    if not len(offered.usable(images.choosing)):
        raise RunError(
            f"no class, group or attribute of {run.store} has {LEAST} images in it and {LEAST} out "
            "of it, both of those that choose and of those that judge"
        )
    return offered, notes


def _described(
    run: RunSignals, layer: str, images: _Images, offered: Concepts
) -> VectorsOfLayer | str:
    """The vectors of a layer described, or a sentence on why they are not."""
    signals = run.signals(layer, images.used)
    reaches: npt.NDArray[np.bool_] = np.isfinite(signals[:, 0])
    signals, choosing = signals[reaches], images.choosing[reaches]
    concepts = offered.of_images(reaches).usable(choosing)
    if not len(concepts):
        return f"{layer} is left out: too few images reach it."
    found = described_layer(layer, signals, concepts, choosing, run.run.significance.seed)
    return VectorsOfLayer(
        layer=layer,
        described=found,
        signals=signals[~choosing],
        concepts=concepts.of_images(~choosing),
        arbitrary=run.layers[layer].arbitrary,
    )
