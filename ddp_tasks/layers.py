"""The linear layers of a network, in the order of its forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from ddp_tasks.class_scores import class_scores
from ddp_tasks.linear_calls import LINEAR, LinearCall, LinearCalls, Steps
from ddp_tasks.not_analysed import ParameterUses, not_analysed, own_parameters
from ddp_tasks.unfolding import transposed_filters, unfold_weight


@dataclass(frozen=True)
class Source:
    """Where a layer's weight or bias is found."""

    path: str | None
    """of an attribute of the network; None where the forward pass computes the tensor."""
    rows: tuple[int, int] | None = None
    """the first and the one after the last row, where only some of them are the layer's."""
    transposed: bool = False
    """a matrix with a column for each output channel."""
    computed: Tensor | None = field(default=None, compare=False, repr=False)
    """as the tracing pass computed it."""

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
    """of the module; of the parameter where the network uses it without a module; NAME.q, .k, .v
    and .out_proj for the projections of the multi-head attention NAME; NAME@2 for a second use."""
    module: str
    """that owns the weight."""
    call: int
    kind: str
    """Linear, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d or ConvTranspose3d."""
    shape: tuple[int, ...]
    """(d, c / groups, k, ...): output channels first, of transposed convolutions too."""
    groups: int
    weight: Source = field(default=Source(None), compare=False)
    bias: Source | None = field(default=None, compare=False)
    input_shape: tuple[int, ...] = field(default=(), compare=False)
    """of one image: (c, m, ...) of a convolution, (..., c) of a fully connected layer; before
    these the number of windows, where each image is cut into some."""
    output_shape: tuple[int, ...] = field(default=(), compare=False)
    """of one image, likewise."""
    stride: Steps = field(default=1, compare=False)
    padding: Steps | str = field(default=0, compare=False)
    dilation: Steps = field(default=1, compare=False)
    """of a convolution; padding that is no zeros is part of ``input_shape`` instead."""
    image_axis: int = field(default=0, compare=False)
    """of the output that ``attach`` gives: 1 where sequences come first, as inside attention."""

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
    """What one forward pass met."""

    linear: tuple[LinearLayer, ...]
    #: Modules and parameters that are not analysed, and why.
    not_analysed: dict[str, str]
    outputs: int


def weight(model: nn.Module, layer: LinearLayer) -> Tensor:
    """A layer's weight with its output channels first, as the forward pass uses it.

    Returns
    -------
    shape ``layer.shape``
    """
    W = layer.weight.of(model)
    transposed = layer.kind.startswith("ConvTranspose")
    return transposed_filters(W, layer.groups) if transposed else W


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


def trace_layers(model: nn.Module, images: Tensor) -> Layers:
    """Run images through a network and note its linear layers as their weights are used.

    A weight used a second time in one forward pass is a layer of its own, NAME@2. The network
    runs a second time with other images behind these: what grows is the image axis (sequences
    may come first, windows may lie below one another), and what changes is no weight. Lazy
    modules get their weights.

    Parameters
    ----------
    model
        in evaluation mode.
    images
        shape (n, c, m, n); one image is enough.

    Raises
    ------
    ValueError
        If the network does not give one row of class scores for each image, or is compiled: by
        torch.jit as a whole, or by torch.compile anywhere.
    """
    if isinstance(model, torch.jit.ScriptModule) or any(map(_is_compiled, model.modules())):
        raise ValueError("the network is compiled, which hides its layers; give it uncompiled")
    # Not inference mode: what lazy modules make here is used where gradients are.
    with torch.no_grad():
        if any(is_lazy(p) for p in model.parameters()):
            model(images)
        first = _Pass(model)
        scores = class_scores(first.run(images), len(images))
        second = _Pass(model)
        second.run(torch.cat([images, _other(images)]))
    found: list[LinearLayer] = []
    refused: dict[str, str] = {}
    for name, met in first.met.items():
        again = second.met.get(name, met)
        axis = _image_axis(met, again, len(images))
        if (reason := _refusal(met, again, axis)) is not None:
            refused[name] = reason
        else:
            found.append(_layer(name, met, len(images), axis or 0))
    used = {parameter for met in first.met.values() for parameter in met.parameters}
    left_out = not_analysed(model, used, first.called, first.uses.functions)
    return Layers(tuple(found), {**left_out, **refused}, int(scores.shape[1]))


