"""The steps of one layer's computation on one image, and what its weight does to a circle.

Figures 5 and 8, as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.weights.tensor_svd import TensorSVD
from ddp_tasks.weights.unfolding import receptive_fields

#: Points of the circle; its first and its last are the same.
_POINTS = 361


@dataclass(frozen=True)
class Captured:
    """The input and output of one layer for one image."""

    X: Tensor
    """shape (1, c, m, n) of a convolution, (1, ..., c) of a fully connected layer."""
    output: Tensor
    """bias included; shape (1, d, h, w) or (1, ..., d)."""


@dataclass(frozen=True)
class Steps:
    """The arrays of figure 5, float64; each row of a matrix is reshaped to a map.

    A map holds one row's value at every position. Its shape is (h, w) in a convolution. In a
    fully connected layer it is (1, 1), (1, length) or (h, w), according to the input.
    """

    X: Tensor
    """the layer's input, shape (c, m, n) of a convolution or (c, h, w)."""
    Psi: Tensor
    """receptive fields Ψ(X), shape (c*k*k, h, w)."""
    projection: Tensor
    """VᵀΨ(X), shape (r, h, w)."""
    signal: Tensor
    """SVᵀΨ(X), shape (r, h, w): the signals at every position, in the units of the output."""
    Y: Tensor
    """Ȳ = USVᵀΨ(X), the output less its bias, shape (d, h, w)."""
    B: Tensor | None
    """the bias, shape (d, 1, 1); None where the layer has none."""
    activation: Tensor
    """ReLU(Ȳ + B), shape (d, h, w)."""
    activation_projection: Tensor
    """Uᵀ ReLU(Ȳ + B), shape (r, h, w)."""
    kernel: tuple[int, int]
    """sides of a receptive field; (1, 1) of a fully connected layer."""


@dataclass(frozen=True)
class ProjectedCircle:
    """The image of a unit circle under an unfolded weight, seen along two pairs of directions.

    The circle lies in the plane of two right singular vectors, its image in that of the left
    ones. All coordinates are float64 of shape (2, points), angle 0 first; the circle's point at
    angle 0 is vᵢ, that at a right angle vⱼ.
    """

    vectors: tuple[int, int]
    """i and j."""
    channels: tuple[int, int]
    """the two Euclidean directions."""
    share: tuple[float, float]
    """squared length of each one's part in the plane of uᵢ and uⱼ, from 0 to 1."""
    circle: Tensor
    """coordinates along vᵢ and vⱼ."""
    on_singular_vectors: Tensor
    """coordinates of the image along uᵢ and uⱼ."""
    on_channels: Tensor
    """coordinates of the image along the two channels."""
    stretch: tuple[float, float]
    """semi-axes of the image: sᵢ and sⱼ."""
    channel_stretch: tuple[float, float]
    """semi-axes of its projection on the channels, greater first."""


