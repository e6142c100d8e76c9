"""Whether the singular vectors of a whole run are more than any basis would give, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from ddp_tasks.queries.ablation import verdicts
from ddp_tasks.queries.controls import Standing, standings

#: Share of layers that vectors which are nothing special have beyond the 95th percentile.
_BY_CHANCE = 0.05
#: The measure that statements on single vectors are placed by.
_TOLD = "eta_squared_best"


@dataclass(frozen=True)
class Conclusion:
    """What the controls and the removals of a run say of all of it."""

    sentence: str
    """one sentence, without its full stop."""
    supported: bool
    """whether singular vectors are beyond random rotations in more layers than by chance."""
    removals: str
    """what the removal of vectors says; empty where nothing was removed."""


def conclusion(controls: xr.Dataset, ablated: xr.Dataset | None = None) -> Conclusion:
    """What a run's evidence comes to.

    Parameters
    ----------
    controls
        the group ``controls``.
    ablated
        the group ``ablated``; None where nothing was removed.
    """
    of_all = [one for one in standings(controls) if one.layers]
    removals = "" if ablated is None else verdicts(ablated)[0]
    if not of_all:
        return Conclusion(
            "There are no random rotations to compare with, so nothing here says whether singular "
            "vectors are more than any other basis of the same outputs",
            False,
            removals,
        )
    best = max(of_all, key=lambda one: one.special / one.layers)
    sure = _chance(best) * len(of_all) <= _BY_CHANCE
    return Conclusion(_sentence(best, of_all, sure), sure, removals)


def _sentence(best: Standing, of_all: Sequence[Standing], sure: bool) -> str:
    layers = "layer" if best.layers == 1 else "layers"
    count = f"in {best.special} of {best.layers} {layers}"
    if not sure:
        return (
            "Random rotations of the same outputs do as well as singular vectors: by no measure "
            f"are the singular vectors at or beyond their 95th percentile in more layers than "
            f"chance may give (most by {best.words}, {count})"
        )
    told = next((one for one in of_all if one.measure == _TOLD and one is not best), None)
    also = f", by {told.words} in {told.special} of {told.layers}" if told is not None else ""
    none = sum(not one.special for one in of_all)
    not_by = f"; by {none} of {len(of_all)} measures in none" if none else ""
    return (
        f"By {best.words} the singular vectors are at or beyond the 95th percentile of random "
        f"rotations {count}{also}{not_by}"
    )


def _chance(one: Standing) -> float:
    """Probability of so many layers or more, if each were beyond it with 5 %, independently."""
    from scipy.stats import binom

    return float(binom.sf(one.special - 1, one.layers, _BY_CHANCE))
