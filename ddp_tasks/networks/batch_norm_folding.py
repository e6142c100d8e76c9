"""Folding the BatchNorm that follows a layer into the layer's weights.

In evaluation mode a BatchNorm is an affine map of each channel, Y' = scale · Y + shift with
scale = γ / √(var + ε) and shift = β − mean · scale. If only the BatchNorm reads a layer's output,
the network never uses the layer without it: the two are one linear layer with
W' = diag(scale) W and b' = scale · b + shift. The paper decomposes the layers without folding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.layers import Attachment, LinearLayer, attach

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@dataclass(frozen=True)
class FoldedLayer:
    """A layer and the BatchNorm after it as one linear layer, in float64."""

    batch_norm: str
    """Name of the BatchNorm's module."""
    weight: Tensor
    """W', the shape of the layer's own weight."""
    bias: Tensor
    """b', shape (d,)."""
    scale: Tensor
    """shape (d,); Y' = scale · Y + shift, Y being the layer's own output."""
    shift: Tensor
    """shape (d,)."""

    def vectors_for_unfolded_means(self, U: Tensor) -> Tensor:
        """The factor that turns the layer's own mean output into the folded layer's signals.

        The folded layer's signals are U'ᵀ (mean Y' − b'), and mean Y' − b' is
        scale · (mean Y − b). So ``signals_of_means`` and ``extract``, given diag(scale) U'
        in place of U, compute them from the outputs and biases of the unchanged network.

        Parameters
        ----------
        U
            shape (d, r); left singular vectors of the unfolded W'.

        Returns
        -------
        shape (d, r)
        """
        return self.scale.to(U)[:, None] * U


@dataclass(frozen=True)
class Folding:
    """Which layers of a network have a BatchNorm folded into them."""

    layers: Mapping[str, FoldedLayer]
    refused: Mapping[str, str]
    """Layers read by a BatchNorm that are not folded, and why."""


def fold_batch_norms(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    images: Tensor,
    convention: CallingConvention = AS_THEY_COME,
) -> Folding:
    """Fold into each linear layer the BatchNorm that directly reads its output, if one does.

    The pairs are found by a forward pass, not by names: the BatchNorm must take the very tensor
    that the layer returns, and nothing else may use, modify or return it. A layer called twice is
    two layers, each folded with what follows its own call. The network itself is not changed.

    Parameters
    ----------
    model
        in evaluation mode.
    layers
        as ``trace_layers`` gives them.
    images
        shape (n, ...); together they reach all layers.
    convention
        how the network takes the images.

    Returns
    -------
    every layer that a BatchNorm reads is in one of the two mappings
    """
    kinds = {layer.name: model.get_submodule(layer.module) for layer in layers}
    device = next(model.parameters()).device
    uses = _trace_uses(model, layers, convention.batches(images, device))
    folded: dict[str, FoldedLayer] = {}
    refused: dict[str, str] = {}
    for layer in layers:
        name, module = layer.name, kinds[layer.name]
        readers = uses.batch_norms.get(name, [])
        if not readers:
            continue
        batch_norm = model.get_submodule(readers[0])
        reason = _reason_to_refuse(module, batch_norm, uses.axes[name])
        if len(readers) > 1:
            reason = f"{' and '.join(readers)} read its output"
        elif name in uses.others:
            reason = f"{uses.others[name]} uses its output, beside {readers[0]}"
        if reason is None:
            folded[name] = fold(module, batch_norm, readers[0])
        else:
            refused[name] = reason
    return Folding(folded, refused)


def fold(module: nn.Module, batch_norm: nn.Module, name: str = "") -> FoldedLayer:
    """W', b', scale and shift of a linear layer with the BatchNorm that reads its output.

    Parameters
    ----------
    module
        a convolution, transposed or not, or a fully connected layer.
    batch_norm
        in evaluation mode, with running statistics.
    name
        of the BatchNorm's module, to be kept.

    Raises
    ------
    ValueError
        If the pair is not one linear layer.
    """
    reason = _reason_to_refuse(module, batch_norm)
    if reason is not None:
        raise ValueError(reason)
    mean, var, gamma, beta = (
        _float64(batch_norm, key) for key in ("running_mean", "running_var", "weight", "bias")
    )
    epsilon = float(batch_norm.eps)  # type: ignore[arg-type]
    scale = torch.rsqrt(var + epsilon) * (1.0 if gamma is None else gamma)
    shift = (0.0 if beta is None else beta) - mean * scale
    weight = _float64(module, "weight")
    # (c, d / groups, k, k) of a transposed one: its filters, which lie group after group along the
    # second axis, side by side.
    transposed = isinstance(module, _TRANSPOSED)
    groups = int(module.groups) if transposed else 1  # type: ignore[arg-type]
    own = torch.cat(weight.chunk(groups), 1)
    # A fully connected layer is a convolution without positions here.
    folded, bias = fuse_conv_bn_weights(
        own, _float64(module, "bias"), mean, var, epsilon, gamma, beta, transposed
    )
    return FoldedLayer(name, torch.cat(folded.data.chunk(groups, 1)), bias.data, scale, shift)


