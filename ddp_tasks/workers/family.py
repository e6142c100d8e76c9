"""One layer's family and stability from a finished cube, computed in a Dask worker."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import xarray as xr

from ddp_tasks.hypergraphs.family import family_dataset
from ddp_tasks.significance.significance import of_part
from ddp_tasks.significance.stability import layer_stability, made_with
from ddp_tasks.store import cube, groups
from ddp_tasks.workers.opened import opened
from schemas.names import group_path
from schemas.object_paths import path_of
from schemas.parameters import SignificanceParameters


def family_of_layer(path: str, percentages: Sequence[float], layer: str) -> xr.Dataset:
    """The layer's part of the group ``family``.

    Parameters
    ----------
    path
        path of the store, which has its significance.
    percentages
        ascending.
    """
    significance = opened(path_of(path), "significance").sel(layer=[layer])
    return family_dataset(significance, percentages)


def judge_layer(path: str, parameters: SignificanceParameters, layer: str) -> None:
    """Write the group ``stability/LAYER``, at the layer's own levels.

    Parameters
    ----------
    path
        path of the store, which has its hierarchies.
    """
    layers = opened(path_of(path), "layers")
    position = layers["layer"].to_numpy().tolist().index(layer)
    significance = opened(path_of(path), "significance")
    of_layer = partial(cube.layer_parts, path_of(path), position, int(layers["rank"][position]))
    stability = layer_stability(
        of_part(of_layer, significance["part"].to_numpy(), 0),
        significance.sel(layer=layer),
        groups.read(path_of(path), group_path("hierarchies", layer)).load(),
        parameters.levels(layer),
        resamples=parameters.resamples,
        sample_sizes=parameters.sample_sizes,
    )
    group = group_path("stability", layer)
    made_with = _of(path_of(path), parameters, layer)
    groups.write(path_of(path), group, stability.assign_attrs(layer=layer), made_with)


def is_judged(path: Path, parameters: SignificanceParameters, layer: str) -> bool:
    """Whether the group ``stability/LAYER`` is finished, for these levels and this hierarchy."""
    return groups.is_recorded(path, group_path("stability", layer), _of(path, parameters, layer))


def _of(path: Path, parameters: SignificanceParameters, layer: str) -> dict[str, str]:
    return {
        **made_with(parameters, layer),
        "significance": groups.fingerprint(path, "significance"),
        "hierarchy": groups.fingerprint(path, group_path("hierarchies", layer)),
    }
