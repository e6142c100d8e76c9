"""Singular vectors that the arithmetic leaves arbitrary: their singular values are too close.

The paper assumes that there are none (footnote 8).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

#: Singular values that differ by less than this times s_0 do not determine their vectors: a
#: weight is known to float32, so a change in its last bit turns such vectors into one another.
GAP_TOLERANCE = float(np.finfo(np.float32).eps)


def arbitrary(layer: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Which singular vectors the arithmetic leaves arbitrary.

    Parameters
    ----------
    layer
        one layer of the store's group ``layers``.

    Returns
    -------
    shape (singular vector,); False past the rank
    """
    close = layer["relative_gap"].to_numpy() < GAP_TOLERANCE
    return np.asarray(close, dtype=bool)
