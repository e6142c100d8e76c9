"""The spectrum of the Toeplitz matrization W̄₂ (section 3.2, Eqs. 9 to 11), by Fourier transform.

On periodic images W̄₂ is block-circulant, and the Fourier basis makes it block-diagonal with one
d × c block for each frequency ω of the image,

    A(ω) = Σ_s W[:, :, s] exp(i ω·s),    s over the places of the kernel,

so its singular values are those of the blocks (Sedghi, Gupta, Long 2019). These steps make that
cheap without changing the values:

* The eigenvalues of G(ω) = A(ω) A(ω)ᴴ are the squares. G is the Fourier transform of the
  kernel's autocorrelation R_τ = Σ_s W_{s+τ} W_sᵀ, so it needs no product of blocks: 13 terms for
  a 3 × 3 kernel, since R_{-τ} = R_τᵀ makes the terms of τ and -τ together
  cos(ω·τ) (R_τ + R_τᵀ) + i sin(ω·τ) (R_τ - R_τᵀ). The smaller of d and c is taken.
* W is real, so G(-ω) is the conjugate of G(ω) and has its eigenvalues: of each pair one is
  decomposed and counted twice. Frequencies that are their own negative (0, and half an even
  size, on every axis) count once.
* Stride t: put the t² phases of the image side by side as channels,
  x̃[(r, p), u] = x[r, t·u + p], and those of the kernel, W̃[h, (r, p), j] = W[h, r, t·j + p].
  Then y[u] = Σ_s W_s x[t·u + s] = Σ_j W̃_j x̃[u + j]: a convolution of stride 1 with c·t²
  channels on the grid of outputs. Its blocks are, up to a unitary matrix, the t² blocks A(ω) of
  the frequencies that the stride aliases, side by side.
* Dilation puts zeros between the places of the kernel; groups make every A(ω) block-diagonal.
* A transposed convolution adds W[r, h, s] x[r, u] to y[h, t·u + e·s], e being its dilation. The
  convolution with the same weight, its roles swapped (c filters of d channels), the same stride
  and dilation is x[r, u] = Σ W[r, h, s] y[h, t·u + e·s]: its matrix is the transpose, and has the
  same singular values. Its image is the layer's output, t·m places on a ring for an input of m
  (``image_of_transposed``), so the frequencies are those of the layer's input. Padding and
  output padding crop or lengthen the output, and count as little here as a convolution's padding.

Squaring costs small values their digits: errors stay below about 1e-7 of the largest value, and
values below ``Symbol.floor`` cannot be told from zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, gcd, prod, sqrt
from typing import Literal

import torch
from torch import Tensor

from ddp_tasks.weights.gram_matrix import eigenvalues

#: What W̄₂ does at the edge of the image.
Boundary = Literal["periodic", "zeros", "valid"]

#: A range of frequencies of a Symbol, first and one past the last.
Block = tuple[int, int]

#: Applies a function to every block, in order, as ``map`` and ``Executor.map`` do.
Run = Callable[[Callable[[Block], Tensor], list[Block]], Iterable[Tensor]]

#: Bytes that one block of frequencies may take.
BLOCK_MEMORY = 1 << 28

_LEAST_AT_ONCE = 8  # matrices; fewer make slow products
_CACHE = 1 << 22  # bytes of matrices at once, where they are small
_MATRICES_AT_ONCE = 2  # of one frequency: G, and the real and imaginary parts that form it


@dataclass(frozen=True)
class Symbol:
    """G(ω) of one layer, as the terms of its Fourier series; small enough to send to a worker."""

    even: Tensor
    """float64, shape (groups, lags, p*p), p the smaller of d and c of a group: R_τ + R_τᵀ; R_0."""
    odd: Tensor
    """float64, of the same shape: R_τ - R_τᵀ."""
    lags: Tensor
    """int64, shape (lags, axes); only one of τ and -τ."""
    size: tuple[int, ...]
    """Positions of the output along each axis, and so also frequencies."""
    frequency: Tensor
    """int64, shape (f,); flat indices of the frequencies to decompose, only one of ω and -ω."""
    count: Tensor
    """int64, shape (f,); 2 where -ω is another frequency, else 1."""
    floor: float
    """Singular values below it cannot be told from zero."""

    @property
    def p(self) -> int:
        """Singular values of a group at one frequency."""
        return round(sqrt(self.even.shape[2]))

    @property
    def values(self) -> int:
        """Number of singular values of W̄₂."""
        return prod(self.size) * self.even.shape[0] * self.p


@dataclass(frozen=True)
class SpectrumSize:
    """How many singular values W̄₂ of a layer has, which its weight need not be there for."""

    size: tuple[int, ...]
    """as in ``Symbol``."""
    groups: int
    p: int
    """as in ``Symbol``."""

    @classmethod
    def of(
        cls, shape: Sequence[int], size: Sequence[int], stride: Sequence[int] | int, groups: int
    ) -> SpectrumSize:
        """The size for a weight of shape (d, c / groups, k, ...); see ``symbol``."""
        t = per_axis(stride, len(size))
        p = min(shape[0] // groups, shape[1] * prod(t))
        return cls(_outputs(size, t), groups, p)

    @property
    def values(self) -> int:
        """Number of singular values."""
        return prod(self.size) * self.groups * self.p

    def blocks(self, memory: int = BLOCK_MEMORY) -> list[Block]:
        """As the function ``blocks`` gives them."""
        own_negatives = prod(gcd(2, n) for n in self.size)
        return _blocks((prod(self.size) + own_negatives) // 2, self.groups, self.p, memory)


def symbol(
    W: Tensor,
    size: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> Symbol:
    """G(ω) of a convolution on periodic images.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...), with one to three axes of the kernel; (d, c), of a fully
        connected layer, has none, and W̄₂ is W itself.
    size
        of the layer's input, one entry for each axis of the kernel. A size that the stride does
        not divide is rounded up to its next multiple, which keeps the number of outputs of
        a layer padded to "same".

    Raises
    ------
    ValueError
        If W holds NaN or infinity, or its shape, ``size``, stride, dilation and groups do not
        fit together.
    """
    require_fit(W, size, stride, dilation, groups)
    axes = len(size)
    t = per_axis(stride, axes)
    kernel = _phases(_dilated(W.detach().to(torch.float64), per_axis(dilation, axes)), t)
    kernel = kernel.unflatten(0, (groups, -1))
    if kernel.shape[1] > kernel.shape[2]:  # eigenvalues of AᴴA are those of its conjugate
        kernel = kernel.transpose(1, 2)
    outputs = _outputs(size, t)
    lags, R = _autocorrelation(kernel)
    frequency, count = frequencies(outputs)
    # ‖A(ω)‖² is at most tr R_0 plus twice the other terms; the Gram matrix is accurate only to ε
    # times that.
    greatest = 2 * torch.linalg.matrix_norm(R).sum(dim=1).max().item()
    floor = sqrt(greatest * kernel.shape[1] * torch.finfo(torch.float64).eps)
    even, odd = (R + R.mT).flatten(2), (R - R.mT).flatten(2)
    return Symbol(even, odd, lags, outputs, frequency, count, floor)


def image_of_transposed(size: Sequence[int], stride: Sequence[int] | int) -> tuple[int, ...]:
    """Size of the periodic output of a transposed convolution.

    ``toeplitz_spectrum`` of its weight as torch holds it, shape (c, d / groups, k, ...), with
    this as ``size`` and the same stride and dilation, is the layer's spectrum.

    Parameters
    ----------
    size
        of the layer's input along each axis.
    """
    return tuple(m * t for m, t in zip(size, per_axis(stride, len(size)), strict=True))


def frequencies(size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The lower index of every pair of frequencies ω and -ω, and the size of the pair.

    Parameters
    ----------
    size
        frequencies along each axis.

    Returns
    -------
    flat indices and counts, int64, shape (f,); counts are 2 for a pair and 1 for a frequency
    that is its own negative, and add up to all frequencies.
    """
    index = torch.arange(prod(size))
    negative = torch.zeros_like(index)
    for place, n in zip(_unravel(index, size).unbind(1), size, strict=True):
        negative = negative * n + (-place) % n
    first = index <= negative
    return index[first], 1 + (index < negative)[first].long()


