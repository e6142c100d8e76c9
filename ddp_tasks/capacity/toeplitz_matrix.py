"""W̄₂ itself, entry by entry, for layers small enough to hold it (section 3.2, Eqs. 9 to 11).

The spectrum by Fourier transform treats images as periodic. These matrices treat the edge of an
image as a layer does, so the difference between the spectra can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import torch
from torch import Tensor

from ddp_tasks.capacity.toeplitz import Boundary, per_axis, require_fit, toeplitz_spectrum
from ddp_tasks.weights.gram_matrix import eigenvalues, gram_matrix

#: Most entries of a matrix that is compared with the periodic spectrum (128 MiB).
_MOST_ENTRIES = 1 << 24


@dataclass(frozen=True)
class SpectrumDifference:
    """How far the periodic spectrum lies from an exact one; all relative to the exact one."""

    values: int
    """Number of singular values of the exact matrix."""
    largest: float
    """(periodic - exact) / exact of the largest singular value."""
    frobenius: float
    """(periodic - exact) / exact of the Frobenius norm."""
    spectrum: float
    """Euclidean distance of the two sorted spectra, the shorter padded with zeros, divided by the
    Frobenius norm of the exact matrix."""


def toeplitz_matrix(
    W: Tensor,
    size: Sequence[int],
    boundary: Boundary,
    *,
    padding: Sequence[int] | int | None = None,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    memory: int = 1 << 30,
) -> Tensor:
    """W̄₂: row (h, i, j) is the filter W_h embedded at place (i, j) of the image.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...).
    size
        of the layer's input along each axis.
    boundary
        "valid": only places where the filter lies inside the image, as in the paper; "zeros":
        the image padded with zeros; "periodic": the image repeated, where a size that the stride
        does not divide is first rounded up.
    padding
        on each side, for "zeros" only; by default half the filter, which keeps the size.
    memory
        bytes that the matrix may take.

    Returns
    -------
    float64, shape (d * outputs, c * inputs); outputs and inputs are numbers of places

    Raises
    ------
    ValueError
        If the matrix would be larger than ``memory``, the filter larger than the image where
        that leaves no output, or the arguments do not fit together.

    References
    ----------
    Praggastis et al. 2022, Eq. 10.
    """
    require_fit(W, size, stride, dilation, groups)
    strides, dilations = per_axis(stride, len(size)), per_axis(dilation, len(size))
    margins = per_axis(padding, len(size)) if padding is not None else (None,) * len(size)
    steps = zip(strides, dilations, strict=True)
    axes = [
        _axis(m, k, each, boundary, margin)
        for m, k, each, margin in zip(size, W.shape[2:], steps, margins, strict=True)
    ]
    outputs, inputs = [a.outputs for a in axes], [a.inputs for a in axes]
    d, c = W.shape[0], W.shape[1] * groups
    if 8 * d * c * prod(outputs) * prod(inputs) > memory:
        raise ValueError(
            f"the matrix of {d * prod(outputs)} x {c * prod(inputs)} is larger than {memory} bytes"
        )
    whole = torch.zeros(d, prod(outputs), c, prod(inputs), dtype=torch.float64)
    taps = W.detach().to(torch.float64).reshape(*W.shape[:2], -1)
    for index, tap in enumerate(product(*(range(k) for k in W.shape[2:]))):
        row, column = _places([a.pairs(s) for a, s in zip(axes, tap, strict=True)], outputs, inputs)
        for group in range(groups):
            h = slice(group * d // groups, (group + 1) * d // groups)
            r = slice(group * c // groups, (group + 1) * c // groups)
            whole[h, :, r, :][:, row, :, column] += taps[h, :, index]
    return whole.reshape(d * prod(outputs), c * prod(inputs))


def boundary_differences(
    W: Tensor,
    size: Sequence[int],
    *,
    padding: Sequence[int] | int | None = None,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    memory: int = 1 << 30,
) -> dict[Boundary, SpectrumDifference]:
    """How periodic images change the spectrum of W̄₂ of one small layer.

    Returns
    -------
    the differences to the zero-padded and to the valid convolution

    Raises
    ------
    ValueError
        As ``toeplitz_matrix`` does.
    """
    periodic = toeplitz_spectrum(W, size, stride=stride, dilation=dilation, groups=groups)
    differences: dict[Boundary, SpectrumDifference] = {}
    boundaries: tuple[Boundary, ...] = ("zeros", "valid")
    for boundary in boundaries:
        matrix = toeplitz_matrix(
            W,
            size,
            boundary,
            padding=padding,
            stride=stride,
            dilation=dilation,
            groups=groups,
            memory=memory,
        )
        squares = eigenvalues(gram_matrix(matrix[None])[0])
        differences[boundary] = _difference(periodic, squares.clamp_min(0).sqrt().flip(0))
    return differences


def checkable_size(
    shape: Sequence[int],
    size: Sequence[int],
    side: int,
    *,
    padding: Sequence[int] | int | None = None,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> tuple[int, ...] | None:
    """The largest input whose exact matrices are small, at most the layer's own.

    The boundary is a greater share of a smaller image, so a smaller image shows a greater
    difference than the layer's own would.

    Parameters
    ----------
    shape
        of the weight, (d, c / groups, k, ...).
    size
        of the layer's input; smaller ones keep its proportions.
    side
        most rows or columns, whichever are fewer, of the zero-padded matrix.

    Returns
    -------
    None if no input that holds the filter is small enough
    """
    strides, dilations = per_axis(stride, len(size)), per_axis(dilation, len(size))
    margins = per_axis(padding, len(size)) if padding is not None else (None,) * len(size)
    steps = list(zip(strides, dilations, strict=True))
    reach = [e * (k - 1) + 1 for e, k in zip(dilations, shape[2:], strict=True)]
    for longest in range(max(size), 0, -1):
        tried = tuple(max(1, m * longest // max(size)) for m in size)
        if any(m < extent for m, extent in zip(tried, reach, strict=True)):
            return None
        axes = [
            _axis(m, k, each, "zeros", margin)
            for m, k, each, margin in zip(tried, shape[2:], steps, margins, strict=True)
        ]
        rows = shape[0] * prod(axis.outputs for axis in axes)
        columns = shape[1] * groups * prod(tried)
        if min(rows, columns) <= side and rows * columns <= _MOST_ENTRIES:
            return tried
    return None


def _difference(periodic: Tensor, exact: Tensor) -> SpectrumDifference:
    length = max(len(periodic), len(exact))
    first, second = (torch.cat([s, s.new_zeros(length - len(s))]) for s in (periodic, exact))
    norm = torch.linalg.vector_norm(second)
    return SpectrumDifference(
        values=len(exact),
        largest=float((first[0] - second[0]) / second[0]),
        frobenius=float((torch.linalg.vector_norm(first) - norm) / norm),
        spectrum=float(torch.linalg.vector_norm(first - second) / norm),
    )


@dataclass(frozen=True)
class _Axis:
    outputs: int
    inputs: int
    stride: int
    dilation: int
    padding: int
    periodic: bool

    def pairs(self, tap: int) -> tuple[Tensor, Tensor]:
        """Outputs, and the input that each sees through this place of the filter."""
        place = torch.arange(self.outputs)
        seen = self.stride * place + self.dilation * tap - self.padding
        if self.periodic:
            return place, seen % self.inputs
        inside = (seen >= 0) & (seen < self.inputs)
        return place[inside], seen[inside]


def _axis(m: int, k: int, steps: tuple[int, int], boundary: Boundary, padding: int | None) -> _Axis:
    stride, dilation = steps
    if boundary == "periodic":
        outputs = ceil(m / stride)
        return _Axis(outputs, outputs * stride, stride, dilation, 0, True)
    reach = dilation * (k - 1)
    if boundary == "valid":
        padding = 0
    elif padding is None:
        padding = reach // 2
    if m + 2 * padding <= reach:
        raise ValueError(f"a filter of extent {reach + 1} does not fit into {m + 2 * padding}")
    return _Axis((m + 2 * padding - reach - 1) // stride + 1, m, stride, dilation, padding, False)


def _places(
    pairs: list[tuple[Tensor, Tensor]], outputs: list[int], inputs: list[int]
) -> tuple[Tensor, Tensor]:
    """Flat places of every combination of the pairs along each axis."""
    row = column = torch.zeros(1, dtype=torch.int64)
    for (place, seen), n, m in zip(pairs, outputs, inputs, strict=True):
        row = (row[:, None] * n + place).flatten()
        column = (column[:, None] * m + seen).flatten()
    return row, column
