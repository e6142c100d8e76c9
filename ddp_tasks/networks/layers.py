"""The linear layers of a network, in the order of its forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.networks.linear_calls import (
    LinearCall,
    LinearCalls,
    ModuleCalls,
    Steps,
    hides_projections,
)
from ddp_tasks.weights.unfolding import transposed_filters, unfold_weight


@dataclass(frozen=True)
class Source:
    """Where a layer's weight or bias is stored in the network."""

    path: str | None
    """of an attribute of the network; None if the forward pass computes the tensor."""
    rows: tuple[int, int] | None = None
    """the first row and the one after the last, if only some rows are the layer's."""
    transposed: bool = False
    """whether the matrix has a column for each output channel."""
    computed: Tensor | None = field(default=None, compare=False, repr=False)
    """the tensor as the tracing pass computed it."""

    def of(self, model: nn.Module) -> Tensor:
        """The tensor, from the network as it is now."""
        if self.path is None:
            assert self.computed is not None
            return self.computed
        module, _, own = self.path.rpartition(".")
        tensor: Tensor = getattr(model.get_submodule(module), own)
        tensor = tensor if self.rows is None else tensor[slice(*self.rows)]
        return tensor.transpose(0, 1) if self.transposed else tensor


@dataclass(frozen=True)
class LinearLayer:
    """One use of the weight of a convolution or a fully connected layer in a forward pass."""

    name: str
    """of the module; of the parameter if the network uses it without a module; NAME.q, .k, .v
    and .out_proj for the projections of the multi-head attention NAME; NAME@2 for a second use."""
    module: str
    """that owns the weight."""
    call: int
    kind: str
    """Linear, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d or ConvTranspose3d."""
    shape: tuple[int, ...]
    """(d, c / groups, k, ...): output channels first, also for transposed convolutions."""
    groups: int
    weight: Source = field(default=Source(None), compare=False)
    bias: Source | None = field(default=None, compare=False)
    input_shape: tuple[int, ...] = field(default=(), compare=False)
    """for one image: (c, m, ...) of a convolution, (..., c) of a fully connected layer; preceded by
    the number of windows if each image is cut into windows."""
    output_shape: tuple[int, ...] = field(default=(), compare=False)
    """for one image, likewise."""
    stride: Steps = field(default=1, compare=False)
    padding: Steps | str = field(default=0, compare=False)
    dilation: Steps = field(default=1, compare=False)
    """of a convolution; padding with other values than zeros is part of ``input_shape``."""
    image_axis: int = field(default=0, compare=False)
    """in the output that ``attach`` gives: 1 if sequences come first, as inside attention."""
    plain: bool = field(default=False, compare=False)
    """whether every use of the weight is a plain call of its module; see ``LinearCall.plain``."""

    @property
    def unfolded_shape(self) -> tuple[int, int]:
        """Shape of the unfolded weight, (d, c*k*k / groups)."""
        return self.shape[0], math.prod(self.shape[1:])

    @property
    def greatest_rank(self) -> int:
        """The rank of the block-diagonal unfolded weight, unless it is deficient."""
        d, columns = self.unfolded_shape
        return self.groups * min(d // self.groups, columns)


@dataclass(frozen=True)
class Layers:
    """The layers and properties of a network that the tracing passes found."""

    linear: tuple[LinearLayer, ...]
    #: Modules and parameters that are not analysed, and why.
    not_analysed: dict[str, str]
    #: Number of classes that the network distinguishes.
    outputs: int
    #: How the network takes its images and gives its scores.
    convention: CallingConvention = AS_THEY_COME
    #: Images, shape (n, ...); together they reach all layers.
    images: Tensor = field(default_factory=lambda: torch.empty(0), compare=False, repr=False)


def weight(model: nn.Module, layer: LinearLayer) -> Tensor:
    """A layer's weight with its output channels first, as the forward pass uses it.

    Returns
    -------
    shape ``layer.shape``
    """
    W = layer.weight.of(model)
    transposed = layer.kind.startswith("ConvTranspose")
    return transposed_filters(W, layer.groups) if transposed else W


def without_zeros(model: nn.Module, layers: Layers) -> Layers:
    """The layers of a network without those of zero weight, which have no singular vectors."""
    zero = {
        layer.name: f"{layer.kind} whose weight is zero: it has no singular vectors"
        for layer in layers.linear
        if not bool(weight(model, layer).any())
    }
    kept = tuple(layer for layer in layers.linear if layer.name not in zero)
    return replace(layers, linear=kept, not_analysed={**layers.not_analysed, **zero})


def unfolded_weight(model: nn.Module, layer: LinearLayer) -> Tensor:
    """The unfolded weight W̄ of a layer; with ``layer.groups``, what ``decompose`` takes.

    Returns
    -------
    shape (d, c*k*k / groups)
    """
    return unfold_weight(weight(model, layer))


def bias(model: nn.Module, layer: LinearLayer) -> Tensor | None:
    """A layer's bias, shape (d,), or None."""
    return None if layer.bias is None else layer.bias.of(model)


class PathError(ValueError):
    """Only some images of a batch reach a layer."""

    def __init__(self, layer: str, how: str) -> None:
        super().__init__(
            f"layer {layer} is reached {how} of a batch: the path of an image depends on the "
            "images; shards.batch_size: 1 lets each pass by itself"
        )


@contextmanager
def means_read(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    read: Callable[[str, Tensor], None],
    *,
    steady: bool = False,
) -> Iterator[Callable[[Tensor], Any]]:
    """A forward pass that calls ``read`` with every layer's name and the mean of its Ȳ.

    Ȳ is the layer's output minus its bias. Its mean over the positions of each image, shape
    (n, d) and at least float32, is taken when the output is made. Afterwards all hooks are removed
    from the network and torch, whatever happens.

    Parameters
    ----------
    steady
        whether all images take the same path through the network, so that layers that were plain
        in the tracing still are.
    """

    def heard(layer: LinearLayer, call: LinearCall, images: int) -> None:
        if images == 1 and not math.prod(call.output_shape):
            # Parts of an image take different paths, and none reached this layer.
            return
        try:
            mean = call.linear_mean(images, layer.image_axis)
        except ValueError:
            rows = call.output_shape[layer.image_axis]
            raise PathError(layer.name, f"with {rows} rows for {images} images") from None
        read(layer.name, mean)

    with calls_heard(model, layers, heard, steady=steady) as forward:
        yield forward


@contextmanager
def calls_heard(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    heard: Callable[[LinearLayer, LinearCall, int], Tensor | None],
    *,
    steady: bool = False,
) -> Iterator[Callable[[Tensor], Any]]:
    """A forward pass that calls ``heard`` whenever a layer makes its output.

    ``heard`` takes the layer, the call, and the number of images given to the network. What it
    keeps of the output must be a new tensor, since an in-place activation may follow. If it gives
    back a tensor, the network goes on with that one in place of the output. Afterwards all hooks
    are removed from the network and torch, whatever happens.

    Parameters
    ----------
    steady
        as in ``means_read``.
    """
    hooks, calls = _listening(model, layers, heard, steady)

    def forward(images: Tensor) -> Any:
        with calls:
            return whole_output(model(images))

    with hooks:
        yield forward


def numbered_name(base: str, number: int) -> str:
    """The name of the use of a weight with this number."""
    return base if number == 1 else f"{base}@{number}"


class Attachment:
    """The hooks that ``attach`` has set in a network and in torch, until they are removed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def remove(self) -> None:
        """Remove the hooks."""
        self._stack.close()


def attach(
    model: nn.Module, layers: tuple[LinearLayer, ...], read: Callable[[str, Tensor], None]
) -> list[Attachment]:
    """Have ``read(layer name, output)`` called whenever a layer makes its output.

    The output must be reduced inside ``read``: an in-place activation after the layer
    overwrites the tensor. The images are along ``layer.image_axis``. Query, key and value
    projections are computed again for ``read``, since attention does not return its own; if means
    are enough, use ``means_read``. The caller removes the handles, last first, in the same thread.
    """

    def heard(layer: LinearLayer, call: LinearCall, images: int) -> None:
        read(layer.name, call.output)

    hooks, calls = _listening(model, layers, heard)
    with hooks as stack:
        stack.enter_context(calls)
        return [Attachment(stack.pop_all())]


def _listening(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    heard: Callable[[LinearLayer, LinearCall, int], Tensor | None],
    steady: bool = False,
) -> tuple[ExitStack, LinearCalls | ModuleCalls]:
    """Hooks that are set, and a context that reports the calls of layers within it."""
    by_name = {layer.name: layer for layer in layers}
    numbers: dict[str, int] = {}

    def tell(call: LinearCall) -> Tensor | None:
        if call.name is None:
            return None
        number = numbers[call.name] = numbers.get(call.name, 0) + 1
        layer = by_name.get(numbered_name(call.name, number))
        return None if layer is None else heard(layer, call, calls.images)

    calls: LinearCalls | ModuleCalls
    if steady and all(layer.plain for layer in layers) and not hides_projections(model):
        calls = ModuleCalls(model, [layer.module for layer in layers], tell)
    else:
        calls = LinearCalls(model, tell)
    hooks = calls.hook(lambda module: numbers.clear() if module is model else None)
    return hooks, calls
