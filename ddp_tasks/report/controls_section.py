"""The part of a run's report that says whether its findings are real: controls beside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from ddp_tasks.figures import control_figures
from ddp_tasks.queries.controls import (
    Standing,
    is_special,
    measures_there,
    plain_sentence,
    shown_percentile,
    standings,
)
from schemas.control_variables import MEASURES, RIVALS

#: Bases of the table, and what the page calls them.
_BASES = {"channels": "channels", "pca": "principal components"}


@dataclass(frozen=True)
class _Row:
    """One measure over all layers."""

    words: str
    rotations: Standing
    variances: Standing


@dataclass(frozen=True)
class _Cell:
    """One measure of one layer."""

    value: str
    percentile: str
    variance: str
    special: bool
    controls: str
    """values of the other bases, in words."""


def run_section(controls: xr.Dataset) -> tuple[dict[str, Any], dict[str, hv.Overlay]]:
    """What a run's report shows of its controls: context of the template, and the figure.

    Parameters
    ----------
    controls
        the store's group ``controls``.
    """
    there = measures_there(controls)
    rows = [
        _Row(one.words, one, of_variances)
        for one, of_variances in zip(
            standings(controls), standings(controls, "percentile_variance"), strict=True
        )
    ]
    context = {
        "sentence": plain_sentence(controls),
        "rows": rows,
        "measures": [MEASURES[name] for name in there],
        "layers": [
            (str(layer), [_cell(controls.sel(layer=layer, measure=name)) for name in there])
            for layer in controls["layer"].to_numpy()
        ],
        "chance": _chance(controls),
        "rivals": _rivals(controls),
        "rotations": int(controls.attrs["rotations"]),
        "permutations": int(controls.attrs["permutations"]),
        "colours": control_figures.STANDING_COLOURS,
    }
    words = {name: MEASURES[name] for name in there}
    drawn = control_figures.measures_among_controls(controls, words)
    return {"controls": context}, {"controls": drawn}


def _cell(at: xr.Dataset) -> _Cell:
    value, percentile, variance = (
        float(at[name]) for name in ("value", "percentile", "percentile_variance")
    )
    others = ", ".join(f"{words} {_number(float(at[name]))}" for name, words in _BASES.items())
    draws = at["rotation"].to_numpy()
    if np.isfinite(draws).any():
        others += f", median rotation {_number(float(np.nanmedian(draws)))}"
    return _Cell(
        _number(value),
        shown_percentile(percentile),
        shown_percentile(variance),
        is_special(percentile),
        others,
    )


def _number(value: float) -> str:
    if np.isnan(value):
        return "—"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.2f}"


def _chance(controls: xr.Dataset) -> list[tuple[str, ...]]:
    """Of each layer: incidences and best η², what chance gives, and p."""
    if not controls.sizes["permutation"]:
        return []
    rows = []
    for layer in controls["layer"].to_numpy():
        cells = [str(layer)]
        for measure in ("incidences", "eta_squared_best"):
            at = controls.sel(layer=layer, measure=measure)
            expected = float(at["permutation"].mean())
            cells += [
                _number(float(at["value"])),
                f"{expected:.2g}",
                f"{float(at['permutation_p']):.2g}",
            ]
        rows.append(tuple(cells))
    return rows


def _rivals(controls: xr.Dataset) -> list[tuple[str, ...]]:
    """Of each rival: the medians over layers of its measures, beside those of the vectors."""
    if "rival" not in controls.coords:
        return []
    there = measures_there(controls)
    own = controls["value"].sel(measure=there)
    rows = [("singular vectors", *_medians(own))]
    for rival in controls["rival"].to_numpy():
        of_rival = controls["rivals"].sel(rival=rival, measure=there)
        measured = int(of_rival.notnull().any("measure").sum())
        name = f"{RIVALS[str(rival)]} ({measured} of {controls.sizes['layer']} layers)"
        rows.append((name, *_medians(of_rival)))
    return rows


def _medians(measured: xr.DataArray) -> list[str]:
    return [
        _number(float(np.nanmedian(column))) if np.isfinite(column).any() else "—"
        for column in measured.transpose("measure", "layer").to_numpy()
    ]