@contextmanager
def means_read(
    model: nn.Module, layers: tuple[LinearLayer, ...], read: Callable[[str, Tensor], None]
) -> Iterator[Callable[[Tensor], Any]]:
    """A forward pass that gives ``read`` every layer's name and the mean of its Ȳ.

    Ȳ is the layer's output less its bias; its mean over the positions of each image, shape
    (n, d) and at least float32, is taken where the output is made. Nothing is left of it in the
    network or in torch afterwards, whatever happens.
    """

    def heard(layer: LinearLayer, call: LinearCall, images: int) -> None:
        read(layer.name, call.linear_mean(images, layer.image_axis))

    hooks, calls = _listening(model, layers, heard)

    def forward(images: Tensor) -> Any:
        with calls:
            return model(images)

    with hooks:
        yield forward


class Attachment:
    """What ``attach`` has put into a network and into torch, until it is removed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def remove(self) -> None:
        """Take it out again."""
        self._stack.close()


def attach(
    model: nn.Module, layers: tuple[LinearLayer, ...], read: Callable[[str, Tensor], None]
) -> list[Attachment]:
    """Have ``read(layer name, output)`` called wherever a layer makes its output.

    The output must be reduced inside ``read``: an in-place activation after the layer
    overwrites the tensor. The images are along ``layer.image_axis``. Query, key and value
    projections are computed for ``read``, since attention keeps its own; where means do, use
    ``means_read``. Whoever attaches removes the handles, last first, in the same thread.
    """
    hooks, calls = _listening(model, layers, lambda layer, call, _: read(layer.name, call.output))
    with hooks as stack:
        stack.enter_context(calls)
        return [Attachment(stack.pop_all())]


def _listening(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    heard: Callable[[LinearLayer, LinearCall, int], None],
) -> tuple[ExitStack, LinearCalls]:
    """Hooks that are set, and the mode that tells of the calls of layers while it is entered."""
    by_name = {layer.name: layer for layer in layers}
    numbers: dict[str, int] = {}

    def tell(call: LinearCall) -> None:
        if call.name is not None:
            number = numbers[call.name] = numbers.get(call.name, 0) + 1
            layer = by_name.get(_name(call.name, number))
            if layer is not None:
                heard(layer, call, calls.images)

    calls = LinearCalls(model, tell)
    hooks = calls.hook(lambda module: numbers.clear() if module is model else None)
    return hooks, calls


@dataclass(frozen=True)
class _Met:
    """What one pass of the tracing notes of one use of a weight; it holds no activations."""

    known: bool
    """whether the weight is the network's."""
    module: str
    number: int
    kind: str
    groups: int
    shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    steps: dict[str, Any]
    """stride, padding and dilation."""
    means: dict[int, Tensor]
    """mean of Ȳ for each image, for every axis that might be the images'."""
    weight: Source
    bias: Source | None
    parameters: frozenset[str]
    """that the weight and the bias are, or are computed from."""


class _Pass:
    """One forward pass of the tracing."""

    def __init__(self, model: nn.Module) -> None:
        self.met: dict[str, _Met] = {}
        self.called: set[nn.Module] = set()
        self.uses = ParameterUses(model)
        self._model = model
        self._calls = LinearCalls(model, self._note)
        self._numbers: dict[str, int] = {}

    def run(self, images: Tensor) -> Any:
        with self._calls.hook(self.called.add), self._calls, self.uses:
            return self._model(images)

    def _note(self, call: LinearCall) -> None:
        base = call.name or f"{call.module or type(self._model).__name__}.{call.kind}"
        number = self._numbers[base] = self._numbers.get(base, 0) + 1
        shape, images = call.output_shape, self._calls.images
        # The images of a convolution are its first axis, of a fully connected layer any but last.
        axes = range(len(shape) - 1) if call.kind == "Linear" else range(1)
        whole_weight, whole_bias = call.whole
        weight = self._source(call, call.weight, whole_weight, "weight")
        bias = None if call.bias is None else self._source(call, call.bias, whole_bias, "bias")
        self.met[_name(base, number)] = _Met(
            known=call.name is not None,
            module=call.module,
            number=number,
            kind=call.kind,
            groups=call.groups,
            shape=tuple(call.filters.shape),
            input_shape=tuple(call.input.shape),
            output_shape=shape,
            steps={key: getattr(call, key) for key in ("stride", "padding", "dilation")},
            means={
                axis: call.linear_mean(images, axis)
                for axis in axes
                if shape[axis] % images == 0 and not call.weight.is_meta
            },
            weight=weight,
            bias=bias,
            parameters=self._parameters(call, weight, bias),
        )

    def _source(self, call: LinearCall, tensor: Tensor, whole: Tensor | None, own: str) -> Source:
        name = self._calls.parameter(tensor if whole is None else whole)
        if name is not None:
            source = _part(name, self._model.get_parameter(name), tensor)
            if source is not None:
                return source
        attribute = getattr(self._model.get_submodule(call.module), own, None)
        if isinstance(attribute, Tensor) and _same(attribute, tensor):
            return Source(f"{call.module}.{own}" if call.module else own)
        return Source(None, computed=tensor.detach())

    def _parameters(self, call: LinearCall, *sources: Source | None) -> frozenset[str]:
        module = call.module
        owner = self._model.get_submodule(module)
        paths = [source.path for source in sources if source is not None]
        names = {path for path in paths if path is not None}
        # A weight that a linear module computes, it computes from its own parameters.
        if is_parametrized(owner) or (None in paths and isinstance(owner, LINEAR)):
            names |= {f"{module}.{name}".removeprefix(".") for name in own_parameters(owner)}
        return frozenset(names)


