"""The singular value decomposition of unfolded weights (section 4, Eqs. 13 to 16)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Singular values closer than this, over s_0, do not tell their vectors apart: a weight is
#: known to float32, so a change in its last bit already turns such vectors into one another.
GAP_TOLERANCE = float(torch.finfo(torch.float32).eps)


@dataclass(frozen=True)
class TensorSVD:
    """U, S and V of an unfolded weight, nonzero singular values only, signs fixed.

    For a convolution with groups the unfolded weight is block-diagonal, and so are U and V;
    ``block`` says which group each singular vector belongs to.
    """

    U: Tensor
    """float64, shape (d, r)."""
    S: Tensor
    """float64, shape (r,), descending."""
    V: Tensor
    """float64, shape (c*k*k, r); c counts the channels of all groups."""
    block: Tensor
    """int64, shape (r,)."""

    @property
    def rank(self) -> int:
        """Number of nonzero singular values, r."""
        return len(self.S)


def decompose(W: Tensor, groups: int = 1) -> TensorSVD:
    """Singular value decomposition of an unfolded weight, in float64.

    The paper leaves open three things. Sign: each pair (uᵢ, vᵢ) is flipped so that the entry
    of largest magnitude of uᵢ (the first of equals) is positive. Rank: singular values not
    above s₀ · max(d, c·k·k) · ε count as zero, ε being float64's. Groups: each block of the
    block-diagonal unfolded weight is decomposed, and all singular values are ordered together.

    Parameters
    ----------
    W
        shape (d, c*k*k / groups); the unfolded weight as ``unfold_weight`` gives it.
    groups
        of the convolution.

    Raises
    ------
    ValueError
        If W holds NaN or infinity, or is zero throughout.
    """
    if not bool(torch.isfinite(W).all()):
        raise ValueError("the weight holds NaN or infinity")
    d, columns = W.shape
    blocks = W.detach().to(torch.float64).reshape(groups, d // groups, columns)
    U, S, Vh = torch.linalg.svd(blocks, full_matrices=False)
    rows, per_block = U.shape[1], S.shape[1]

    tolerance = S.max() * max(rows, columns) * torch.finfo(torch.float64).eps
    order = torch.argsort(S.flatten(), descending=True, stable=True)
    order = order[S.flatten()[order] > tolerance]
    if len(order) == 0:
        raise ValueError("the weight is zero throughout, so it has no singular vectors")
    block, within = order // per_block, order % per_block

    index = torch.arange(len(order))
    whole_U = torch.zeros(groups, rows, len(order), dtype=torch.float64)
    whole_U[block, :, index] = U[block, :, within]
    whole_V = torch.zeros(groups, columns, len(order), dtype=torch.float64)
    whole_V[block, :, index] = Vh[block, within, :]
    U, V = whole_U.flatten(0, 1), whole_V.flatten(0, 1)
    sign = signs(U)
    return TensorSVD(U * sign, S.flatten()[order], V * sign, block)


def signs(U: Tensor) -> Tensor:
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
    largest = U[first, torch.arange(U.shape[1])]
    return torch.where(largest < 0, -1.0, 1.0).to(U.dtype)


def relative_gaps(S: Tensor) -> Tensor:
    """Distance of each singular value to its nearest neighbour, over the greatest.

    A value below ``GAP_TOLERANCE`` means that the arithmetic cannot tell the two singular
    vectors apart (the paper assumes there are none, footnote 8). A single value has gap 1.

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
