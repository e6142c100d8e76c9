"""How much a faster pass changes the signals, measured on a sample of the run's images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.signals.signals import ShardSignals

#: Number of images that go through both passes, spread evenly over the run.
SAMPLE = 32


def sampled(images: int) -> list[int]:
    """Positions of the sample's images in a run of this many images."""
    return np.unique(np.linspace(0, images - 1, min(SAMPLE, images)).astype(int)).tolist()


def error_dataset(
    plain: ShardSignals,
    chosen: ShardSignals,
    layers: tuple[LinearLayer, ...],
    folded: Mapping[str, str],
) -> xr.Dataset:
    """The group ``extraction``: the chosen pass compared with the plain one.

    Parameters
    ----------
    plain, chosen
        signals of the same images; NaN past each layer's rank.
    folded
        the BatchNorm that was folded into each layer for the chosen pass.
    """
    exact = plain.signal.astype(np.float64)
    difference = chosen.signal.astype(np.float64) - exact
    with np.errstate(invalid="ignore"):
        largest = np.nanmax(np.abs(difference), axis=(0, 2))
        error, size = (np.sqrt(np.nanmean(x**2, axis=(0, 2))) for x in (difference, exact))
        relative = np.where(size > 0, error / size, np.where(error > 0, np.inf, 0))
    names = [layer.name for layer in layers]
    return xr.Dataset(
        {
            "relative_error": ("layer", relative),
            "largest_error": ("layer", largest),
            "folded": ("layer", np.array([folded.get(name, "") for name in names], dtype=object)),
        },
        coords={"layer": np.array(names, dtype=object)},
        attrs={
            "images": len(exact),
            "predictions_changed": int((plain.predicted != chosen.predicted).sum()),
        },
    )
