"""The two classes that a network takes for each other most often."""

from __future__ import annotations

import numpy as np
import xarray as xr


def most_confused(signals: xr.Dataset) -> tuple[str, str] | None:
    """The pair of classes with most images of either named as the other.

    Parameters
    ----------
    signals
        the store's group ``signals``.

    Returns
    -------
    names in the order of the classes; None where no image is named as another class
    """
    target, predicted = (signals[name].to_numpy() for name in ("target", "predicted"))
    wrong = (target >= 0) & (predicted >= 0) & (target != predicted)
    if not wrong.any():
        return None
    low = np.minimum(target[wrong], predicted[wrong])
    high = np.maximum(target[wrong], predicted[wrong])
    pairs, count = np.unique(np.stack([low, high]), axis=1, return_counts=True)
    first, second = pairs[:, count.argmax()].tolist()
    names = signals["target_class"].to_numpy()
    return str(names[first]), str(names[second])
