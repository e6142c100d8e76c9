"""Unfolded weights and receptive fields (section 3, Eqs. 1 to 8), in any number of dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConvolution = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
LinearModule = nn.Linear | Convolution | TransposedConvolution

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def unfold_weight(W: Shaped[Tensor, "d ..."]) -> Shaped[Tensor, "d receptive_field"]:
    """The unfolded weight W̄: each row is a flattened filter.

    Nothing in Eq. 4 depends on the number of spatial dimensions: a filter of k, k × k or
    k × k × k entries per channel is flattened row by row in the same way.

    Parameters
    ----------
    W
        shape (d, c, k, ...) for a convolution, or (d, c) for a fully connected layer. For a
        convolution with g groups, (d, c / g, k, ...): the blocks of the block-diagonal W̄, one
        below the other.

    Returns
    -------
    shape (d, c*k*k); a view where W is contiguous.

    References
    ----------
    Praggastis et al. 2022, below Eq. 6.
    """
    return W.flatten(1)


def transposed_filters(W: Tensor, groups: int = 1) -> Tensor:
    """The filters that make a transposed convolution a cross-correlation.

    In one dimension (the others work alike) a transposed convolution adds every input entry,
    times the kernel, to its output:

        Y[h, o] = Σ X[r, i] W[r, h, s]   over r, i, s with o = i · stride - padding + s · dilation

    Let X↑ be X with stride - 1 zeros between neighbours, X↑[r, i · stride] = X[r, i]. This
    removes i: Y[h, o] = Σ_{r, s} W[r, h, s] X↑[r, o + padding - s · dilation]. Counting the
    kernel from its other end, s = k - 1 - t, gives

        Y[h, o] = Σ_{r, t} W[r, h, k - 1 - t] X↑[r, o - (k - 1) · dilation + padding + t · dilation]

    This is Eq. 1 with stride 1 and the same dilation. Its filters are W'[h, r, t] =
    W[r, h, k - 1 - t]. Its input is X↑ with (k - 1) · dilation - padding zeros before it (where
    that is negative, entries are cut off) and output_padding more than that after it. So W̄ = W'
    unfolded has one row for each output channel, and Eq. 8 holds. With g groups, output channel
    h of group j sees the input channels of group j alone, W[j·c/g + r, h, ...].

    With a stride greater than 1 most entries of a receptive field are inserted zeros, in
    stride * stride different patterns. The rows of W̄ and its singular vectors still belong to
    the whole kernel.

    Parameters
    ----------
    W
        shape (c, d / groups, k, ...), as torch stores it.

    Returns
    -------
    W', shape (d, c / groups, k, ...)

    References
    ----------
    Praggastis et al. 2022, Eqs. 1 and 4; derived here.
    """
    c, d, *kernel = W.shape
    blocks = W.reshape(groups, c // groups, d, *kernel).transpose(1, 2)
    return blocks.flip(tuple(range(3, blocks.ndim))).reshape(groups * d, c // groups, *kernel)


def receptive_fields(
    module: LinearModule, X: Shaped[Tensor, "n ..."]
) -> Shaped[Tensor, "n groups receptive_field positions"]:
    """The receptive field matrix Ψ(X): each column is a flattened receptive field.

    W̄ Ψ(X) = Ȳ, the layer's output minus its bias. The paper assumes two dimensions, stride 1 and
    padding already applied. The output entry at o is Eq. 1 with i = o · stride and the kernel's
    entry s at i + s · dilation of the padded X, in each dimension separately. So stride, padding,
    padding mode, dilation and the number of dimensions only choose which entries of X form a
    column, and Eq. 8 holds unchanged. A transposed convolution has the receptive fields of the
    cross-correlation that it equals (``transposed_filters``).

    Parameters
    ----------
    module
        the layer; a convolution may have groups.
    X
        shape (n, c, m, ...) for a convolution, (n, ..., c) for a fully connected layer, where
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
    stride = tuple(module.stride)
    if isinstance(module, _TRANSPOSED):
        X, stride = _dilated_and_padded(module, X), (1,) * len(stride)
    else:
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        X = pad(X, module._reversed_padding_repeated_twice, mode=mode)
    return _windows(X, tuple(module.kernel_size), stride, tuple(module.dilation), module.groups)


def _dilated_and_padded(module: TransposedConvolution, X: Tensor) -> Tensor:
    """X↑ with the zeros around it that ``transposed_filters`` derives."""
    sides: tuple[int, ...] = module.padding  # type: ignore[assignment]  # never 'same' here
    sizes = [(m - 1) * s + 1 for m, s in zip(X.shape[2:], module.stride, strict=True)]
    dilated = X.new_zeros(*X.shape[:2], *sizes)
    places: list[slice] = [slice(None), slice(None)]
    dilated[tuple(places + [slice(None, None, s) for s in module.stride])] = X
    around = []
    for k, dilation, padding, more in zip(
        module.kernel_size,
        module.dilation,
        sides,
        module.output_padding,
        strict=True,
    ):
        before = (k - 1) * dilation - padding
        around.append((before, before + more))
    # torch's pad counts from the last dimension, and cuts off where a width is negative.
    return pad(dilated, [width for pair in reversed(around) for width in pair])


def _windows(
    X: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Flattened windows of a padded X, (n, c, m, ...), in the form of ``receptive_fields``."""
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), start=2):
        X = X.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    # Now (n, c, positions ..., kernel ...). Rows run by channel first, so each group's channels
    # lie together.
    spatial = len(kernel)
    inside, outside = range(2 + spatial, 2 + 2 * spatial), range(2, 2 + spatial)
    positions = math.prod(X.shape[2 : 2 + spatial])
    return X.permute(0, 1, *inside, *outside).reshape(len(X), groups, -1, positions)


def linear_part(
    module: LinearModule, output: Shaped[Tensor, "n ..."]
) -> Shaped[Tensor, "n d positions"]:
    """Ȳ: a layer's output minus its bias, positions last.

    Parameters
    ----------
    output
        shape (n, d, ...) for a convolution, (n, ..., d) for a fully connected layer.

    Returns
    -------
    shape (n, d, positions)
    """
    if isinstance(module, nn.Linear):
        output = output.reshape(len(output), -1, output.shape[-1]).transpose(1, 2)
    Y = output.reshape(len(output), output.shape[1], -1)
    return Y if module.bias is None else Y - module.bias.reshape(1, -1, 1)


def mean_of_images(
    output: Tensor, images: int, *, channels_last: bool, image_axis: int = 0
) -> Float[Tensor, "{images} d"]:
    """Mean of a layer's input or output over the positions of each image.

    Parameters
    ----------
    output
        shape (n, d, ...), or with channels last (..., d).
    images
        n. Where the image axis is k times as long (an image cut into k windows, or all
        positions of all images in one column), each image's k rows lie together.
    image_axis
        anywhere before the channels.

    Returns
    -------
    shape (images, d), at least float32; may share the memory of ``output``.

    Raises
    ------
    ValueError
        If the length of the image axis is not a multiple of ``images``.
    """
    rows = output.shape[image_axis]
    if rows % images:
        raise ValueError(f"an output has {rows} rows for {images} images")
    channel_axis = output.ndim - 1 if channels_last else 1
    positions = [a for a in range(output.ndim) if a not in (image_axis, channel_axis)]
    dtype = torch.promote_types(output.dtype, torch.float32)
    mean = output.mean(positions, dtype=dtype) if positions else output.to(dtype)
    # All windows have equally many positions, so the mean of their means is the mean of all.
    return mean if rows == images else mean.reshape(images, -1, mean.shape[-1]).mean(dim=1)