def _part(name: str, parameter: Tensor, tensor: Tensor) -> Source | None:
    """A tensor as a parameter, its transpose or some of its rows; None if it is none of these."""
    if tensor.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr():
        return None
    offset = int(tensor.storage_offset() - parameter.storage_offset())
    if (tensor.shape, tensor.stride(), offset) == (parameter.shape, parameter.stride(), 0):
        return Source(name)
    if tensor.ndim == 2 and _same_layout(tensor.T, parameter) and offset == 0:
        return Source(name, transposed=True)
    rows, beyond = divmod(offset, parameter.stride(0)) if parameter.ndim else (0, 1)
    if not beyond and _same_layout(tensor[:0], parameter[:0]):
        return Source(name, rows=(rows, rows + len(tensor)))
    return None


def _same_layout(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.stride()) == (b.shape, b.stride())


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (not a.is_meta and a.shape == b.shape and torch.equal(a, b))


def _image_axis(met: _Met, again: _Met, images: int) -> int | None:
    """The axis that grows with the number of images; None where none does."""
    shape, grown = met.output_shape, again.output_shape
    for axis in range(len(shape) - 1 if met.kind == "Linear" else 1):
        twice = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
        # A layer that the second pass left out has its images first, as far as can be told.
        if shape[axis] % images == 0 and (grown == twice or again is met):
            return axis
    return None


def _refusal(met: _Met, again: _Met, axis: int | None) -> str | None:
    """Why a use of a weight is not analysed, if it is not."""
    if not met.known:
        return f"{met.kind} whose weight is no parameter of the network"
    for source, other in ((met.weight, again.weight), (met.bias, again.bias)):
        if source is not None and other is not None and source.path is None:
            computed, again_computed = source.computed, other.computed
            if computed is None or again_computed is None or not _same(computed, again_computed):
                return f"{met.kind} whose weight or bias depends on the images"
    if axis is None:
        return f"{met.kind} whose input has no axis of images: it is the same for all"
    mean, other_mean = met.means.get(axis), again.means.get(axis)
    if mean is not None and other_mean is not None and bool(torch.isfinite(mean).all()):
        # The same images among others: sums may run in another order, not more.
        difference = (mean - other_mean[: len(mean)]).abs().max()
        if bool(difference > 1e-2 * mean.abs().max()):
            return f"{met.kind} whose rows of one image do not lie together"
    return None


def _layer(name: str, met: _Met, images: int, axis: int) -> LinearLayer:
    return LinearLayer(
        name=name,
        module=met.module,
        call=met.number,
        kind=met.kind,
        shape=met.shape,
        groups=met.groups,
        weight=met.weight,
        bias=met.bias,
        input_shape=_of_one_image(met.input_shape, images, axis),
        output_shape=_of_one_image(met.output_shape, images, axis),
        **met.steps,
        image_axis=axis,
    )


def _of_one_image(shape: tuple[int, ...], images: int, axis: int) -> tuple[int, ...]:
    windows = shape[axis] // images
    rest = shape[:axis] + shape[axis + 1 :]
    return rest if windows == 1 else (windows, *rest)


def _is_compiled(module: nn.Module) -> bool:
    # Known by its name: importing its type loads the whole compiler.
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or type(module).__name__ == "OptimizedModule"


def _name(base: str, number: int) -> str:
    return base if number == 1 else f"{base}@{number}"


def _other(images: Tensor) -> Tensor:
    """Different images that a network for the first ones takes: paler, and mirrored."""
    mirrored = images.flip(-1)
    return mirrored * 0.5 + 0.25 if images.is_floating_point() else mirrored
