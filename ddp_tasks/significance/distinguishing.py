"""Which singular vectors tell classes apart, and which tell one class from another (section 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.significance.confidence_intervals import (
    difference_intervals,
    difference_probabilities,
    false_discovery_rates,
)
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import by_discrimination, significant_images
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import DIRECTIONS, SignedVectors
from schemas.parameters import Levels

#: The levels of a layer, by its name.
LevelsOf = Callable[[str], Levels]


def distinguishing(
    significance: xr.Dataset,
    layers: xr.Dataset,
    names: Sequence[str],
    pair: tuple[str, str],
    levels: LevelsOf,
    *,
    directions: Sequence[str] = DIRECTIONS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The singular vectors that distinguish one class from another, the most telling first.

    Compares the shares of the two classes' images that a vector is significant for, on the images
    that judge. Vectors are ranked by how far the interval of the difference is from zero, so that
    a great difference over few images does not come before a smaller one that is certain; then by
    the difference. The intervals of all layers, vectors and directions hold together, however many
    were searched.

    Parameters
    ----------
    significance, layers
        the store's groups of these names.
    names
        layers to look at.
    pair
        names of the two classes.
    levels
        of each layer; the quantile level must be stored.
    confidence
        probability that all intervals hold.

    Returns
    -------
    columns layer, singular_vector, singular_value, arbitrary (its singular value cannot be told
    from its neighbour's), direction, fraction_a, fraction_b, difference (a minus b), low, high,
    false_discovery_rate (the least at which it counts among what distinguishes them),
    significant_a, significant_b

    Raises
    ------
    ValueError
        If one of the classes has no images.

    References
    ----------
    Praggastis et al. 2022, section 6, first paragraph.
    """
    classes = [str(c) for c in significance["target_class"].to_numpy()]
    rows = [classes.index(c) for c in pair]
    pair_images = significance["images"].to_numpy()[-1, rows]
    for target_class, images in zip(pair, pair_images, strict=True):
        if not images:
            raise ValueError(f"the class {target_class!r} has no images")
    frames = []
    for layer in names:
        table = LayerTable.of(significance.sel(layer=layer), *levels(layer), directions)
        count = significant_images(table.fraction[rows], pair_images)
        share, marked = count / pair_images[:, None], table.significant[rows]
        frames.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    **_vectors(layers.sel(layer=layer), table),
                    "fraction_a": share[0],
                    "fraction_b": share[1],
                    "difference": share[0] - share[1],
                    "count_a": count[0],
                    "count_b": count[1],
                    "significant_a": marked[0],
                    "significant_b": marked[1],
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    counted = (frame.pop("count_a").to_numpy(), frame.pop("count_b").to_numpy())
    sizes = (int(pair_images[0]), int(pair_images[1]))
    low, high = difference_intervals(counted, sizes, confidence, max(len(frame), 1))
    rates = false_discovery_rates(difference_probabilities(counted, sizes))
    judged = {"low": low, "high": high, "false_discovery_rate": rates}
    for place, (name, column) in enumerate(judged.items()):
        frame.insert(frame.columns.tolist().index("difference") + 1 + place, name, column)
    sure = np.maximum(np.maximum(frame["low"], -frame["high"]), 0)
    order = np.lexsort((-frame["difference"].abs(), -sure))
    return frame.iloc[order].reset_index(drop=True)


def ranked_vectors(
    significance: xr.Dataset,
    layers: xr.Dataset,
    layer: str,
    levels: LevelsOf,
    directions: Sequence[str] = DIRECTIONS,
) -> pd.DataFrame:
    """The singular vectors of one layer, ranked by how well significance tells classes apart.

    They are ranked on the images that choose; all that is said of them is of those that judge.

    Parameters
    ----------
    significance, layers
        the store's groups of these names.
    levels
        of each layer; the quantile level must be stored.

    Returns
    -------
    columns singular_vector, singular_value, arbitrary, direction, eta_squared (η²),
    classes (number it is significant for), only (the class if there is exactly one, otherwise
    empty), most_for and least_for (classes of the greatest and least fraction), most and least
    (those fractions), eta_squared_of_signals (η² of the signals themselves; not over groups of
    classes)
    """
    of_layer = significance.sel(layer=layer)
    table = LayerTable.of(of_layer, *levels(layer), directions)
    present = table.images > 0
    fraction, significant = table.fraction[present], table.significant[present]
    names = np.array(table.target_classes, dtype=object)[present]
    classes = significant.sum(axis=0)
    greatest, least = fraction.argmax(axis=0), fraction.argmin(axis=0)
    every = np.arange(fraction.shape[1])
    frame = pd.DataFrame(
        {
            **_vectors(layers.sel(layer=layer), table),
            "eta_squared": table.eta_squared,
            "classes": classes,
            "only": np.where(classes == 1, names[significant.argmax(axis=0)], ""),
            "most_for": names[greatest],
            "most": fraction[greatest, every],
            "least_for": names[least],
            "least": fraction[least, every],
        }
    )
    if "eta_squared_of_signals" in of_layer:
        of_signals = of_layer["eta_squared_of_signals"].isel(split=-1).to_numpy()
        frame["eta_squared_of_signals"] = of_signals[frame["singular_vector"]]
    order = by_discrimination(table.selection_eta_squared)
    return frame.iloc[order].reset_index(drop=True)


def _vectors(layer: xr.Dataset, table: LayerTable) -> Mapping[str, npt.NDArray[np.generic]]:
    """Columns that identify the singular vector of each row."""
    nodes, columns = (
        SignedVectors(LayerVectors.of(layer), table.directions),
        table.fraction.shape[1],
    )
    return {
        "singular_vector": nodes.singular_vector[:columns],
        "singular_value": nodes.singular_values[:columns],
        "arbitrary": nodes.arbitrary[:columns],
        "direction": np.resize(np.array(table.directions, dtype=object), columns),
    }
