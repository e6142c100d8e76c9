"""Left singular vectors and singular values from Gram matrices (section 4, Eqs. 13 to 16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64, Inexact, Shaped

#: Entries of a weight that are converted to float64 at a time (128 MiB).
_ENTRIES = 2**24

#: Rows of the Gram matrix that are computed at a time, only as far as their diagonal block.
_ROWS = 1024

#: The least s_r / s_0 at which this route is trusted: for blocks at least as wide as they are
#: tall, and for taller ones, whose U needs a division by S.
LEAST_WIDE, LEAST_TALL = 1e-5, 1e-3


def gram_matrix(
    blocks: Shaped[Tensor, "groups rows columns"],
) -> Float64[Tensor, "groups smaller smaller"]:
    """The lower triangle of each block's Gram matrix over its smaller side, in float64.

    Blocks are converted to float64 one slice of their longer side at a time, so that memory
    never holds a float64 copy of a float32 weight, at twice the size.

    Parameters
    ----------
    blocks
        shape (groups, rows, columns), of any real type.

    Returns
    -------
    float64, shape (groups, smaller, smaller), smaller being the lesser of rows and columns.
    W Wᵀ where rows is the lesser, else Wᵀ W. Entries above the diagonal mean nothing.
    """
    wide = blocks if blocks.shape[1] <= blocks.shape[2] else blocks.mT
    groups, smaller, longer = wide.shape
    gram = torch.zeros(groups, smaller, smaller, dtype=torch.float64, device=blocks.device)
    step = max(_ENTRIES // (groups * smaller), 1)
    for start in range(0, longer, step):
        part = wide[:, :, start : start + step].to(torch.float64)
        for row in range(0, smaller, _ROWS):
            end = row + _ROWS
            gram[:, row:end, :end].baddbmm_(part[:, row:end], part[:, :end].mT)
    return gram


def left_singular_vectors(
    blocks: Shaped[Tensor, "groups rows columns"],
) -> tuple[
    Float64[Tensor, "groups rows smaller"],
    Float64[Tensor, "groups smaller"],
    Bool[Tensor, " groups"],
]:
    """U and S of each block from the eigenvectors of its Gram matrix, and whether to trust them.

    W Wᵀ = U S² Uᵀ; where a block is taller than wide, Wᵀ W = V S² Vᵀ and U = W V S⁻¹ (the
    Gram matrix of the longer side would give U at once, at 5 to 40 times the cost).

    Squares are accurate to ε s₀², where ε is float64's. So a value s is accurate to p ε s₀² / s,
    where p is a factor that grows slowly with the sizes. Below about 1e-7 s₀ a value cannot be
    told from zero. A block is therefore trusted only if its least value is well above that, at
    least ``LEAST_WIDE`` or ``LEAST_TALL`` times its s₀. Then its rank is certainly full.

    Parameters
    ----------
    blocks
        shape (groups, rows, columns), finite.

    Returns
    -------
    U
        float64, shape (groups, rows, smaller), signs not fixed.
    S
        float64, shape (groups, smaller), descending.
    trusted
        bool, shape (groups,).

    References
    ----------
    Praggastis et al. 2022, Eqs. 15 and 16.
    """
    rows, columns = blocks.shape[1:]
    gram = gram_matrix(blocks)
    finite = torch.isfinite(gram).all(-1).all(-1)
    gram[~finite] = 0
    squares, vectors = torch.linalg.eigh(gram, UPLO="L")
    del gram
    squares, vectors = squares.flip(-1), vectors.flip(-1)

    least = LEAST_WIDE if rows <= columns else LEAST_TALL
    greatest = squares[:, 0]
    # Rounding in a sum of squares grows with their number. Entries so small that their squares
    # lose bits, or so large that they overflow, go by the other route too.
    noise = 8 * max(rows, columns) * torch.finfo(torch.float64).eps
    trusted = finite & (greatest > 1e-200) & (squares[:, -1] > max(least**2, noise) * greatest)

    S = squares.clamp_min(0).sqrt()
    if rows > columns:
        vectors = _times(blocks, vectors) / torch.where(trusted, S.mT, 1).mT[:, None, :]
    return vectors, S, trusted


def eigenvalues(G: Inexact[Tensor, "*stack p p"]) -> Float[Tensor, "*stack p"]:
    """Eigenvalues of Hermitian matrices, ascending; only their lower triangles are read.

    On the CPU numpy's LAPACK (OpenBLAS in its wheels) takes 0.7 to 0.9 of the time of torch's,
    and saves more the larger the matrix (complex, 64 to 512 rows, one thread of a Zen 3).

    Parameters
    ----------
    G
        shape (..., p, p), finite, real or complex.

    Returns
    -------
    real, shape (..., p)
    """
    if G.shape[-1] == 1:
        return G[..., 0].real if G.is_complex() else G[..., 0]
    if G.device.type == "cpu":
        return torch.from_numpy(np.linalg.eigvalsh(G.numpy(), UPLO="L"))
    return torch.linalg.eigvalsh(G, UPLO="L")


def _times(
    blocks: Shaped[Tensor, "groups rows columns"], V: Float64[Tensor, "groups columns vectors"]
) -> Float64[Tensor, "groups rows vectors"]:
    """W V, with W converted to float64 one slice of its rows at a time."""
    groups, rows, columns = blocks.shape
    product = torch.empty(groups, rows, V.shape[2], dtype=torch.float64, device=V.device)
    step = max(_ENTRIES // (groups * columns), 1)
    for start in range(0, rows, step):
        part = blocks[:, start : start + step].to(torch.float64)
        product[:, start : start + step] = part @ V
    return product
