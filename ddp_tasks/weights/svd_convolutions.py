"""The tensor SVD: a convolution as three in sequence (section 4.3, Eq. 14)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ddp_tasks.weights.tensor_svd import TensorSVD, decompose
from ddp_tasks.weights.unfolding import unfold_weight

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

_OF_KERNEL_AXES: dict[int, type[Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def svd_convolutions(module: Convolution, svd: TensorSVD | None = None) -> nn.Sequential:
    """Three convolutions, named V, S and U, that reproduce a convolution.

    W ⋆ X = φ(U) ⋆ (φ(S) ⋆ (φ(Vᵀ) ⋆ X)), for nonzero singular values only. The paper checks it
    for stride 1. Stride, padding, padding mode and dilation only choose the receptive fields;
    each output position is W̄ = U S Vᵀ times its receptive field all the same. So V takes these
    settings from the layer, and S and U, of kernel size 1, act on each position alone. φ(S) is
    diagonal, so it has one number for each channel (a convolution with r groups). U carries the
    layer's bias.

    Channel i between the convolutions belongs to singular vector i: V gives vᵢᵀ ψ for each
    receptive field ψ, and S gives the signal sᵢ vᵢᵀ ψ. To keep that order, V spans all channels
    even where the layer has groups, with zeros outside each vector's own group. The result then
    computes g times as much.

    Parameters
    ----------
    module
        the layer, any geometry and groups.
    svd
        its decomposition, V included; computed here if None.

    Returns
    -------
    takes and gives the same tensors as the layer; in the type and on the device of the layer's
    weight, without gradients

    Raises
    ------
    TypeError
        If the layer is not a Conv1d, Conv2d or Conv3d.
    ValueError
        If svd lacks V or is of another shape, or if the weight cannot be decomposed.

    References
    ----------
    Praggastis et al. 2022, Eq. 14.
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"{type(module).__name__} is not a Conv1d, Conv2d or Conv3d")
    if svd is None:
        svd = decompose(unfold_weight(module.weight), module.groups)
    if svd.V is None:
        raise ValueError("the tensor SVD needs V, and this decomposition was made without it")
    d, _, *kernel = module.weight.shape
    receptive_field = (module.in_channels, *kernel)
    if len(svd.U) != d or len(svd.V) != module.in_channels * module.weight[0, 0].numel():
        raise ValueError(
            f"U of shape {tuple(svd.U.shape)} and V of shape {tuple(svd.V.shape)} do not belong "
            f"to a weight of shape {tuple(module.weight.shape)}"
        )
    unit_kernel = (1,) * len(kernel)
    V = _convolution(
        svd.V.mT.reshape(svd.rank, *receptive_field).to(module.weight),
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        padding_mode=module.padding_mode,
    )
    S = _convolution(svd.S.reshape(svd.rank, 1, *unit_kernel).to(module.weight), groups=svd.rank)
    bias = None if module.bias is None else module.bias.detach().clone()
    U = _convolution(svd.U.reshape(d, svd.rank, *unit_kernel).to(module.weight), bias)
    return nn.Sequential(OrderedDict(V=V, S=S, U=U)).train(module.training)


def _convolution(
    weight: Tensor, bias: Tensor | None = None, groups: int = 1, **geometry: object
) -> Convolution:
    """A convolution with a given weight; building it draws no random numbers."""
    channels, per_group, *kernel = weight.shape
    convolution = _OF_KERNEL_AXES[len(kernel)](
        per_group * groups,
        channels,
        tuple(kernel),  # type: ignore[arg-type]
        groups=groups,
        bias=bias is not None,
        device="meta",
        **geometry,  # type: ignore[arg-type]
    )
    convolution.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        convolution.bias = nn.Parameter(bias, requires_grad=False)
    return convolution
