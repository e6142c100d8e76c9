"""The stored significance as tables to read: counts of images, intervals, groups of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ddp_tasks.significance.confidence_intervals import wilson_interval
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import significant

if TYPE_CHECKING:
    from jaxtyping import Shaped


def significant_images(
    fraction: Shaped[npt.NDArray[np.float32], "*grid class v"],
    images: Shaped[npt.NDArray[np.int64], " class"],
) -> Shaped[npt.NDArray[np.int64], "*grid class v"]:
    """How many images of each class a singular vector is significant for.

    Exact, though fractions are stored as float32, up to eight million images per class.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector).
    images
        shape (class,).

    Returns
    -------
    shape of ``fraction``; 0 where it is NaN
    """
    return np.rint(np.nan_to_num(fraction).astype(np.float64) * images[:, None]).astype(np.int64)


def least_images(
    images: Shaped[npt.NDArray[np.int64], " class"], percentage: float
) -> Shaped[npt.NDArray[np.int64], " class"]:
    """The least number of images of each class that make a vector significant for it.

    Parameters
    ----------
    images
        shape (class,).
    percentage
        p, above 0 and at most 100.

    Returns
    -------
    shape (class,); 1 for a class without images, which no count reaches
    """
    sizes, class_size = np.unique(images, return_inverse=True)
    least = np.ones(len(sizes), dtype=np.int64)
    for place, size in enumerate(sizes):
        if size:
            shares = (np.arange(size + 1) / size).astype(np.float32)
            least[place] = significant(shares[None], np.array([size]), percentage)[0].argmax()
    return least[class_size]


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


def superclass_dataset(
    significance: xr.Dataset, superclasses: Mapping[str, Sequence[str]]
) -> xr.Dataset:
    """The group ``superclasses``: fractions over groups of classes, from the counts of images.

    Thresholds belong to the layer, so they are those of the group ``significance``. Exact: the
    fraction of a group is over all images of its classes, as if they had one label.

    Parameters
    ----------
    significance
        the store's group ``significance``.
    superclasses
        names of target classes by name of their group.
    """
    names = [str(name) for name in significance["target_class"].to_numpy()]
    member = np.array([[n in group for n in names] for group in superclasses.values()], dtype=bool)
    member = member.reshape(len(superclasses), len(names))
    images = significance["images"].to_numpy()
    group_images = member @ images
    grid, layers = ("direction", "quantile"), significance.sizes["layer"]
    shape = [*(significance.sizes[d] for d in grid), len(superclasses), layers]
    fraction = np.full([*shape, significance.sizes["singular_vector"]], np.nan, dtype=np.float32)
    # One level and layer at a time: the whole table may be larger than memory.
    for direction, level, layer in np.ndindex(shape[0], shape[1], layers):
        at = {"direction": direction, "quantile": level, "layer": layer}
        stored = significance["fraction"].isel(at).to_numpy()
        within_rank = np.isfinite(stored).any(axis=0)
        count = member.astype(np.float64) @ significant_images(stored[:, within_rank], images)
        with np.errstate(invalid="ignore"):
            fraction[direction, level, :, layer, within_rank] = (count / group_images[:, None]).T
    return xr.Dataset(
        {
            "member": (("superclass", "target_class"), member),
            "fraction": ((*grid, "superclass", "layer", "singular_vector"), fraction),
            "images": ("superclass", group_images),
        },
        coords={
            "superclass": np.array(list(superclasses), dtype=object),
            **{
                name: significance[name]
                for name in ("target_class", "layer", "singular_vector", "quantile", "direction")
            },
        },
    )


def over_superclasses(significance: xr.Dataset, superclasses: xr.Dataset) -> xr.Dataset:
    """The significance with groups of classes as its target classes.

    It takes the place of the group ``significance`` in tables, hypergraphs and the family over
    (q, p).

    Parameters
    ----------
    significance, superclasses
        the store's groups of these names.
    """
    tables = superclasses[["fraction", "images"]].drop_vars("target_class", errors="ignore")
    return tables.rename(superclass="target_class").assign(threshold=significance["threshold"])