def capture(
    model: nn.Module,
    layer: LinearLayer,
    image: Tensor,
    convention: CallingConvention = AS_THEY_COME,
) -> Captured:
    """Show a network one image and keep the input and output of one of its layers.

    Both are copied at once, since an in-place activation overwrites them. The hook is always
    removed afterwards.

    Parameters
    ----------
    model
        in evaluation mode.
    image
        shape (1, c, m, n).
    convention
        how the network takes it.

    Raises
    ------
    ValueError
        If the forward pass does not reach the layer.
    """
    given = convention.inputs(image)
    calls = 0
    captured: Captured | None = None

    def keep(module: nn.Module, inputs: Any, named: Any, output: Tensor) -> None:
        nonlocal calls, captured
        calls += 1
        if calls == layer.call:
            X = inputs[0] if inputs else named["input"]
            # A network that takes no single image gets it twice: one copy is kept.
            rows = [slice(len(t) // len(given)) for t in (X, output)]
            captured = Captured(X[rows[0]].detach().clone(), output[rows[1]].detach().clone())

    handle = model.get_submodule(layer.module).register_forward_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            whole_output(model(given))
    finally:
        handle.remove()
    if captured is None:
        raise ValueError(f"the forward pass does not reach layer {layer.name}")
    return captured


def layer_steps(module: nn.Conv2d | nn.Linear, X: Tensor, svd: TensorSVD) -> Steps:
    """Every step from a layer's input to its rectified output, in the order of figure 5.

    Stride, padding and dilation only choose the entries of Ψ(X) (see ``receptive_fields``). With
    groups Ψ(X) holds the receptive fields of all groups, one below the other, and U and V are
    block-diagonal, so the products stay the same. The activation is ReLU, as in the paper,
    whatever the network itself does after the layer.

    Parameters
    ----------
    X
        the layer's input for one image, as ``capture`` returns it.
    svd
        of the layer's unfolded weight.

    Raises
    ------
    ValueError
        If X is not the input for one image, or the decomposition is not of a weight of this shape.

    References
    ----------
    Praggastis et al. 2022, Eqs. 13, 15 and 16, figure 5.
    """
    U, S, V = svd.U, svd.S, svd.V
    if V is None:
        raise ValueError("the decomposition was made without V, which every step needs")
    X = X.to(U)
    if isinstance(module, nn.Linear):
        maps, sides = _positions_of(X)
        X = X.reshape(1, -1, X.shape[-1])
        kernel = (1, 1)
    else:
        if len(X) != 1:
            raise ValueError(f"the layer's input holds {len(X)} images; one is needed")
        maps, kernel = X[0], (module.kernel_size[0], module.kernel_size[1])
        sides = _output_sides(module, X)
    Psi = receptive_fields(module, X)[0].flatten(0, 1)
    if Psi.shape[0] != len(V) or len(U) != len(module.weight):
        raise ValueError(
            f"U has {len(U)} rows and V has {len(V)}; the layer has {len(module.weight)} channels "
            f"and receptive fields of {len(Psi)} entries"
        )
    projection = V.T @ Psi
    signal = S[:, None] * projection
    Y = U @ signal
    B = None if module.bias is None else module.bias.detach().to(U)[:, None]
    activation = torch.relu(Y if B is None else Y + B)

    def as_maps(matrix: Tensor) -> Tensor:
        return matrix.reshape(-1, *sides)

    return Steps(
        X=maps,
        Psi=as_maps(Psi),
        projection=as_maps(projection),
        signal=as_maps(signal),
        Y=as_maps(Y),
        B=None if B is None else B[:, :, None],
        activation=as_maps(activation),
        activation_projection=as_maps(U.T @ activation),
        kernel=kernel,
    )


def _positions_of(X: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """A fully connected layer's input as maps, and the sides of a map."""
    *leading, channels = X.shape
    inner = leading[1:] if leading and leading[0] == 1 else leading
    sides = (inner[0], inner[1]) if len(inner) == 2 else (1, X.numel() // channels)
    return X.reshape(-1, channels).T.reshape(channels, *sides), sides


def _output_sides(module: nn.Conv2d, X: Tensor) -> tuple[int, int]:
    # torch keeps it as (left, right, top, bottom), however the padding was given.
    left, right, top, bottom = module._reversed_padding_repeated_twice
    padded = (X.shape[2] + top + bottom, X.shape[3] + left + right)
    high, wide = (
        (padded[a] - module.dilation[a] * (module.kernel_size[a] - 1) - 1) // module.stride[a] + 1
        for a in (0, 1)
    )
    return high, wide


def project_circle(svd: TensorSVD, vectors: tuple[int, int] = (0, 1)) -> ProjectedCircle:
    """Send a unit circle through an unfolded weight and project its image two ways.

    A point ψ = cos θ vᵢ + sin θ vⱼ becomes W̄ψ = sᵢ cos θ uᵢ + sⱼ sin θ uⱼ. Along uᵢ and uⱼ the
    two stretches are separate. Along two Euclidean directions they mix, and what lies outside
    the plane of these is lost. The paper does not say which Euclidean directions it draws. Here
    they are the two channels that lie most in the plane of uᵢ and uⱼ (the greatest
    Uₐᵢ² + Uₐⱼ²). They lose least of all, so the comparison does not flatter the singular vectors.

    Parameters
    ----------
    svd
        of the layer's unfolded weight.
    vectors
        i and j, from 0.

    Raises
    ------
    ValueError
        If i and j are the same or past the rank, or the layer has a single channel.

    References
    ----------
    Praggastis et al. 2022, Eq. 16, figure 8.
    """
    i, j = vectors
    if i == j or not all(0 <= v < svd.rank for v in vectors):
        raise ValueError(
            f"singular vectors {i} and {j} span no plane: two different ones from 0 to "
            f"{svd.rank - 1} are needed"
        )
    if len(svd.U) < 2:
        raise ValueError("the layer has a single channel; two are needed")
    U, S = svd.U[:, list(vectors)], svd.S[list(vectors)]
    angle = torch.linspace(0, 2 * torch.pi, _POINTS, dtype=U.dtype)
    circle = torch.stack([angle.cos(), angle.sin()])
    share = U.square().sum(dim=1)
    a, b = (int(c) for c in torch.argsort(share, descending=True, stable=True)[:2])
    seen = U[[a, b]] * S
    stretched = S[:, None] * circle
    semi_axes = torch.linalg.svdvals(seen)
    return ProjectedCircle(
        vectors=vectors,
        channels=(a, b),
        share=(float(share[a]), float(share[b])),
        circle=circle,
        on_singular_vectors=stretched,
        on_channels=seen @ circle,
        stretch=(float(S[0]), float(S[1])),
        channel_stretch=(float(semi_axes[0]), float(semi_axes[1])),
    )
