"""Bases of a layer's outputs that stand beside its singular vectors.

A layer's output less its bias lies in the span of its left singular vectors U (d, r), so that its
means over positions are S Uᵀ, with S the signals (n, r): no image is passed through again. A basis
is given by the matrix that takes the signals to the signals along its vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped


def channels(
    U: Shaped[npt.NDArray[np.floating], "d r"],
) -> Float64[npt.NDArray[np.float64], "r d"]:
    """The layer's output channels, one vector each: Uᵀ.

    Parameters
    ----------
    U
        shape (d, r); left singular vectors.
    """
    return np.ascontiguousarray(U.T, dtype=np.float64)


def principal_components(
    covariance: Float64[npt.NDArray[np.float64], "r r"],
    U: Shaped[npt.NDArray[np.floating], "d r"],
) -> Float64[npt.NDArray[np.float64], "r r"]:
    """The principal components of the layer's outputs, in terms of its signals.

    Signals along them are not centred, as those along singular vectors are not; and signs are fixed
    as those of singular vectors are, by the channel of largest magnitude.

    Parameters
    ----------
    covariance
        shape (r, r); of the signals.
    U
        shape (d, r); left singular vectors.

    Returns
    -------
    shape (r, r); the component of greatest variance first
    """
    _, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1]
    in_channels = U @ vectors
    largest = np.abs(in_channels).argmax(axis=0)
    signs = np.where(in_channels[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(vectors * signs, dtype=np.float64)