def _float64(module: nn.Module, key: str) -> Any:
    """A module's tensor, or None if it has none."""
    value = getattr(module, key)
    return None if value is None else value.detach().to(torch.float64)


def _reason_to_refuse(
    module: nn.Module, batch_norm: nn.Module, axes: int | None = None
) -> str | None:
    """Why the pair is not one linear layer; ``axes`` is that of the layer's output, if known."""
    kind = type(batch_norm).__name__
    if type(batch_norm) not in BATCH_NORMS:
        return f"{kind} may do more than a BatchNorm does"
    if getattr(batch_norm, "running_mean", None) is None:
        return f"its {kind} keeps no running statistics, so it is no fixed linear map"
    if batch_norm.training:
        return f"its {kind} is in training mode, so it is no fixed linear map"
    if not isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        return f"{type(module).__name__} is neither a convolution nor fully connected"
    # A BatchNorm normalises the second axis: the channels of a batch of convolved images, but
    # the positions of a sequence and the rows of a single image.
    expected = 2 if isinstance(module, nn.Linear) else len(module.kernel_size) + 2
    if axes is not None and axes != expected:
        return f"its {kind} normalises another axis than the layer's filters"
    return None


class _Uses(TorchDispatchMode):
    """Notes every operation on a layer's output outside of a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        #: Kept until the pass is over, so that no later tensor gets the id of an output.
        self.outputs: dict[int, tuple[str, Tensor]] = {}
        self.axes: dict[str, int] = {}
        self.batch_norms: dict[str, list[str]] = {}
        self.others: dict[str, str] = {}
        self.inside_batch_norm = 0
        #: How often a BatchNorm reads a layer in one pass.
        self.times: dict[tuple[str, str], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.inside_batch_norm:
            self.note(self.others, (args, kwargs), func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))

    def note(self, uses: dict[str, str], values: object, what: str) -> None:
        for name in self.names_of(values):
            uses.setdefault(name, what)

    def names_of(self, values: object) -> list[str]:
        leaves = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
        return [self.outputs[id(value)][0] for value in leaves if id(value) in self.outputs]


def _trace_uses(
    model: nn.Module, layers: tuple[LinearLayer, ...], batches: Iterable[Tensor]
) -> _Uses:
    """The readers of each layer's output in forward passes.

    A tensor is followed by its id. An operation in between, in place or not, counts as a use of
    the output, however it is called. A module that returns its input, as Identity and Dropout do
    in evaluation mode, does not count.
    """
    uses = _Uses()

    def read(name: str, output: Tensor) -> None:
        uses.outputs[id(output)] = (name, output)
        uses.axes[name] = output.ndim

    def enter(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            for layer in uses.names_of((args, kwargs)):
                readers = uses.batch_norms.setdefault(layer, [])
                # Listed once for each time that it reads in one pass.
                number = uses.times[layer, name] = uses.times.get((layer, name), 0) + 1
                readers.extend([name] * (number - readers.count(name)))
            uses.inside_batch_norm += 1

        return hook

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        uses.inside_batch_norm -= 1

    handles: list[RemovableHandle | Attachment] = []
    try:
        handles += attach(model, layers, read)
        for name, module in model.named_modules():
            if isinstance(module, BATCH_NORMS):
                handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
                handles.append(module.register_forward_hook(leave))
        # Not inference_mode: the network may set its own buffers, which must stay usable.
        with torch.no_grad(), uses:
            for batch in batches:
                uses.times.clear()
                result = model(batch)
                uses.note(uses.others, result, "the network's own output")
    finally:
        for handle in reversed(handles):
            handle.remove()
    return uses
