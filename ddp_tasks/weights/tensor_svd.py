"""The singular value decomposition of unfolded weights (section 4, Eqs. 13 to 16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ddp_tasks.weights import gram_matrix

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64, Shaped

#: svd: a backward stable float64 SVD throughout; gram: float64 Gram matrices where their
#: accuracy is enough, else svd.
Route = Literal["svd", "gram"]


@dataclass(frozen=True)
class Spectrum:
    """The singular values of an unfolded weight, without their vectors."""

    S: Float64[Tensor, " r"]
    """descending."""
    block: Int64[Tensor, " r"]
    """the group of the convolution that each belongs to."""

    @property
    def rank(self) -> int:
        """Number of nonzero singular values, r."""
        return len(self.S)


@dataclass(frozen=True)
class TensorSVD:
    """U, S and V of an unfolded weight, nonzero singular values only, signs fixed.

    For a convolution with groups the unfolded weight is block-diagonal, and so are U and V;
    ``block`` says which group each singular vector belongs to.
    """

    U: Float64[Tensor, "d r"]
    S: Float64[Tensor, " r"]
    """descending."""
    V: Float64[Tensor, "receptive_field r"] | None
    """c*k*k rows, where c counts the channels of all groups; None if not asked for."""
    block: Int64[Tensor, " r"]
    route: Route = "svd"
    """gram if any block's singular values come from its Gram matrix."""

    @property
    def rank(self) -> int:
        """Number of nonzero singular values, r."""
        return len(self.S)

    @property
    def spectrum(self) -> Spectrum:
        """The singular values alone."""
        return Spectrum(self.S, self.block)


