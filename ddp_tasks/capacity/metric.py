"""The capacity metric α̂ of a network, and customary norms (section 4.1, Eq. 12).

Everything is computed from the singular values s of one matrization of one layer; λ = s² are
the eigenvalues of its Gram matrix. λ is never divided by a dimension of the matrix, as in the
paper (and as in WeightWatcher, whose columns of the same names are defined alike).

The paper writes "log" in Eq. 12; it is taken as the natural logarithm. The customary weighted
alpha, which differs by the factor ln 10, is given too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import hypot, isfinite, isnan, log, log10, nan, prod, sqrt

import numpy as np
import torch
from torch import Tensor

from ddp_tasks.capacity.kernel_matrices import channel_values, slice_matrices
from ddp_tasks.capacity.power_law import CANDIDATES, FEW, fit_power_law
from ddp_tasks.capacity.toeplitz import BLOCK_MEMORY, Run, per_axis, symbol, symbol_spectrum
from ddp_tasks.weights.gram_matrix import eigenvalues


class Matrization(StrEnum):
    """How a weight is read as a matrix (Fig. 4)."""

    UNFOLDED = "unfolded"
    """W̄₁, d × c·k·k (Eq. 8)."""
    TOEPLITZ = "toeplitz"
    """W̄₂, d·n² × c·m² (Eq. 11), on periodic images."""
    SLICES = "slices"
    """The k² matrices W[:, :, s, t] of d × c, their singular values together: customary."""
    CHANNELS = "channels"
    """The d·c matrices W[h, r] of k × k, their singular values together: the paper's wording."""


