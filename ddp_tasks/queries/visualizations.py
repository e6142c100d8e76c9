"""Optimised images of a finished run, for a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import xarray as xr

from ddp_tasks.store import groups
from schemas.names import group_path
from schemas.parameters import RunError
from schemas.run_files import nearest

#: What stands under a picture: how far to trust it.
TRUST = (
    "excess",
    "excess_unseen",
    "path_similarity",
    "exemplar_similarity",
    "noise_similarity",
    "seed_deviation",
)


def open_visualizations(folder: Path, layer: str) -> xr.Dataset:
    """The optimised images of a layer, by target, and how far to trust each.

    Parameters
    ----------
    folder
        that the run was written to.

    Returns
    -------
    the group ``visualizations/LAYER``

    Raises
    ------
    RunError
        If there is no such layer, or it has no optimised images yet.
    """
    path = folder.expanduser() / "store.zarr"
    groups.root_attributes(path)
    layers = groups.read(path, "layers")["layer"].to_numpy().tolist()
    if layer not in layers:
        raise RunError(
            f"layer {layer!r} is not in {path}{nearest(layer, layers)}; layers: {', '.join(layers)}"
        )
    stored = layer_visualizations(path, layer)
    if stored is None:
        raise RunError(
            f"layer {layer} of {path} has no optimised images yet; ddp visualize makes them"
        )
    return stored


def layer_visualizations(path: Path, layer: str) -> xr.Dataset | None:
    """The group of a layer's optimised images; None where it has none.

    Parameters
    ----------
    path
        of the run's store.
    """
    group = group_path("visualizations", layer)
    return groups.read(path, group) if groups.is_marked(path, group) else None


def has_pictures(path: Path, layer: str) -> bool:
    """Whether the store has optimised images of a layer."""
    return groups.is_marked(path, group_path("visualizations", layer))


def trust_table(path: Path, layers: Iterable[str]) -> pd.DataFrame:
    """One row for each optimised image of some layers: what it is, and how far to trust it.

    Returns
    -------
    columns layer, target, those of ``TRUST``, seeds, and failed
    """
    frames = []
    for layer in layers:
        stored = layer_visualizations(path, layer)
        if stored is not None:
            columns = {name: stored[name].to_numpy() for name in (*TRUST, "seeds", "failed")}
            target = stored["target"].to_numpy()
            frames.append(pd.DataFrame({"layer": layer, "target": target, **columns}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
