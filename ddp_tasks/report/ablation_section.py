"""The part of a run's report on what the removal of singular vectors does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holoviews as hv
import pandas as pd
import xarray as xr

from ddp_tasks.figures import ablation_figures
from ddp_tasks.queries.ablation import (
    SURE,
    grid_table,
    stored_comparison,
    vectors_table,
    verdicts,
)
from schemas.ablation_variables import CHANGES, CONTROLS

#: Single vectors that are listed.
_VECTORS = 12


@dataclass(frozen=True)
class Ablated:
    """What was removed from a run's layers."""

    comparison: xr.Dataset
    """the group ``ablated``."""
    vectors: pd.DataFrame
    """as ``vectors_table`` returns it."""


def read(path: Path, directions: Sequence[str]) -> Ablated | None:
    """What a store says of removals; None where nothing was removed, or in other directions."""
    comparison = stored_comparison(path, directions)
    if comparison is None:
        return None
    return Ablated(comparison, vectors_table(path.parent))


def run_section(ablated: Ablated | None) -> tuple[dict[str, Any], dict[str, hv.Overlay]]:
    """The context of the template, and the figures; of nothing where nothing was removed."""
    if ablated is None:
        return {"ablation": None}, {}
    comparison, vectors = ablated.comparison, ablated.vectors
    layers = [str(name) for name in comparison["layer"].to_numpy()]
    of_accuracy = vectors[vectors["change"] == "accuracy"]
    strongest = of_accuracy.sort_values("selectivity", ascending=False, kind="stable")
    plots = {"ablation": ablation_figures.selectivity_by_layer(comparison, "accuracy")}
    if len(of_accuracy):
        plots["single-vectors"] = ablation_figures.single_vectors(of_accuracy, layers)
    asked = json.loads(comparison.attrs["asked"])
    context = {
        "verdicts": {name: verdicts(comparison, name) for name in CHANGES},
        "changes": CHANGES,
        "controls": CONTROLS,
        "rows": {name: _rows(grid_table(comparison), name) for name in CHANGES},
        "sure": SURE,
        "marks": ablation_figures.MARKS,
        "colours": {
            "selective": ablation_figures.SELECTIVE,
            "unsure": ablation_figures.UNSURE,
        },
        "vectors": len(of_accuracy),
        "selective": int((of_accuracy["low"] > 0).sum()),
        "strongest": strongest.head(_VECTORS).to_dict("records"),
        "asked": asked,
        "layers": len(layers),
    }
    return {"ablation": context}, plots


def _rows(frame: pd.DataFrame, change: str) -> list[tuple[str, list[dict[Any, Any]]]]:
    """A row for each place of the grid, with a cell for each control."""
    of_change = frame[frame["change"] == change]
    rows = []
    for (quantile, percentage), at in of_change.groupby(["quantile", "percentage"]):
        by_control = at.set_index("control").to_dict("index")
        place = f"q {quantile:g}, p {percentage:g} %"
        rows.append((place, [by_control[name] for name in CONTROLS]))
    return rows