class NotFiniteError(ValueError):
    """A weight that holds NaN or infinity."""


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one layer under one matrization, and what they are compared with."""

    S: Tensor
    """float64, shape (values,), descending."""
    floor: float
    """Singular values not above it count as zero: the arithmetic cannot tell them from zero."""
    bulk_edge: float
    """Marchenko-Pastur λ₊, the greatest λ of a random matrix with entries of the same variance."""
    copies: bool = False
    """Whether equal values are copies, as those of W̄₂ at a frequency ω and at -ω are."""


@dataclass(frozen=True)
class Capacity:
    """One row of the capacity table: one layer under one matrization. See ``COLUMNS``."""

    alpha: float
    xmin: float
    D: float
    sigma: float
    tail: int
    independent: int
    rival_alpha: float
    rival_tail: int
    unstable: bool
    values: int
    zeros: int
    lambda_max: float
    capacity_term: float
    weighted_alpha: float
    log_norm: float
    log_spectral_norm: float
    stable_rank: float
    matrix_rank: int
    bulk_edge: float
    spikes: int
    mp_softrank: float
    refusal: str


#: The definition of every column of ``Capacity``.
COLUMNS: Mapping[str, str] = {
    "alpha": "exponent of the power law p(λ) ∝ λ^(-alpha) for λ ≥ xmin, maximum likelihood",
    "xmin": "least λ of the tail: the one with the least D; not normalised",
    "D": "Kolmogorov-Smirnov distance between the tail and the power law",
    "sigma": "standard error of alpha, (alpha - 1) / sqrt(independent)",
    "tail": "number of λ not below xmin",
    "independent": "number of λ of the tail, those that W̄₂ has at ω and at -ω counted once",
    "rival_alpha": "alpha of a tail at least 4 times as long or short that fits about as well, "
    "with at most 1.5 times D; NaN where there is none",
    "rival_tail": "number of λ of that tail; 0 where there is none",
    "unstable": "whether rival_alpha differs from alpha by over twice the standard error of both",
    "values": "number of λ above zero, to which the power law is fitted",
    "zeros": "number of λ that are zero to rounding, left out of the fit",
    "lambda_max": "greatest λ = s², squared spectral norm; not normalised",
    "capacity_term": "alpha · ln(lambda_max), natural logarithm: the layer's term of Eq. 12",
    "weighted_alpha": "alpha · log10(lambda_max), base 10 (WeightWatcher: alpha_weighted)",
    "log_norm": "log10 of the sum of λ, the squared Frobenius norm; not normalised",
    "log_spectral_norm": "log10(lambda_max), squared spectral norm; not normalised",
    "stable_rank": "sum of λ / lambda_max, squared Frobenius over squared spectral norm",
    "matrix_rank": "number of λ above zero; of several matrices, the sum of their ranks",
    "bulk_edge": "Marchenko-Pastur λ₊ = v (sqrt(rows) + sqrt(columns))², "
    "v the variance of the matrix's entries (of a block of W̄₂ in the Fourier basis, times the "
    "taps of the kernel; for a stride see bulk_edge). For Q = N / M, N the greater and M the "
    "smaller side, this is N v (1 + sqrt(1 / Q))²: the edge of λ not normalised by N",
    "spikes": "number of λ above bulk_edge",
    "mp_softrank": "bulk_edge / lambda_max",
    "refusal": "why there is no row, or no power law; empty where there is one",
}


@dataclass(frozen=True)
class AlphaHat:
    """α̂ of a network under one matrization."""

    total: float
    """Sum over layers of alpha · ln(lambda_max): Eq. 12 as printed. Grows with depth."""
    error: float
    """Standard error of the sum, with layers taken as independent and lambda_max as exact."""
    mean: float
    """The sum divided by the number of layers counted."""
    mean_error: float
    """Standard error of the mean."""
    layers: int
    """Layers counted."""
    left_out: int
    """Layers without a power law, which neither figure includes."""
    few: int
    """Layers counted whose tail has fewer than ``power_law.FEW`` independent values."""
    unstable: int
    """Layers counted whose alpha jumps between tails."""
    below_one: int
    """Layers counted with lambda_max below 1: for them a greater alpha makes the sum smaller."""


def spectrum(
    W: Tensor,
    matrization: Matrization,
    *,
    size: Sequence[int] = (),
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    memory: int = BLOCK_MEMORY,
    run: Run = map,
) -> Spectrum:
    """Singular values of a layer's weight under one matrization.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...), or (d, c) of a fully connected layer, which has one matrix.
    size
        of the layer's input along each axis of the kernel; only for the Toeplitz matrization.
    stride, dilation
        of the convolution; only for the Toeplitz matrization.
    groups
        of the convolution; they do not change the channels.
    memory, run
        as for ``toeplitz_spectrum``.

    Raises
    ------
    NotFiniteError
        If W holds NaN or infinity.
    ValueError
        If the arguments do not fit together.
    """
    if matrization is Matrization.UNFOLDED or W.ndim == 2:
        return unfolded_spectrum(W, groups)
    weight = _in_float64(W)
    variance = _variance(weight)
    taps = prod(W.shape[2:])
    if matrization is Matrization.TOEPLITZ:
        layer = symbol(W, size, stride=stride, dilation=dilation, groups=groups)
        S = symbol_spectrum(layer, memory, run)
        # An entry of A(ω) is a sum of the taps of its phase, each with a factor of magnitude 1.
        taps_of_phases = _taps_of_phases(W.shape[2:], stride, dilation)
        edge = bulk_edge([variance * n for n in taps_of_phases], W.shape[0] // groups, W.shape[1])
        return Spectrum(S, layer.floor, edge, copies=True)
    if matrization is Matrization.SLICES:
        slices = slice_matrices(weight, groups)
        edge = bulk_edge([variance], *slices.shape[1:])
        return Spectrum(*_block_values(slices), edge)
    S = channel_values(weight)
    k = W.shape[2]
    return Spectrum(S, _floor(S, taps), bulk_edge([variance], k, taps // k))


def unfolded_spectrum(W: Tensor, groups: int = 1, S: Tensor | None = None) -> Spectrum:
    """Singular values of the unfolded weight W̄1.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...), or (d, c).
    S
        float64, shape (rank,), descending: its nonzero singular values, if a decomposition has
        already computed them.

    Raises
    ------
    NotFiniteError
        If W holds NaN or infinity.
    """
    weight = _in_float64(W)
    variance = _variance(weight)
    unfolded = weight.reshape(groups, W.shape[0] // groups, -1)
    rows, columns = unfolded.shape[1:]
    edge = bulk_edge([variance], rows, columns)
    if S is None:
        return Spectrum(*_block_values(unfolded), edge)
    every = S.new_zeros(groups * min(rows, columns))
    every[: len(S)] = S
    return Spectrum(every, 0.0, edge)


def bulk_edge(variances: Sequence[float], rows: int, columns: int) -> float:
    """Marchenko-Pastur λ₊ of the Gram matrix of a random matrix, not normalised.

    With one variance v it is v (√rows + √columns)². A strided convolution puts blocks of columns
    side by side whose variances differ, as they hold more or fewer taps. Then λ₊ is the least

        z(u) = v rows / u + columns Σ_p v_p / (1 - u v_p / v),    0 < u < 1,

    where v is the greatest v_p (the end of the support of the Marchenko-Pastur equation).

    Parameters
    ----------
    variances
        of the entries of each block of columns, which are independent and have mean zero.
    rows, columns
        of one block.

    References
    ----------
    Marchenko, Pastur 1967; Silverstein, Choi 1995, for the end of the support.
    """
    v = max(variances)
    if v == 0:
        return 0.0

    def z(u: float) -> float:
        return v * rows / u + columns * sum(w / (1 - u * w / v) for w in variances)

    if len(variances) == 1:
        return v * (sqrt(rows) + sqrt(columns)) ** 2
    low, high = 0.0, 1.0  # z is convex, so cutting off thirds leads to its minimum
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if z(left) < z(right) else (left, high)
    return z((low + high) / 2)


def capacity(spectrum: Spectrum, candidates: int | None = CANDIDATES) -> Capacity:
    """Power law and norms of one layer under one matrization.

    Parameters
    ----------
    candidates
        how many xmin to try at most, as for ``fit_power_law``.

    Returns
    -------
    a row as ``COLUMNS`` defines it. Without a power law its columns are NaN but not
    the norms; a weight of zeros has no norms either.
    """
    every = spectrum.S.numpy(force=True)
    S = every[: np.count_nonzero(every > spectrum.floor)]
    if len(S) == 0:
        return refused_capacity("the weight is zero throughout", zeros=len(spectrum.S))
    squares = np.square(S)
    fit = fit_power_law(squares, candidates, copies=spectrum.copies)
    greatest, total = float(squares[0]), float(squares.sum())
    return Capacity(
        alpha=fit.alpha,
        xmin=fit.xmin,
        D=fit.D,
        sigma=fit.sigma,
        tail=fit.tail,
        independent=fit.independent,
        rival_alpha=fit.rival_alpha,
        rival_tail=fit.rival_tail,
        unstable=fit.unstable,
        values=len(S),
        zeros=len(every) - len(S),
        lambda_max=greatest,
        capacity_term=fit.alpha * log(greatest),
        weighted_alpha=fit.alpha * log10(greatest),
        log_norm=log10(total),
        log_spectral_norm=log10(greatest),
        stable_rank=total / greatest,
        matrix_rank=len(S),
        bulk_edge=spectrum.bulk_edge,
        spikes=int(np.count_nonzero(squares > spectrum.bulk_edge)),
        mp_softrank=spectrum.bulk_edge / greatest,
        refusal=fit.refusal.value,
    )


def refused_capacity(reason: str, zeros: int = 0) -> Capacity:
    """The row of a layer that has no spectrum, such as one whose weight holds NaN."""
    none = dict.fromkeys(COLUMNS, nan)
    counts = dict.fromkeys(
        ("tail", "independent", "rival_tail", "values", "matrix_rank", "spikes"), 0
    )
    rest = {"zeros": zeros, "unstable": False, "refusal": reason}
    return Capacity(**{**none, **counts, **rest})  # type: ignore[arg-type]


def layer_capacity(
    W: Tensor,
    matrization: Matrization,
    *,
    size: Sequence[int] = (),
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    memory: int = BLOCK_MEMORY,
    run: Run = map,
    candidates: int | None = CANDIDATES,
) -> Capacity:
    """Power law and norms of one layer; arguments as in ``spectrum`` and ``capacity``.

    A weight that holds NaN or infinity gets a row that says so, and stops no other layer.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """
    try:
        layer_spectrum = spectrum(
            W,
            matrization,
            size=size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            memory=memory,
            run=run,
        )
    except NotFiniteError as error:
        return refused_capacity(str(error))
    return capacity(layer_spectrum, candidates)


def alpha_hat(layers: Iterable[Capacity]) -> AlphaHat:
    """α̂ of a network from the rows of its layers under one matrization, with its error.

    The error squared is the sum over layers of (sigma · ln(lambda_max))².

    Returns
    -------
    NaN figures if no layer has a power law

    References
    ----------
    Praggastis et al. 2022, Eq. 12.
    """
    rows = list(layers)
    counted = [row for row in rows if not isnan(row.capacity_term)]
    n = len(counted)
    total = sum(row.capacity_term for row in counted) if n else nan
    error = hypot(*(row.sigma * log(row.lambda_max) for row in counted)) if n else nan
    return AlphaHat(
        total=total,
        error=error,
        mean=total / n if n else nan,
        mean_error=error / n if n else nan,
        layers=n,
        left_out=len(rows) - n,
        few=sum(row.independent < FEW for row in counted),
        unstable=sum(bool(row.unstable) for row in counted),
        below_one=sum(row.lambda_max < 1 for row in counted),
    )


def _in_float64(W: Tensor) -> Tensor:
    # On the CPU numpy converts: torch spreads the work over all cores, and its threads, still
    # awake, then slow down those of numpy's LAPACK, five times on two cores.
    if W.device.type == "cpu" and W.dtype is torch.float32:
        return torch.from_numpy(W.detach().numpy().astype(np.float64))
    return W.detach().to(torch.float64)


def _variance(weight: Tensor) -> float:
    """Variance of the entries of a float64 weight; one that is not finite is refused.

    Every entry is checked only if the variance is not finite, which may also be an overflow.
    """
    if weight.device.type == "cpu":
        entries = weight.numpy().reshape(-1)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = entries - entries.mean()
            variance = float(apart @ apart) / len(entries)
    else:
        variance = float(weight.var(correction=0))
    if not isfinite(variance) and not bool(torch.isfinite(weight).all()):
        raise NotFiniteError("the weight holds NaN or infinity")
    return variance


def _block_values(blocks: Tensor) -> tuple[Tensor, float]:
    """Singular values of every block, ordered together, and what counts as zero.

    From eigenvalues of the float64 Gram matrix of the smaller side where the other is at least
    twice as long: six times faster for 64 x 576, and exact to 1e-7 of the greatest.
    """
    rows, columns = blocks.shape[1:]
    if 2 * min(rows, columns) > max(rows, columns):
        S = torch.linalg.svdvals(blocks).flatten().sort(descending=True).values
        return S, _floor(S, max(rows, columns))
    wide = blocks if rows < columns else blocks.mT
    if wide.device.type == "cpu":
        # numpy knows that a product with its own transpose is symmetric, and computes half of it.
        whole = wide.numpy()
        gram = torch.from_numpy(np.matmul(whole, whole.swapaxes(1, 2)))
        ordered = np.sort(eigenvalues(gram).numpy(), axis=None)[::-1]
        S = torch.from_numpy(np.sqrt(np.maximum(ordered, 0)))
    else:
        S = eigenvalues(wide @ wide.mT).flatten().sort(descending=True)[0].clamp_min(0).sqrt()
    return S, float(S[0]) * sqrt(min(rows, columns) * torch.finfo(torch.float64).eps)


def _taps_of_phases(
    kernel: Sequence[int], stride: Sequence[int] | int, dilation: Sequence[int] | int
) -> list[int]:
    """Number of taps of the kernel at each phase of the image that a stride tells apart."""
    axes = len(kernel)
    steps = zip(kernel, per_axis(stride, axes), per_axis(dilation, axes), strict=True)
    each = [[sum(e * s % t == p for s in range(k)) for p in range(t)] for k, t, e in steps]
    return [prod(counts) for counts in product(*each)]


def _floor(S: Tensor, sides: int) -> float:
    return float(S[0]) * sides * torch.finfo(torch.float64).eps
