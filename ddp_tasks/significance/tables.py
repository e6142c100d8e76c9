"""One layer's significance as a table to read, with intervals of its fractions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ddp_tasks.significance.confidence_intervals import wilson_interval
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant_images


def layer_frame(
    significance: xr.Dataset,
    layers: xr.Dataset,
    layer: str,
    quantile: float,
    percentage: float,
    *,
    direction: str = "positive",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The table of one layer: a row for each target class and singular vector.

    Parameters
    ----------
    significance, layers
        the store's groups of these names.
    quantile
        one of the stored levels.
    percentage
        p, above 0 and at most 100.
    confidence
        level of the Wilson interval.

    Returns
    -------
    columns target_class, singular_vector, singular_value, direction, quantile, fraction, low,
    high (the ends of its interval), images (of the class) and significant; class after class

    Raises
    ------
    KeyError
        If the layer, level or direction is not stored.
    """
    table = LayerTable.of(significance.sel(layer=layer), quantile, percentage, direction)
    fraction, images = table.fraction, table.images
    classes, vectors = fraction.shape
    low, high = wilson_interval(significant_images(fraction, images), images[:, None], confidence)
    values = layers["singular_value"].sel(layer=layer).to_numpy()[:vectors]
    class_index = np.repeat(np.arange(classes), vectors)
    rows = classes * vectors
    return pd.DataFrame(
        {
            # Categories: at 1,000 classes x 4,096 vectors, text would take most of the memory.
            "target_class": pd.Categorical.from_codes(class_index, pd.Index(table.target_classes)),
            "singular_vector": np.tile(np.arange(vectors), classes),
            "singular_value": np.tile(values, classes),
            "direction": pd.Categorical.from_codes(
                np.zeros(rows, dtype=int), pd.Index([direction])
            ),
            "quantile": table.quantile,
            "fraction": fraction.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "images": np.repeat(images, vectors),
            "significant": table.significant.ravel(),
        }
    )
