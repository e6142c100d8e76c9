"""Unfolded weights and receptive fields (section 3, Eqs. 1 to 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold


def unfold_weight(W: Tensor) -> Tensor:
    """The unfolded weight W̄: each row is a flattened filter.

    Parameters
    ----------
    W
        shape (d, c, k, k) of a convolution, or (d, c) of a fully connected layer. Of a
        convolution with g groups, (d, c / g, k, k): the blocks of the block-diagonal W̄, below
        one another.

    Returns
    -------
    shape (d, c*k*k); a view where W is contiguous.

    References
    ----------
    Praggastis et al. 2022, below Eq. 6.
    """
    return W.flatten(1)


def receptive_fields(module: nn.Conv2d | nn.Linear, X: Tensor) -> Tensor:
    """The receptive field matrix Ψ(X): each column is a flattened receptive field.

    With it W̄ Ψ(X) = Ȳ, the layer's output less its bias. The paper assumes stride 1 and padding
    already applied; stride, padding, padding mode and dilation only choose which entries of X
    stand in a column, so Eq. 8 holds for them unchanged.

    Parameters
    ----------
    module
        the layer; a convolution may have groups.
    X
        shape (n, c, m, m) for a convolution, (n, ..., c) for a fully connected layer, whose
        every position is a receptive field.

    Returns
    -------
    shape (n, groups, c*k*k / groups, positions); groups is 1 for a fully connected layer.

    References
    ----------
    Praggastis et al. 2022, Eq. 7.
    """
    if isinstance(module, nn.Linear):
        return X.reshape(len(X), 1, -1, X.shape[-1]).transpose(2, 3)
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        X, padding = pad(X, module._reversed_padding_repeated_twice, mode=mode), (0, 0)
    else:
        padding = (int(module.padding[0]), int(module.padding[1]))
    columns = unfold(
        X,
        kernel_size=(module.kernel_size[0], module.kernel_size[1]),
        dilation=(module.dilation[0], module.dilation[1]),
        padding=padding,
        stride=(module.stride[0], module.stride[1]),
    )
    # unfold orders rows by channel first, so each group's channels lie together.
    return columns.reshape(len(X), module.groups, -1, columns.shape[-1])


def linear_part(module: nn.Conv2d | nn.Linear, output: Tensor) -> Tensor:
    """Ȳ: a layer's output less its bias, positions last.

    Parameters
    ----------
    output
        shape (n, d, ...) of a convolution, (n, ..., d) of a fully connected layer.

    Returns
    -------
    shape (n, d, positions)
    """
    if isinstance(module, nn.Linear):
        output = output.reshape(len(output), -1, output.shape[-1]).transpose(1, 2)
    Y = output.reshape(len(output), output.shape[1], -1)
    return Y if module.bias is None else Y - module.bias.reshape(1, -1, 1)


def mean_over_positions(module: nn.Conv2d | nn.Linear, output: Tensor) -> Tensor:
    """Mean of a layer's output over its positions, bias included.

    Parameters
    ----------
    output
        shape (n, d, ...) of a convolution, (n, ..., d) of a fully connected layer.

    Returns
    -------
    shape (n, d)
    """
    if isinstance(module, nn.Linear):
        return output if output.ndim == 2 else output.flatten(1, -2).mean(dim=1)
    return torch.mean(output, dim=(-2, -1))
