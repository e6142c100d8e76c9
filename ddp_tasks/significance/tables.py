"""One layer's significance as a table to read, with intervals of its fractions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.significance.confidence_intervals import shares_intervals
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant_images
from ddp_tasks.weights.signed_vectors import DIRECTIONS


def layer_frame(
    significance: xr.Dataset,
    layers: xr.Dataset,
    layer: str,
    quantile: float,
    percentage: float,
    *,
    directions: Sequence[str] = DIRECTIONS,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The table of one layer: a row for each target class, singular vector and direction.

    Thresholds and what is significant were chosen on one part of the images; fractions and their
    intervals are told on the other, unless the images are not split.

    Parameters
    ----------
    significance, layers
        the store's groups of these names.
    quantile
        one of the stored levels.
    percentage
        p, above 0 and at most 100.
    directions
        of the singular vectors.
    confidence
        probability that all intervals of the table hold.

    Returns
    -------
    columns target_class, singular_vector, singular_value, direction, quantile, fraction, low,
    high (the ends of its interval), images (of the class, that the fraction is told on) and
    significant; class after class

    Raises
    ------
    KeyError
        If the layer, level or direction is not stored.
    """
    table = LayerTable.of(significance.sel(layer=layer), quantile, percentage, directions)
    fraction, images = table.fraction, table.images
    classes, nodes = fraction.shape
    low, high = table_intervals(table, confidence)
    vector = np.arange(nodes) // len(directions)
    values = layers["singular_value"].sel(layer=layer).to_numpy()[vector]
    class_index = np.repeat(np.arange(classes), nodes)
    return pd.DataFrame(
        {
            # Categories: at 1,000 classes x 4,096 vectors, text would take most of the memory.
            "target_class": pd.Categorical.from_codes(class_index, pd.Index(table.target_classes)),
            "singular_vector": np.tile(vector, classes),
            "singular_value": np.tile(values, classes),
            "direction": pd.Categorical.from_codes(
                np.tile(np.arange(nodes) % len(directions), classes), pd.Index(directions)
            ),
            "quantile": table.quantile,
            "fraction": fraction.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "images": np.repeat(images, nodes),
            "significant": table.significant.ravel(),
        }
    )


def table_intervals(
    table: LayerTable, confidence: float, nodes: Sequence[int] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ends of the intervals of a table's fractions, all of which hold together.

    Parameters
    ----------
    nodes
        whose intervals are told; all by default.

    Returns
    -------
    lower and upper ends, shape (class, node) each; NaN for a class without images
    """
    fraction = table.fraction if nodes is None else table.fraction[:, list(nodes)]
    count = significant_images(fraction, table.images)
    return shares_intervals(count, table.images[:, None], confidence, intervals_together(table))


def intervals_together(table: LayerTable) -> int:
    """How many intervals of a table hold together: one for each class with images and node."""
    return max(int((table.images > 0).sum()) * table.fraction.shape[1], 1)
