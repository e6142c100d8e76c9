"""What the findings of a finished run stand beside: other bases, and permuted labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.store import groups
from schemas.control_variables import MEASURES

#: Percentiles of rotations from which on a value counts as special, and down to which as poor.
SPECIAL, POOR = 95.0, 5.0


def open_controls(folder: Path) -> xr.Dataset:
    """The controls of all layers: measures of the singular vectors, of other bases, and by chance.

    Parameters
    ----------
    folder
        that the run was written to.

    Returns
    -------
    the group ``controls``

    Raises
    ------
    RunError
        If there is no store of a run.
    DamagedStoreError
        If the run has not come to its controls yet.
    """
    path = folder.expanduser() / "store.zarr"
    groups.root_attributes(path)
    return groups.read(path, "controls").load()


def percentile_of(controls: xr.Dataset, layer: str, measure: str) -> float:
    """At which percentile of its random rotations a layer's measure stands.

    Parameters
    ----------
    controls
        the group ``controls``.
    measure
        one of ``MEASURES``.

    Returns
    -------
    from 0 to 100; NaN where there are too few rotations

    Raises
    ------
    KeyError
        If there is no such layer or measure.
    """
    return float(controls["percentile"].sel(layer=layer, measure=measure))


def best_of_rotations(controls: xr.Dataset, layer: str) -> npt.NDArray[np.float64]:
    """The best η² of a significant vector in each random rotation of a layer.

    Parameters
    ----------
    controls
        the group ``controls``.

    Returns
    -------
    shape (rotation,); empty where the layer has too few rotations for percentiles
    """
    at = controls.sel(layer=layer, measure="eta_squared_best")
    if not np.isfinite(at["percentile"]):
        return np.zeros(0)
    drawn = at["rotation"].to_numpy()
    return np.asarray(drawn[np.isfinite(drawn)])


def percentile_among(value: float, rotations: npt.NDArray[np.float64]) -> float:
    """Share of rotations at or below a value, equal ones counted half, in percent.

    Returns
    -------
    from 0 to 100; NaN without rotations
    """
    if not len(rotations):
        return float("nan")
    return float(100 * ((rotations < value).mean() + (rotations == value).mean() / 2))


def is_special(percentile: float) -> bool:
    """Whether a percentile is high enough to call what stands there special."""
    return percentile >= SPECIAL


def shown_percentile(percentile: float) -> str:
    """A percentile as all pages write it: never rounded up to what it does not reach."""
    return f"{math.floor(percentile)}" if math.isfinite(percentile) else "—"


@dataclass(frozen=True)
class Standing:
    """Where the singular vectors of a run's layers stand among rotations, by one measure."""

    measure: str
    words: str
    """what is measured."""
    layers: int
    """layers with rotations and a value."""
    special: int
    """layers at or beyond the 95th percentile."""
    poor: int
    """layers at or below the 5th percentile."""
    median: float
    """median percentile; NaN without layers."""


def standings(controls: xr.Dataset, percentile: str = "percentile") -> list[Standing]:
    """Where the layers stand, by each measure that the run has.

    Parameters
    ----------
    controls
        the group ``controls``.
    percentile
        or ``percentile_variance``: among the rotations that keep the signals' variances.
    """
    found = []
    for measure in measures_there(controls):
        at = controls[percentile].sel(measure=measure).to_numpy()
        at = at[np.isfinite(at)]
        found.append(
            Standing(
                measure,
                MEASURES[measure],
                len(at),
                int((at >= SPECIAL).sum()),
                int((at <= POOR).sum()),
                float(np.median(at)) if len(at) else np.nan,
            )
        )
    return found


def measures_there(controls: xr.Dataset) -> list[str]:
    """Measures that some layer has: groups of classes are parted only where a run names some."""
    return [
        str(measure)
        for measure in controls["measure"].to_numpy()
        if np.isfinite(controls["value"].sel(measure=measure)).any()
    ]


def plain_sentence(controls: xr.Dataset) -> str:
    """What the controls say of the singular vectors, over all layers and measures, in a sentence.

    Parameters
    ----------
    controls
        the group ``controls``.
    """
    of_all = standings(controls)
    comparisons = sum(one.layers for one in of_all)
    if not comparisons:
        return "There are no rotations to compare the singular vectors with"
    special, poor = (sum(getattr(one, side) for one in of_all) for side in ("special", "poor"))
    return (
        f"Of {comparisons} comparisons (a measure in a layer), the singular vectors stand at or "
        f"beyond the 95th percentile of random rotations in {special} ({special / comparisons:.0%})"
        f" and at or below the 5th in {poor} ({poor / comparisons:.0%}); vectors that are nothing "
        "special would be in about 5 % on either side"
    )
