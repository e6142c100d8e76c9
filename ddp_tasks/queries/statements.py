"""One statement on what a network has learned: its numbers, and the words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddp_tasks.queries.addresses import vector_address
from ddp_tasks.queries.controls import SPECIAL, shown_percentile
from ddp_tasks.significance.stability import SURE
from ddp_tasks.weights.signed_vectors import SignedVector
from schemas.shown import shown

#: Classes that a sentence names, and characters of a name.
_NAMED, _LONGEST = 5, 60


@dataclass(frozen=True)
class ClassShare:
    """A target class that a singular vector is significant for."""

    target_class: str
    share: float
    """of its images that judge for which the vector is significant."""
    low: float
    """lower end of an interval; those of all vectors and classes of the layer hold together."""
    high: float
    resamples: float
    """share of resamples in which the vector is significant for the class; NaN without them."""


@dataclass(frozen=True)
class Exemplar:
    """One of the strongest images of a vector, in its direction."""

    image: str
    target_class: str
    signal: float


@dataclass(frozen=True)
class Finding:
    """What one singular vector in one direction answers to."""

    layer: str
    singular_vector: SignedVector
    name: str
    """such as v3⁺."""
    arbitrary: bool
    """whether its singular value cannot be told from its neighbour's."""
    singular_value: float
    classes: tuple[ClassShare, ...]
    """that it is significant for, the greatest share first."""
    target_classes: int
    """classes of the run that have images."""
    others: tuple[str, ...]
    """the other classes with images, the greatest share first."""
    group: str
    """the run's group of classes that these are exactly; empty for none."""
    percentage: float
    """p of the layer."""
    next_share: float
    """share of the first of the others; NaN for none."""
    eta_squared: float
    """share of the variance of "significant or not" that the classes explain, on the images that
    judge."""
    percentile: float
    """percentile of it among the best η² of random rotations of the layer's outputs; NaN without
    them."""
    exemplars: tuple[Exemplar, ...]
    optimised: str
    """name of a target in ``visualizations/LAYER``; empty where there is none."""

    @property
    def address(self) -> str:
        """Where report and explorer show it, after the ``#``."""
        return vector_address(self.layer, self.singular_vector.vector)

    @property
    def next_class(self) -> str:
        """The first of the others; empty for none."""
        return self.others[0] if self.others else ""

    @property
    def resamples(self) -> float:
        """Least share of resamples that one of its classes holds in; NaN without resamples."""
        return min((one.resamples for one in self.classes), default=np.nan)

    @property
    def special(self) -> bool:
        """Whether few random rotations have a vector that tells the classes apart as well."""
        return self.percentile >= SPECIAL

    @property
    def headline(self) -> str:
        """Which classes it answers to, in a few words."""
        names = [one.target_class for one in self.classes]
        if self.group:
            return f"{self.name} answers to {listed([self.group])}: {listed(names)}"
        if not self.others and self.target_classes > 1:
            return f"{self.name} answers to all {self.target_classes:,} classes alike"
        if len(names) > _NAMED and len(self.others) < len(names):
            left_out = f"all of the {self.target_classes:,} classes but {listed(self.others)}"
            return f"{self.name} answers to {left_out}"
        return f"{self.name} answers to {listed(names)}"

    @property
    def evidence(self) -> str:
        """Share, interval, resamples and what random rotations do, in a few sentences."""
        return " ".join(
            filter(None, (self._shares(), self._certainty(), self._rotations(), self._arbitrary()))
        )

    @property
    def sentence(self) -> str:
        """All of it in plain text."""
        return f"{shown(self.layer)}: {self.headline}. {self.evidence}"

    def _shares(self) -> str:
        told = [one for one in self.classes if np.isfinite(one.share)]
        if not told:
            return "No image of these classes judges it."
        least, most = told[-1], told[0]
        between = f"{min(c.low for c in told):.0%} to {max(c.high for c in told):.0%}"
        ends = f"intervals {between}"
        if len(told) == 1:
            said = f"Strong in {most.share:.0%} of its images (interval {between})"
        elif f"{least.share:.0%}" == f"{most.share:.0%}":
            said = f"Strong in {most.share:.0%} of the images of each ({ends})"
        else:
            said = f"Strong in {least.share:.0%} to {most.share:.0%} of their images ({ends})"
        if self.next_class:
            return f"{said}; next comes {listed([self.next_class])} with {self.next_share:.0%}."
        return f"{said}."

    def _certainty(self) -> str:
        if not np.isfinite(self.resamples):
            return ""
        if self.resamples >= 1:
            return "It holds in every resample of the images."
        if self.resamples >= SURE:
            return f"It holds in {_at_least(self.resamples)} of the resamples of the images."
        unsure = [one.target_class for one in self.classes if one.resamples < SURE]
        return (
            f"Uncertain: {listed(unsure)} hold{'s' if len(unsure) == 1 else ''} in as few as "
            f"{_at_least(self.resamples)} of the resamples of the images."
        )

    def _rotations(self) -> str:
        if not np.isfinite(self.percentile):
            return "No random rotations tell whether that is more than chance."
        percentile = shown_percentile(self.percentile)
        told = f"η² {self.eta_squared:.2f}, percentile {percentile} of their best"
        if self.special:
            return f"It stands out from random rotations of the layer's outputs: {told}."
        return f"Random rotations of the layer's outputs do as well: {told}."

    def _arbitrary(self) -> str:
        if not self.arbitrary:
            return ""
        return (
            "Its singular value cannot be told apart from its neighbour's, so the vector is "
            "arbitrary within the space that they share."
        )


def _at_least(share: float) -> str:
    """A share in percent, rounded down: what is not quite all is not said to be 100 %."""
    return f"{np.floor(100 * share):.0f}%"


def listed(names: Sequence[str], most: int = _NAMED) -> str:
    """Names joined as in a sentence; past ``most`` of them the number of the others is said."""
    told = [shown(name, _LONGEST) for name in names[:most]]
    if len(names) > most:
        told = [*told[:-1], f"{len(names) - most + 1:,} more"]
    if len(told) < 2:
        return "".join(told)
    return f"{', '.join(told[:-1])} and {told[-1]}"
