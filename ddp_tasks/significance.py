"""Which singular vectors are significant for which classes (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from ddp_tasks.quantiles import QuantileCounts

#: Signals as they are, and their negatives against a threshold of their own.
DIRECTIONS = ("positive", "negative")

#: Parts of the cube: signals (n, layers, singular vectors), NaN past each layer's rank, and the
#: target class of each image. Called afresh for every pass.
Parts = Callable[[], Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]]


def thresholds(
    parts: Parts, ranks: Sequence[int], quantiles: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Threshold q of each layer: a quantile of all its signals over the images.

    Exact for any number of images and any cut into parts, in two passes over them.

    Parameters
    ----------
    parts
        see ``Parts``; ranks say how far each layer is meant.
    ranks
        one number a layer.
    quantiles
        levels between 0 and 1, ascending.

    Returns
    -------
    shape (direction, quantile, layer); in the units of the signals

    References
    ----------
    Praggastis et al. 2022, section 5, first paragraph.
    """
    counts = [QuantileCounts(quantiles) for _ in ranks]
    for signals, _ in parts():
        for layer, rank in enumerate(ranks):
            counts[layer].add_upper(signals[:, layer, :rank])
    for signals, _ in parts():
        for layer, rank in enumerate(ranks):
            counts[layer].add_lower(signals[:, layer, :rank])
    return np.stack([counted.quantiles() for counted in counts], axis=-1)


def fractions(
    parts: Parts,
    ranks: Sequence[int],
    threshold: npt.NDArray[np.float64],
    target_classes: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Share of each class's images for which each singular vector is significant.

    A vector is significant for an image if its signal is strictly greater than q. All levels
    are counted in one pass: a signal is significant at every level whose threshold lies below.

    Parameters
    ----------
    threshold
        shape (direction, quantile, layer), ascending with the level.

    Returns
    -------
    fraction
        shape (direction, quantile, class, layer, singular vector); NaN past each layer's rank
        and for classes without images.
    images
        shape (class,); images of each class.
    """
    directions, levels, layers = threshold.shape
    images = np.zeros(target_classes, dtype=np.int64)
    # For each vector and class, how many signals exceed exactly the first j thresholds.
    exceeded = [
        np.zeros((directions, target_classes, rank, levels + 1), dtype=np.int64) for rank in ranks
    ]
    for signals, target in parts():
        images += np.bincount(target, minlength=target_classes)
        for layer, rank in enumerate(ranks):
            part = signals[:, layer, :rank].astype(np.float64)
            for direction, sign in enumerate((1, -1)):
                below = np.searchsorted(threshold[direction, :, layer], sign * part, side="left")
                cell = (target[:, None] * rank + np.arange(rank)) * (levels + 1) + below
                counted = exceeded[layer][direction]
                counted += np.bincount(cell.ravel(), minlength=counted.size).reshape(counted.shape)

    shape = (directions, levels, target_classes, layers, max(ranks))
    fraction = np.full(shape, np.nan, dtype=np.float32)
    for layer, rank in enumerate(ranks):
        # Significant at level j: exceeding at least j + 1 thresholds.
        at_least = np.cumsum(exceeded[layer][..., ::-1], axis=-1)[..., ::-1][..., 1:]
        with np.errstate(invalid="ignore"):
            share = at_least / images[:, None, None]
        fraction[:, :, :, layer, :rank] = np.moveaxis(share, -1, 1)
    return fraction, images


def significant(
    fraction: npt.NDArray[np.float32], images: npt.NDArray[np.int64], percentage: float
) -> npt.NDArray[np.bool_]:
    """Whether a singular vector is significant for a class: for at least p % of its images.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector).
    images
        shape (class,).
    percentage
        p, above 0 and at most 100.

    Returns
    -------
    shape of ``fraction``; False where it is NaN
    """
    # Compared as counts of images: 0.57 * 100 is less than 57 in floating point.
    count = np.rint(np.nan_to_num(fraction.astype(np.float64)) * images[:, None])
    # The slack is for percentages such as 1.1, whose product with 3000 comes out above 3300.
    enough = percentage * images[:, None] * (1 - 1e-12)
    return (count * 100 >= enough) & np.isfinite(fraction)


def discrimination(
    fraction: npt.NDArray[np.float32], images: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """How well "significant or not" tells the classes apart: the correlation ratio η².

    The share of the variance over images, of the indicator "this vector is significant", that
    the target class explains: 0 where every class has the same fraction, 1 where the vector is
    significant for all images of some classes and for none of the others.

    Parameters
    ----------
    fraction
        shape (..., class, singular vector), at one quantile level.
    images
        shape (class,).

    Returns
    -------
    shape (..., singular vector), from 0 to 1; 0 where the indicator never varies, NaN past the
    rank
    """
    present = images > 0
    share = fraction[..., present, :].astype(np.float64)
    weight = (images[present] / images.sum())[:, None]
    mean = (share * weight).sum(axis=-2)
    between = (weight * (share - mean[..., None, :]) ** 2).sum(axis=-2)
    total = mean * (1 - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, between / total, total * 0)


def significance_dataset(
    parts: Parts,
    layers: xr.Dataset,
    target_classes: Sequence[str],
    quantiles: Sequence[float],
) -> xr.Dataset:
    """The group ``significance``: thresholds and fractions over a grid of quantile levels.

    Parameters
    ----------
    layers
        the store's group ``layers``.
    target_classes
        names, one a class.
    """
    ranks = layers["rank"].to_numpy().tolist()
    threshold = thresholds(parts, ranks, quantiles)
    fraction, images = fractions(parts, ranks, threshold, len(target_classes))
    grid = ("direction", "quantile")
    return xr.Dataset(
        {
            "threshold": ((*grid, "layer"), threshold),
            "fraction": ((*grid, "target_class", "layer", "singular_vector"), fraction),
            "images": ("target_class", images),
        },
        coords={
            "layer": layers["layer"],
            "singular_vector": layers["singular_vector"],
            "target_class": np.array(target_classes, dtype=object),
            "quantile": np.array(quantiles),
            "direction": np.array(DIRECTIONS, dtype=object),
        },
    )


def layer_table(
    significance: xr.Dataset,
    layer: str,
    quantile: float,
    percentage: float,
    direction: str = "positive",
) -> xr.Dataset:
    """One layer's slice of the stored significance, at one quantile level and percentage.

    Parameters
    ----------
    significance
        the store's group ``significance``.
    quantile
        one of the stored levels.

    Returns
    -------
    ``fraction`` and ``significant`` (target_class, singular_vector), ``discrimination``
    (singular_vector), ``images`` (target_class) and the scalar ``threshold``; only singular
    vectors up to the layer's rank

    Raises
    ------
    KeyError
        If the layer, level or direction is not stored.
    """
    place = {"layer": layer, "direction": direction}
    table = significance.sel(place).sel(quantile=quantile, method="nearest", tolerance=1e-9)
    table = table.isel(singular_vector=table["fraction"].notnull().any("target_class")).load()
    fraction, images = table["fraction"].to_numpy(), table["images"].to_numpy()
    dims = ("target_class", "singular_vector")
    return table.assign(
        significant=(dims, significant(fraction, images, percentage)),
        discrimination=("singular_vector", discrimination(fraction, images)),
    )
