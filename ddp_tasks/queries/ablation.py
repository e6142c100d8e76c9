"""What the removal of a finished run's singular vectors says: where they matter, and where not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ddp_tasks.store import groups
from schemas.ablation_parameters import AblationParameters
from schemas.ablation_variables import CHANGES, CONTROLS
from schemas.names import group_path
from schemas.parameters import RunError
from schemas.run_files import nearest

if TYPE_CHECKING:
    import pandas as pd

    from ddp_tasks.queries.finished_run import FinishedRun

#: Corrected p up to which a difference counts.
SURE = 0.05


def check_removable(finished: FinishedRun, options: AblationParameters) -> None:
    """Refuse a run whose vectors cannot be removed on images that chose nothing.

    Raises
    ------
    RunError
        If the run's images are not split, or a quantile level is not stored; it names those that
        are.
    """
    if finished.run.significance.split is None:
        raise RunError(
            f"{finished.store} has significance.split null: no image is left that chose nothing. "
            "Run again with a split, such as 0.5, in another folder"
        )
    stored = groups.read(finished.store, "significance")["quantile"].to_numpy()
    for quantile in options.quantiles:
        if not (np.abs(stored - quantile) <= 1e-9).any():
            raise RunError(
                f"quantile level {quantile:g} is not stored in {finished.store}; stored: "
                f"{', '.join(f'{one:g}' for one in stored)}"
            )


def open_ablation(folder: Path) -> xr.Dataset:
    """How the removal of singular vectors compares with that of other directions.

    Parameters
    ----------
    folder
        that the run was written to.

    Returns
    -------
    the group ``ablated``: by place of the grid, control and change, over all layers and by layer

    Raises
    ------
    RunError
        If there is no store of a run, or nothing was removed yet.
    """
    path = folder.expanduser() / "store.zarr"
    groups.root_attributes(path)
    stored = stored_comparison(path)
    if stored is None:
        raise RunError(f"nothing was removed from {path} yet; ddp ablate does that")
    return stored


def stored_comparison(path: Path, directions: Sequence[str] | None = None) -> xr.Dataset | None:
    """The group ``ablated`` of a store, where ``is_ablated``; else None."""
    return groups.read(path, "ablated").load() if is_ablated(path, directions) else None


def is_ablated(path: Path, directions: Sequence[str] | None = None) -> bool:
    """Whether vectors were removed that the present significance of a store chose.

    Parameters
    ----------
    directions
        in which they count as significant; None for any.
    """
    chosen_by = {"significance": groups.fingerprint(path, "significance")}
    if directions is not None:
        chosen_by["directions"] = ", ".join(directions)
    return groups.is_recorded(path, "ablated", chosen_by)


def open_removals(folder: Path, layer: str) -> xr.Dataset:
    """Every removal from one layer.

    Returns
    -------
    the group ``ablation/LAYER``

    Raises
    ------
    RunError
        As ``open_ablation`` does, or if nothing was removed from the layer; it names the layers.
    """
    path = folder.expanduser() / "store.zarr"
    known = [str(name) for name in open_ablation(folder)["layer"].to_numpy()]
    if layer not in known:
        raise RunError(
            f"nothing was removed from layer {layer!r} of {path}{nearest(layer, known)}; layers: "
            f"{', '.join(known)}"
        )
    return groups.read(path, group_path("ablation", layer)).load()


def grid_table(ablated: xr.Dataset) -> pd.DataFrame:
    """Every place of the grid with every control and change, over all layers.

    Returns
    -------
    columns quantile, percentage, control, change, pairs, selectivity, control_selectivity,
    difference, difference_low, difference_high, win_rate, p, p_corrected
    """
    names = [
        *("pairs", "selectivity", "control_selectivity", "difference", "difference_low"),
        *("difference_high", "win_rate", "p", "p_corrected"),
    ]
    return (
        ablated[names]
        .to_dataframe()
        .reset_index()[["quantile", "percentage", "control", "change", *names]]
    )


def vectors_table(folder: Path, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """The removal of every single vector: the class that it hurts most beyond the others.

    Parameters
    ----------
    layers
        None for all from which vectors were removed.

    Returns
    -------
    columns layer, singular_vector, change, target_class, own_drop, other_drop, selectivity, low,
    high; the interval holds for all vectors and classes of the layer together (Bonferroni). Empty
    where single vectors were not removed
    """
    import pandas as pd
    from scipy.stats import norm

    ablated = open_ablation(folder)
    confidence = float(ablated.attrs["confidence"])
    names = layers or [str(name) for name in ablated["layer"].to_numpy()]
    frames = []
    for layer in names:
        stored = open_removals(folder, layer)
        drop, error = (stored[name].to_numpy() for name in ("vector_drop", "vector_drop_error"))
        there = np.isfinite(drop[0]).any(axis=0)
        classes = int(there.sum())
        if classes < 2:
            continue
        drop, error = drop[..., there], error[..., there]
        others = (drop.sum(axis=-1, keepdims=True) - drop) / (classes - 1)
        spread = (error**2).sum(axis=-1, keepdims=True) - error**2
        deviation = np.sqrt(error**2 + spread / (classes - 1) ** 2)
        selectivity = drop - others
        best = selectivity.argmax(axis=-1)[..., None]
        at = [
            np.take_along_axis(values, best, -1)[..., 0]
            for values in (drop, others, selectivity, deviation)
        ]
        half = norm.ppf(1 - (1 - confidence) / (2 * classes * drop.shape[1])) * at[3]
        target = stored["target_class"].to_numpy().astype(object)[there][best[..., 0]]
        frames += [
            pd.DataFrame(
                {
                    "layer": layer,
                    "singular_vector": stored["singular_vector"].to_numpy(),
                    "change": change,
                    "target_class": target[k],
                    "own_drop": at[0][k],
                    "other_drop": at[1][k],
                    "selectivity": at[2][k],
                    "low": at[2][k] - half[k],
                    "high": at[2][k] + half[k],
                }
            )
            for k, change in enumerate(CHANGES)
        ]
    columns = [
        *("layer", "singular_vector", "change", "target_class", "own_drop", "other_drop"),
        *("selectivity", "low", "high"),
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def verdicts(ablated: xr.Dataset, change: str = "accuracy") -> list[str]:
    """For each control a sentence: where the singular vectors are more selective, and where not.

    Parameters
    ----------
    ablated
        as ``open_ablation`` returns it.
    change
        accuracy or probability.
    """
    if not np.isfinite(ablated["selectivity"]).any():
        return ["No singular vector is significant for a class at any place of the grid."]
    return [_verdict(ablated.sel(control=name, change=change), name) for name in CONTROLS]


def _verdict(at: xr.Dataset, name: str) -> str:
    difference, p = (at[key].to_numpy().ravel() for key in ("difference", "p_corrected"))
    there = np.isfinite(difference)
    if not there.any():
        return f"There are no {CONTROLS[name]} to compare with."
    sure = there & (p <= SURE)
    more, less = int((sure & (difference > 0)).sum()), int((sure & (difference < 0)).sum())
    places = int(there.sum())
    rates = at["win_rate"].to_numpy().ravel()[there]
    said = (
        f"A class's significant vectors are more selective than {CONTROLS[name]} at {more} of "
        f"{places} places of the grid, and less at {less} (corrected p ≤ {SURE:g}); differences "
        f"{difference[there].min():+.3f} to {difference[there].max():+.3f}, "
        f"{rates.min():.0%} to {rates.max():.0%} of pairs won."
    )
    return f"{said} {_layers_against(at)}"


def _layers_against(at: xr.Dataset) -> str:
    """In which layers the singular vectors are no better."""
    difference = at["layer_difference"]
    mean = difference.mean(("quantile", "percentage")).to_numpy()
    names = at["layer"].to_numpy().astype(object)
    there = np.isfinite(mean)
    against = names[there & (mean <= 0)].tolist()
    if not against:
        return f"The mean difference is above 0 in each of {int(there.sum())} layers."
    listed = ", ".join(against[:6]) + (f" and {len(against) - 6} more" if len(against) > 6 else "")
    return (
        f"It does not hold in {len(against)} of {int(there.sum())} layers, where the mean "
        f"difference is not above 0: {listed}."
    )
