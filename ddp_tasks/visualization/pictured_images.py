"""Which images of a run are shown, and so have a picture in its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr


def pictured_images(
    exemplars: xr.Dataset, hierarchies: Iterable[xr.Dataset], most: int
) -> list[str]:
    """Ids of the images to show, most important first.

    First come the exemplars of equivalence classes, then those of the singular vectors in them,
    then those of all others, each by their places.

    Parameters
    ----------
    exemplars
        the store's group ``exemplars``.
    hierarchies
        the groups ``hierarchies/LAYER``, in the order of the layers.
    most
        how many to give at most.
    """
    chosen: dict[str, None] = {}
    for ids in _by_importance(exemplars, list(hierarchies)):
        chosen |= dict.fromkeys(ids.tolist())
        if len(chosen) > most:
            break
    chosen.pop("", None)
    return list(chosen)[:most]


def _by_importance(
    exemplars: xr.Dataset, hierarchies: list[xr.Dataset]
) -> Iterator[npt.NDArray[np.object_]]:
    for name in ("exemplar", "strongest"):
        yield from (hierarchy[name].to_numpy().ravel().astype(object) for hierarchy in hierarchies)
    # By place, direction, layer and singular vector.
    images = np.moveaxis(exemplars["image"].to_numpy().astype(object), -1, 0)
    significant = np.zeros(images.shape[2:], dtype=np.bool_)
    for layer, hierarchy in enumerate(hierarchies):
        members = hierarchy["singular_vectors"].any(("equivalence_class", "direction")).to_numpy()
        significant[layer, : len(members)] = members
    for of_place in images:
        yield of_place[:, significant].ravel()
    for of_place in images:
        yield of_place[:, ~significant].ravel()
