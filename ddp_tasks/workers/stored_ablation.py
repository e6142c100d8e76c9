"""The removals of a store: one group for each layer, and the comparison over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.interventions.removal_comparison import Compared, compared
from ddp_tasks.significance.confidence_intervals import false_discovery_rates
from ddp_tasks.store import groups
from ddp_tasks.workers.ablation import EFFECTS, OfClass, Removal, Removed
from ddp_tasks.workers.opened import opened
from ddp_tasks.workers.stored_run import StoredRun
from schemas.ablation_parameters import AblationParameters
from schemas.ablation_variables import CHANGES, CONTROLS
from schemas.names import group_path

#: Groups of the layers' removals, and of their comparison.
GROUP, COMPARISON = "ablation", "ablated"

Floats = npt.NDArray[np.float64]


def mark_of_layer(stored: StoredRun, options: AblationParameters) -> dict[str, str]:
    """The mark of a group ``ablation/LAYER``: what chose the vectors, and what was asked for."""
    levels = stored.parameters.significance
    return {
        "ablation": options.model_dump_json(),
        "directions": ", ".join(levels.directions),
        "confidence": f"{levels.confidence:g}",
        "significance": groups.fingerprint(stored.path, "significance"),
    }


def missing_layers(
    stored: StoredRun, options: AblationParameters, layers: Sequence[str]
) -> list[str]:
    """Layers whose removals are missing, damaged, or were asked for in another way."""
    mark = mark_of_layer(stored, options)
    return [
        layer
        for layer in layers
        if not groups.is_recorded(stored.path, group_path(GROUP, layer), mark)
    ]


def remove_stale(path: Path) -> Iterator[str]:
    """Remove the removals of layers that are damaged or were chosen by another significance.

    Yields
    ------
    name of each group that is removed
    """
    mark = {"significance": groups.fingerprint(path, "significance")}
    for name in groups.names_below(path, GROUP):
        if not groups.is_recorded(path, f"{GROUP}/{name}", mark):
            groups.remove(path, f"{GROUP}/{name}")
            yield name


def write_layer(
    stored: StoredRun, options: AblationParameters, layer: str, found: Sequence[Removed]
) -> int:
    """Put the results of a layer's tasks into its group.

    Returns
    -------
    number of removals
    """
    path = stored.path
    rank = int(opened(path, "layers")["rank"].sel(layer=layer))
    classes = sorted((one for part in found for one in part.classes), key=lambda c: c.own_class)
    dataset = _of_sets(classes, rank).merge(_of_vectors(found, rank, len(classes)))
    target_classes = opened(path, "significance")["target_class"].to_numpy().astype(object)
    dataset = dataset.assign_coords(
        quantile=np.array(options.quantiles),
        percentage=np.array(options.percentages, dtype=np.float64),
        target_class=target_classes,
        singular_vector=np.arange(rank),
        change=np.array(list(CHANGES), dtype=object),
    )
    absent = dict.fromkeys(sentence for one in classes for sentence in one.absent)
    ways = dict.fromkeys(part.way for part in found)
    dataset = dataset.assign_attrs(layer=layer, way="; ".join(ways), absent="; ".join(absent))
    groups.replace(path, group_path(GROUP, layer), dataset, mark_of_layer(stored, options))
    return dataset.sizes["removal"] + (rank if options.vectors else 0)


def _of_sets(classes: Sequence[OfClass], rank: int) -> xr.Dataset:
    """Sets and their controls, class after class along one dimension."""
    number, control_of, effects = [], [], []
    removals: list[Removal] = []
    own_class: list[int] = []
    for one in classes:
        first = len(removals)
        # Within a class, the set itself comes before its controls.
        at = {r.control_of: first + i for i, r in enumerate(one.removals) if r.kind == "singular"}
        place = np.array([at[k] for k in range(len(at))], dtype=np.int64)
        number.append(np.where(one.number >= 0, place[one.number], -1) if at else one.number)
        control_of += [at[removal.control_of] for removal in one.removals]
        removals += one.removals
        own_class += [one.own_class] * len(one.removals)
        if one.effects is not None:
            effects.append(one.effects)
    member = np.zeros((len(removals), rank), dtype=np.bool_)
    for row, removal in enumerate(removals):
        member[row, list(removal.members)] = True
    found = np.concatenate([np.empty((len(EFFECTS), len(CHANGES), 0)), *effects], axis=-1)

    def column(values: Sequence[object], kind: type | np.dtype[np.generic]) -> tuple[str, Floats]:
        return "removal", np.array(values, dtype=kind)

    return xr.Dataset(
        {
            "number": (("quantile", "percentage", "target_class"), np.stack(number, axis=-1)),
            "kind": column([removal.kind for removal in removals], object),
            "draw": column([removal.draw for removal in removals], np.int64),
            "control_of": column(control_of, np.int64),
            "own_class": column(own_class, np.int64),
            "directions": column([removal.directions for removal in removals], np.int64),
            "energy": column([removal.energy for removal in removals], np.float64),
            "member": (("removal", "singular_vector"), member),
            **{
                name: (("change", "removal"), values)
                for name, values in zip(EFFECTS, found, strict=True)
            },
            "images": ("target_class", np.array([one.images for one in classes])),
            "before": (("change", "target_class"), np.stack([c.before for c in classes], axis=-1)),
        }
    )


def _of_vectors(found: Sequence[Removed], rank: int, classes: int) -> xr.Dataset:
    """What the removal of single vectors does, NaN where none was asked for."""
    drop, error = (np.full((len(CHANGES), rank, classes), np.nan) for _ in range(2))
    for part in found:
        if (one := part.vectors) is not None:
            some = slice(one.vectors.start, one.vectors.stop)
            drop[:, some], error[:, some] = one.drops.drop, one.drops.error
    dims = ("change", "singular_vector", "target_class")
    return xr.Dataset({"vector_drop": (dims, drop), "vector_drop_error": (dims, error)})


def write_comparison(
    stored: StoredRun, options: AblationParameters, layers: Sequence[str]
) -> xr.Dataset:
    """Compare the removals of some layers with their controls, and store that.

    Returns
    -------
    the group ``ablated``
    """
    path = stored.path
    confidence = stored.parameters.significance.confidence
    own, controls = [], []
    for layer in layers:
        of_layer = groups.read(path, group_path(GROUP, layer)).load()
        selectivities = _by_place(of_layer)
        own.append(selectivities[0])
        controls.append(selectivities[1])
    # (layer, class, quantile, percentage, control, change), and without control.
    values, beside = np.stack(own), np.stack(controls)
    differences = values[..., None, :] - beside
    over_all = compared(differences, confidence, options.seed)
    each = [compared(one[None], confidence, options.seed) for one in differences]
    of_layers = Compared(*(np.stack(parts) for parts in zip(*map(_fields, each), strict=True)))
    with np.errstate(invalid="ignore"):
        variables = {
            **_variables("", over_all, _mean(values, (0, 1)), _mean(beside, (0, 1)), ()),
            **_variables("layer_", of_layers, _mean(values, (1,)), _mean(beside, (1,)), ("layer",)),
        }
    dataset = xr.Dataset(
        variables,
        coords={
            "layer": np.array(layers, dtype=object),
            "quantile": np.array(options.quantiles),
            "percentage": np.array(options.percentages, dtype=np.float64),
            "control": np.array(list(CONTROLS), dtype=object),
            "change": np.array(list(CHANGES), dtype=object),
        },
        attrs={"asked": options.model_dump_json(), "confidence": confidence},
    )
    groups.write(path, COMPARISON, dataset, mark_of_comparison(stored, options, layers))
    return dataset


def mark_of_comparison(
    stored: StoredRun, options: AblationParameters, layers: Sequence[str]
) -> dict[str, str]:
    """The mark of the group ``ablated``: the removals of all its layers."""
    made = [groups.fingerprint(stored.path, group_path(GROUP, layer)) for layer in layers]
    return {"removals": " ".join(made), **mark_of_layer(stored, options)}


def _by_place(of_layer: xr.Dataset) -> tuple[Floats, Floats]:
    """Selectivity of the singular vectors, and the mean of their controls.

    Returns
    -------
    shapes (class, quantile, percentage, change) and (class, quantile, percentage, control, change);
    NaN where there are none
    """
    value = of_layer["selectivity"].to_numpy().T
    kind, of = of_layer["kind"].to_numpy().astype(object), of_layer["control_of"].to_numpy()
    number = of_layer["number"].to_numpy().transpose(2, 0, 1)
    there = number >= 0
    own = np.full((*number.shape, value.shape[1]), np.nan)
    own[there] = value[number[there]]
    beside = np.full((*number.shape, len(CONTROLS), value.shape[1]), np.nan)
    for k, control in enumerate(CONTROLS):
        rows = np.flatnonzero(kind == control)
        counts = np.bincount(of[rows], minlength=len(value))
        sums = np.zeros_like(value)
        np.add.at(sums, of[rows], value[rows])
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / counts[:, None]
        beside[there, k] = means[number[there]]
    return own, beside


def _mean(values: Floats, axes: tuple[int, ...]) -> Floats:
    """Mean over axes of the values that are there; NaN of none."""
    there = np.isfinite(values)
    sums: Floats = np.where(there, values, 0.0).sum(axis=axes)
    return sums / there.sum(axis=axes)


def _fields(one: Compared) -> tuple[npt.NDArray[Any], ...]:
    return (one.pairs, one.difference, one.low, one.high, one.win_rate, one.p)


def _variables(
    prefix: str, found: Compared, own: Floats, controls: Floats, first: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """The variables of the group, over all layers or by layer."""
    dims = (*first, "quantile", "percentage", "control", "change")
    by_control: dict[str, npt.NDArray[Any]] = {
        "control_selectivity": controls,
        "pairs": found.pairs,
        "difference": found.difference,
        "difference_low": found.low,
        "difference_high": found.high,
        "win_rate": found.win_rate,
        "p": found.p,
        "p_corrected": false_discovery_rates(found.p),
    }
    return {
        f"{prefix}selectivity": ((*first, "quantile", "percentage", "change"), own),
        **{f"{prefix}{name}": (dims, values) for name, values in by_control.items()},
    }