def blocks(layer: Symbol, memory: int = BLOCK_MEMORY) -> list[Block]:
    """Ranges of frequencies that together make the spectrum, each a task of its own.

    Parameters
    ----------
    memory
        bytes that ``block_spectrum`` may take for one range; a single frequency is never split.
    """
    return _blocks(len(layer.frequency), layer.even.shape[0], layer.p, memory)


def _blocks(frequencies: int, groups: int, p: int, memory: int) -> list[Block]:
    step = max(1, memory // (16 * _MATRICES_AT_ONCE * groups * p**2))
    return [(at, min(at + step, frequencies)) for at in range(0, frequencies, step)]


def block_spectrum(layer: Symbol, block: Block) -> Tensor:
    """Singular values of W̄₂ at the frequencies of one block and at their negatives.

    Returns
    -------
    float64, shape (values,), in no order; in units of output per unit of input.
    """
    chosen = slice(*block)
    place = _unravel(layer.frequency[chosen], layer.size)
    size = torch.tensor(layer.size, dtype=torch.int64).reshape(1, 1, -1)
    # The product is reduced as an integer: an angle of many turns would lose digits.
    turns = ((place[:, None, :] * layer.lags) % size).to(torch.float64) / size
    angle = (2 * torch.pi * turns.sum(dim=2)).to(layer.even)
    groups, side = layer.even.shape[0], layer.p
    squares = layer.even.new_empty(groups, len(angle), side)
    # A few matrices at a time, in memory that is reused, stay in the processor's cache.
    step = min(max(_LEAST_AT_ONCE, _CACHE // (16 * groups * side**2)), len(angle))
    real, imaginary = (layer.even.new_empty(groups, step, side**2) for _ in range(2))
    G = torch.complex(real, imaginary)
    for start in range(0, len(angle), step):
        some = angle[start : start + step]
        if len(some) < step:  # the last
            real, imaginary = (p[:, : len(some)].contiguous() for p in (real, imaginary))
            G = torch.complex(real, imaginary)
        torch.matmul(torch.cos(some), layer.even, out=real)
        torch.matmul(torch.sin(some), layer.odd, out=imaginary)
        torch.complex(real, imaginary, out=G)
        squares[:, start : start + step] = eigenvalues(G.unflatten(2, (side, side)))
    S = squares.clamp_min(0).sqrt()
    return S.repeat_interleave(layer.count[chosen].to(S.device), dim=1).flatten()


def toeplitz_spectrum(
    W: Tensor,
    size: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    memory: int = BLOCK_MEMORY,
    run: Run = map,
) -> Tensor:
    """All singular values of W̄₂ of a convolution on periodic images.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...).
    size
        of the layer's input along each axis.
    memory
        bytes that one block of frequencies may take.
    run
        applies a function to every block; ``map`` does so here, one after another.
        ``Executor.map`` of a few threads is faster where LAPACK has one thread for each.

    Returns
    -------
    float64, shape (values,), descending; min(d, c·t²) values for each position of the output

    Raises
    ------
    ValueError
        As ``symbol`` does.

    References
    ----------
    Praggastis et al. 2022, Eqs. 9 to 11; Sedghi, Gupta, Long 2019.
    """
    return symbol_spectrum(
        symbol(W, size, stride=stride, dilation=dilation, groups=groups), memory, run
    )


def symbol_spectrum(layer: Symbol, memory: int = BLOCK_MEMORY, run: Run = map) -> Tensor:
    """All singular values of W̄₂; arguments and result as in ``toeplitz_spectrum``."""
    parts = run(partial(block_spectrum, layer), blocks(layer, memory))
    return torch.cat(list(parts)).sort(descending=True).values


def per_axis(value: Sequence[int] | int, axes: int) -> tuple[int, ...]:
    """One number for each axis; a single one holds for all, as in PyTorch's convolutions."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _outputs(size: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    return tuple(ceil(m / step) for m, step in zip(size, stride, strict=True))


def _require_finite(W: Tensor) -> None:
    if not bool(torch.isfinite(W).all()):
        raise ValueError("the weight holds NaN or infinity")


def require_fit(
    W: Tensor,
    size: Sequence[int],
    stride: Sequence[int] | int,
    dilation: Sequence[int] | int,
    groups: int,
) -> None:
    """Refuse a layer that is no convolution of an input of that size.

    Raises
    ------
    ValueError
        Naming what does not fit.
    """
    if W.ndim - 2 != len(size):
        raise ValueError(f"a weight of shape {tuple(W.shape)} does not take inputs of size {size}")
    if W.numel() == 0 or groups < 1 or W.shape[0] % groups:
        raise ValueError(f"a weight of shape {tuple(W.shape)} does not divide into {groups} groups")
    for name, value in (("size", size), ("stride", stride), ("dilation", dilation)):
        each = per_axis(value, len(size))
        if len(each) != len(size) or any(v < 1 for v in each):
            raise ValueError(f"{name} is {value}; {len(size)} whole numbers above zero are needed")
    _require_finite(W)


def _dilated(W: Tensor, dilation: tuple[int, ...]) -> Tensor:
    for axis, step in enumerate(dilation, start=2):
        places = torch.arange(W.shape[axis]) * step
        shape = [*W.shape[:axis], int(places[-1]) + 1, *W.shape[axis + 1 :]]
        W = W.new_zeros(shape).index_copy_(axis, places.to(W.device), W)
    return W


def _phases(W: Tensor, stride: tuple[int, ...]) -> Tensor:
    """W̃ of the stride; shape (d, c·t², k / t rounded up, ...)."""
    for axis, t in enumerate(stride, start=2):
        missing = -W.shape[axis] % t
        zeros = W.new_zeros([*W.shape[:axis], missing, *W.shape[axis + 1 :]])
        W = torch.cat([W, zeros], dim=axis).unflatten(axis, (-1, t))
        W = W.movedim(axis + 1, 2).flatten(1, 2)
    return W


def _autocorrelation(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Lags, only one of τ and -τ, and R at each; R_0 halved, since it is its own partner.

    kernel has shape (groups, p, q, k, ...); R has shape (groups, lags, p, p).
    """
    lags, R = [], []
    for lag in product(*(range(1 - k, k) for k in kernel.shape[3:])):
        if lag < (0,) * len(lag):
            continue
        ahead, behind = kernel, kernel
        for axis, step in enumerate(lag, start=3):
            length = kernel.shape[axis] - abs(step)
            ahead = ahead.narrow(axis, max(step, 0), length)
            behind = behind.narrow(axis, max(-step, 0), length)
        term = ahead.flatten(2) @ behind.flatten(2).mT
        if not any(lag):
            term = term / 2
        if not any(lag) or bool(term.any()):
            lags.append(lag)
            R.append(term)
    return torch.tensor(lags, dtype=torch.int64).reshape(len(lags), -1), torch.stack(R, dim=1)


def _unravel(index: Tensor, size: Sequence[int]) -> Tensor:
    """Places along each axis of flat indices; shape (indices, axes)."""
    places = []
    for n in reversed(size):
        places.append(index % n)
        index = index // n
    return torch.stack(places[::-1], dim=1) if places else index.new_zeros(len(index), 0)
