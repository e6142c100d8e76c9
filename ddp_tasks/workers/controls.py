"""One layer's controls from a finished cube, computed in a Dask worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.controls.basis_measures import Asked, class_pairs
from ddp_tasks.controls.layer_controls import Drawn, layer_controls
from ddp_tasks.controls.layer_images import LayerImages, some_of_each
from ddp_tasks.store import cube, groups
from ddp_tasks.workers.opened import opened
from schemas.control_parameters import ControlParameters
from schemas.names import group_path
from schemas.object_paths import path_of
from schemas.parameters import SignificanceParameters

#: Signals of a layer that are measured at most; of a larger one, some images of each class.
MOST_SIGNALS = 1 << 24

#: Pairs of classes that are told apart at most.
MOST_PAIRS = 100


def controls_of_layer(
    path: str, parameters: SignificanceParameters, wanted: ControlParameters, layer: str
) -> xr.Dataset:
    """The layer's part of the group ``controls``.

    Parameters
    ----------
    path
        path of the store, which has its significance.
    """
    store = path_of(path)
    layers, significance = opened(store, "layers"), opened(store, "significance")
    names = [str(name) for name in significance["target_class"].to_numpy()]
    position = layers["layer"].to_numpy().tolist().index(layer)
    rank = int(layers["rank"][position])
    part = significance["part"].to_numpy()
    target = some_of_each(_target_read(store), part, MOST_SIGNALS // rank)
    chosen = target >= 0
    signals = cube.rows_of_layer(cube.open_cube(store), position, slice(0, rank), chosen)
    reaches = ~np.isnan(signals[:, 0])
    images = LayerImages.of(target[chosen], part[chosen], reaches, len(names))
    levels = parameters.levels(layer)
    asked = Asked(
        images=images,
        quantile=levels.quantile,
        percentage=levels.percentage,
        directions=tuple(parameters.directions),
        groups=_members(parameters.superclasses, names),
        # The same pairs in every layer.
        pairs=class_pairs(
            images.images[-1], MOST_PAIRS, np.random.default_rng([parameters.seed, MOST_PAIRS])
        ),
        confidence=parameters.confidence,
    )
    drawn = Drawn(wanted.rotations, wanted.permutations, tuple(wanted.rivals), parameters.seed)
    U = groups.read(store, group_path("decomposition", layer))["U"].to_numpy()
    return layer_controls(layer, signals, U, asked, drawn)


def _target_read(path: Path) -> npt.NDArray[np.int64]:
    """Class of each image, -1 for one that could not be read."""
    return _target(path, groups.fingerprint(path, "signals"))


@lru_cache(maxsize=1)
def _target(path: Path, fingerprint: str) -> npt.NDArray[np.int64]:
    signals = groups.read(path, "signals")
    read = signals["error"].to_numpy().astype(object) == ""
    return np.where(read, signals["target"].to_numpy(), -1)


def _members(
    superclasses: Mapping[str, Sequence[str]], names: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Which target classes belong to each group, shape (superclass, class)."""
    member = [[name in group for name in names] for group in superclasses.values()]
    return np.array(member, dtype=np.bool_).reshape(len(superclasses), len(names))
