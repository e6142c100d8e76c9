"""The small matrices of a convolution's kernels, which others use for the capacity metric.

Martin, Peng and Mahoney (2021) and their tool WeightWatcher take the k² matrices of d × c that each
hold one place of all kernels: the *slices*. Praggastis et al. (2022, section 4.1) write of "the
channels of the weight kernels", the d·c matrices of k × k: the *channels*. A fully connected layer
has no kernel; its one matrix is its weight.
"""

from __future__ import annotations

import torch
from torch import Tensor


def slice_matrices(W: Tensor, groups: int = 1) -> Tensor:
    """The slices W[:, :, s, t, ...] of a weight, one for each place of the kernel.

    Those of a grouped convolution are block-diagonal, with one block for each group. The
    blocks are returned; their singular values together are those of the slice.

    Parameters
    ----------
    W
        shape (d, c / groups, k, ...), or (d, c).

    Returns
    -------
    shape (places * groups, d / groups, c / groups)

    References
    ----------
    Martin, Peng, Mahoney 2021.
    """
    d, columns = W.shape[:2]
    blocks = W.reshape(groups, d // groups, columns, -1)
    return blocks.permute(3, 0, 1, 2).flatten(0, 1)


def channel_values(W: Tensor) -> Tensor:
    """Singular values of every channel W[h, r] of every kernel.

    A channel is k × k. With k = 1 it is one number, and its magnitude is the singular value. A
    channel with one axis is a vector, and its norm is the singular value. A channel with three
    axes is flattened from the second on.

    Parameters
    ----------
    W
        float64, shape (d, c / groups, k, ...), finite.

    Returns
    -------
    float64, shape (values,), descending

    References
    ----------
    Praggastis et al. 2022, section 4.1.
    """
    channels = W.flatten(0, 1)
    channels = channels.reshape(len(channels), channels.shape[1] if channels.ndim > 1 else 1, -1)
    if 1 in channels.shape[1:]:
        S = torch.linalg.vector_norm(channels, dim=(1, 2))
    else:
        S = torch.linalg.svdvals(channels).flatten()
    return S.sort(descending=True).values
