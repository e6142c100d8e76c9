"""Pictures of a network's inputs for display, also of inputs that are no pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Side in pixels of a drawn vector or signal, the largest size of a thumbnail.
_SIDE = 64
_WHITE = 255

Picture = npt.NDArray[np.uint8]


def input_picture(tensor: Tensor) -> Picture:
    """One input of a network as a picture.

    A vector becomes bars, and signals over time become lines drawn over one another. Volumes and
    inputs with still more axes are shown by their middle slice, and more than three channels by
    the first three. Floats are scaled so that the least is black and the greatest white.

    Parameters
    ----------
    tensor
        shape (c,), (c, m), (c, m, n), or (c, ..., m, n); uint8 or floats.

    Returns
    -------
    shape (rows, columns, 3)
    """
    if tensor.ndim <= 1 or not tensor.numel():
        return _bars(tensor.reshape(-1))
    if tensor.ndim == 2:
        return _lines(tensor)
    while tensor.ndim > 3:
        tensor = tensor[:, tensor.shape[1] // 2]
    if tensor.dtype != torch.uint8:
        tensor = (_unit(tensor) * _WHITE).to(torch.uint8)
    tensor = tensor[:3] if tensor.shape[0] >= 3 else tensor[:1].expand(3, -1, -1)
    return tensor.permute(1, 2, 0).contiguous().numpy()


def _unit(tensor: Tensor) -> Tensor:
    """Values scaled from 0 for the least to 1 for the greatest; all 0 if they are equal."""
    low, high = tensor.min(), tensor.max()
    return (tensor - low) / (high - low).clamp_min(1e-12)


def _bars(vector: Tensor) -> Picture:
    """A bar from zero up or down for each entry; for many entries, for means of neighbours."""
    canvas = np.full((_SIDE, _SIDE), _WHITE, dtype=np.uint8)
    values = vector.to(torch.float64).numpy()
    if len(values) > _SIDE:
        values = np.array([part.mean() for part in np.array_split(values, _SIDE)])
    # The picture always includes zero.
    top, bottom = max(values.max(initial=0), 0.0), min(values.min(initial=0), 0.0)
    edges = np.linspace(0, _SIDE, len(values) + 1).astype(int)
    zero = _row(0.0, bottom, top)
    for value, left, right in zip(values, edges, edges[1:], strict=False):
        low, high = sorted((_row(float(value), bottom, top), zero))
        canvas[low : high + 1, left : max(right - 1, left + 1)] = 0
    return np.repeat(canvas[..., None], 3, axis=2)


def _lines(signals: Tensor) -> Picture:
    """Each row as a line over the columns, darker where several meet."""
    values = signals.to(torch.float64).numpy()
    bottom, top = float(values.min()), float(values.max())
    ink = np.zeros((_SIDE, _SIDE))
    # Values that share a column of pixels are drawn from the least to the greatest.
    edges = np.linspace(0, values.shape[1] - 1, _SIDE + 1)
    for row in values:
        for column in range(_SIDE):
            first, last = int(edges[column]), int(np.ceil(edges[column + 1]))
            within = row[first : last + 1]
            high, low = _row(within.max(), bottom, top), _row(within.min(), bottom, top)
            ink[high : low + 1, column] += 1
    shade = np.minimum(ink / np.sqrt(len(values)), 1)
    return np.repeat((_WHITE * (1 - shade)).astype(np.uint8)[..., None], 3, axis=2)


def _row(value: float, bottom: float, top: float) -> int:
    """The row of pixels in which a value lies, the greatest at the top."""
    span = top - bottom
    return round((_SIDE - 1) * ((top - value) / span if span > 0 else 0.5))