def decompose(
    W: Shaped[Tensor, "d columns"],
    groups: int = 1,
    *,
    right_singular_vectors: bool = True,
    route: Route | None = None,
) -> TensorSVD:
    """Singular value decomposition of an unfolded weight, in float64.

    The paper leaves open three things. Sign: each pair (uᵢ, vᵢ) is flipped so that the entry
    of largest magnitude of uᵢ (the first of equals) is positive. Rank: singular values not
    above s₀ · max(d, c·k·k) · ε count as zero, where d and c are a block's and ε is float64's.
    Groups: each block of the block-diagonal unfolded weight is decomposed, all blocks as one
    batch, and all singular values are ordered together.

    The svd route is backward stable: values are off by at most p ε s₀, and vectors turn by at
    most p ε over their relative gap. Here and below p grows slowly with the sizes; up to
    512 × 4608 it was measured below 25.

    By the gram route values are off by at most p ε s₀² / sᵢ, and vectors turn by at most
    p ε s₀ / sᵢ over their relative gap: s₀ / sᵢ times as much. It is taken only for blocks all of
    whose values are above 1e-5 s₀ (1e-3 s₀ where the block is taller than wide). So its values
    are right to 1e-9 s₀, and to 1e-4 of themselves, and its vectors turn less than the last bit
    of a float32 weight turns them. All other blocks go by the svd route, among them those whose
    rank is not full and those with values that a Gram matrix cannot tell from zero (below about
    1e-7 s₀). So both routes give the same rank.

    Parameters
    ----------
    W
        shape (d, c*k*k / groups); the unfolded weight as ``unfold_weight`` returns it.
    groups
        of the convolution.
    right_singular_vectors
        False leaves out V, the costly part of wide layers: 1.7 (square) to 10 times faster.
    route
        if None, svd with V and gram without. By the gram route V is Wᵀ U S⁻¹: it is orthonormal
        only to p ε s₀² / s_r², but W = U S Vᵀ still holds to rounding.

    Raises
    ------
    ValueError
        If W holds NaN or infinity, is zero throughout, or is empty.

    References
    ----------
    Praggastis et al. 2022, Eqs. 15 and 16.
    """
    _check(W, groups)
    route = route or ("svd" if right_singular_vectors else "gram")
    d, columns = W.shape
    blocks = W.detach().reshape(groups, d // groups, columns)

    U, S, Vh, by_gram = _factors(blocks, right_singular_vectors, route)
    order = torch.argsort(S.flatten(), descending=True, stable=True)
    tolerance = S.max() * max(blocks.shape[1:]) * torch.finfo(torch.float64).eps
    order = order[S.flatten()[order] > tolerance]
    if len(order) == 0:
        raise ValueError("the weight is zero throughout, so it has no singular vectors")
    block = order // S.shape[1]

    values = S.flatten()[order]
    left = _block_diagonal(U, order)
    del U
    sign = signs(left)
    left *= sign
    right: Tensor | None = None
    if Vh is not None:
        right = _block_diagonal(Vh.mT, order)
        right *= sign
    elif right_singular_vectors:
        right = right_vectors(W, left, values, groups)
    return TensorSVD(left, values, right, block, "gram" if by_gram else "svd")


def right_vectors(
    W: Shaped[Tensor, "d columns"],
    U: Float[Tensor, "d n"],
    S: Float[Tensor, " n"],
    groups: int = 1,
) -> Float64[Tensor, "{groups}*columns n"]:
    """Right singular vectors from left ones: V = W̄ᵀ U S⁻¹, since W̄ᵀ uᵢ = sᵢ vᵢ.

    For the few vectors of a large layer that are looked at when V was not kept. The error of
    each is that of its uᵢ plus rounding of ε s₀ / sᵢ.

    Parameters
    ----------
    W
        shape (d, c*k*k / groups); the unfolded weight.
    U
        shape (d, n); n left singular vectors, signs fixed.
    S
        shape (n,); their singular values.
    groups
        of the convolution.

    Returns
    -------
    float64, shape (c*k*k, n), signs as those of U

    References
    ----------
    Praggastis et al. 2022, Eq. 16.
    """
    blocks = W.detach().to(torch.float64).reshape(groups, len(W) // groups, W.shape[1])
    left = U.to(torch.float64).reshape(groups, len(W) // groups, U.shape[1])
    V = (blocks.mT @ left).flatten(0, 1)
    V /= S
    return V


def _check(W: Tensor, groups: int) -> None:
    if W.numel() == 0:
        raise ValueError(f"the weight of shape {tuple(W.shape)} has no entries")
    if len(W) % groups:
        raise ValueError(f"{len(W)} filters do not divide into {groups} groups")
    # The extremes are NaN if any entry is; unlike isfinite they need no second tensor as large.
    if not bool(torch.isfinite(torch.stack(torch.aminmax(W.detach()))).all()):
        raise ValueError("the weight holds NaN or infinity")


def _factors(
    blocks: Tensor, right: bool, route: Route
) -> tuple[Tensor, Tensor, Tensor | None, bool]:
    """U, S, Vᵀ where it takes no more work, and whether any of them is from a Gram matrix."""
    if route == "gram":
        U, S, trusted = gram_matrix.left_singular_vectors(blocks)
        # V = Wᵀ U S⁻¹ needs every value to be trusted.
        if bool(trusted.all()):
            return U, S, None, True
        if bool(trusted.any()) and not right:
            U[~trusted], S[~trusted], _ = _exact(blocks[~trusted], False)
            return U, S, None, True
    return *_exact(blocks, right), False


def _exact(blocks: Tensor, right: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """U, S and Vᵀ of each block by float64 SVD; without Vᵀ, wide blocks by W = L Q first.

    The singular values and left singular vectors of W are those of L, and the QR
    decomposition of Wᵀ gives L without Q, as stably as the SVD.
    """
    blocks = blocks.to(torch.float64)
    if right or blocks.shape[2] <= blocks.shape[1]:
        U, S, Vh = torch.linalg.svd(blocks, full_matrices=False)
        return U, S, Vh if right else None
    L = torch.linalg.qr(blocks.mT, mode="r").R.mT
    U, S, _ = torch.linalg.svd(L)
    return U, S, None


def _block_diagonal(
    vectors: Float[Tensor, "groups rows per_block"], order: Int64[Tensor, " r"]
) -> Float[Tensor, "groups*rows r"]:
    """Vectors of all blocks as columns of one matrix, in the order given.

    Parameters
    ----------
    vectors
        shape (groups, rows, per_block).
    order
        shape (r,); positions among all groups * per_block vectors.

    Returns
    -------
    shape (groups * rows, r); zero outside each vector's own block
    """
    groups, rows, per_block = vectors.shape
    if groups == 1:
        return vectors[0].index_select(1, order)
    block, within = order // per_block, order % per_block
    whole = torch.zeros(groups, rows, len(order), dtype=vectors.dtype, device=vectors.device)
    whole[block, :, torch.arange(len(order), device=order.device)] = vectors[block, :, within]
    return whole.flatten(0, 1)


def signs(U: Float[Tensor, "d r"]) -> Float[Tensor, " r"]:
    """The sign that makes the entry of largest magnitude of each column positive.

    Parameters
    ----------
    U
        shape (d, r).

    Returns
    -------
    shape (r,), of 1 and -1
    """
    # Magnitudes that agree to rounding count as equal: then the first row decides, whichever
    # routine computed U.
    magnitude = U.abs()
    near = magnitude >= magnitude.max(dim=0).values * (1 - 1e-9)
    first = near.to(torch.int8).argmax(dim=0)
    largest = U[first, torch.arange(U.shape[1], device=U.device)]
    return torch.where(largest < 0, -1.0, 1.0).to(U.dtype)


def relative_gaps(S: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Distance of each singular value to its nearest neighbour, divided by the greatest.

    A value below ``layer_vectors.GAP_TOLERANCE`` means that the arithmetic cannot tell the
    two singular vectors apart. A single value has gap 1.

    Parameters
    ----------
    S
        shape (r,), descending.

    Returns
    -------
    shape (r,), from 0 to 1
    """
    if len(S) == 1:
        return torch.ones_like(S)
    steps = -torch.diff(S) / S[0]
    infinite = torch.full_like(S[:1], torch.inf)
    return torch.minimum(torch.cat([infinite, steps]), torch.cat([steps, infinite]))
