"""One forward pass of the tracing: the weights that it used, and its output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.class_scores import scores_part, whole_output
from ddp_tasks.networks.differing_modules import close
from ddp_tasks.networks.layers import LinearLayer, Source, numbered_name
from ddp_tasks.networks.linear_calls import LINEAR, LinearCall, LinearCalls
from ddp_tasks.networks.not_analysed import ParameterUses, own_parameters


@dataclass(frozen=True)
class Met:
    """The notes of a pass about one use of a weight; they hold no activations."""

    known: bool
    """whether the weight belongs to the network."""
    module: str
    number: int
    kind: str
    groups: int
    shape: tuple[int, ...]
    images: int
    """number of images of the pass."""
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    steps: dict[str, Any]
    """stride, padding and dilation."""
    mean: Tensor
    """of Ȳ over everything but the channels, shape (1, d)."""
    means: dict[int, Tensor]
    """mean of Ȳ for each image, by every axis that might be the axis of images."""
    weight: Source
    bias: Source | None
    parameters: frozenset[str]
    """names of the parameters that weight and bias are or are computed from."""

    def same_weights(self, again: Met) -> bool:
        """Whether another use has the same weight and bias; only computed ones are compared."""
        for source, other in ((self.weight, again.weight), (self.bias, again.bias)):
            if source is not None and other is not None and source.path is None:
                computed, again_computed = source.computed, other.computed
                if computed is None or again_computed is None:
                    return False
                if not same_tensor(computed, again_computed):
                    return False
        return True

    def same_mean(self, again: Met, tolerance: float) -> bool:
        """Whether another use gives the same mean over all axes but the channels."""
        return close(self.mean, again.mean, tolerance)

    def layer(self, name: str, axis: int, plain: bool) -> LinearLayer:
        """The layer of this use of a weight, with its images along ``axis``."""
        return LinearLayer(
            name=name,
            module=self.module,
            call=self.number,
            kind=self.kind,
            shape=self.shape,
            groups=self.groups,
            weight=self.weight,
            bias=self.bias,
            input_shape=_of_one_image(self.input_shape, self.images, axis),
            output_shape=_of_one_image(self.output_shape, self.images, axis),
            **self.steps,
            image_axis=axis,
            plain=plain,
        )


class Pass:
    """One forward pass, and the weights and modules that it used."""

    def __init__(self, model: nn.Module, convention: CallingConvention) -> None:
        self.met: dict[str, Met] = {}
        self.called: set[nn.Module] = set()
        self.not_plain: set[str] = set()
        """layers, without the number of the call, with a call that is not a plain module's."""
        self.uses = ParameterUses(model)
        self.scores: Tensor
        """shape (images given, classes)."""
        self.overwritten = False
        """whether the network changed its input."""
        self.ends_in_sigmoid = False
        """whether the scores are one number per image, given by a sigmoid."""
        self._model, self._convention = model, convention
        self._own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._calls = LinearCalls(model, self._note)
        self._numbers: dict[str, int] = {}

    def run(self, images: Tensor) -> None:
        """Run images through the network, in the form in which it takes them.

        Raises
        ------
        ValueError
            If it does not give one row of class scores for each image.
        """
        given = self._convention.inputs(images)
        with self._calls.hook(self.called.add), self._calls, self.uses:
            output = whole_output(self._model(given))
        self.overwritten = not close(self._convention.inputs(images), given, 0)
        made = scores_part(output, len(given), self._convention.output)
        last = self.uses.last_sigmoid
        self.ends_in_sigmoid = (
            last is not None and made.numel() == len(given) and _share_memory(made, last)
        )
        convention = replace(self._convention, sigmoid=self.ends_in_sigmoid)
        self.scores = convention.scores(output, len(given)).detach()

    def repeated_by(self, again: Pass, of_scores: float, of_means: float) -> bool:
        """Whether a pass of the same images gave the same scores and means, within tolerances."""
        return (
            list(self.met) == list(again.met)
            and close(self.scores, again.scores, of_scores)
            and all(met.same_mean(again.met[name], of_means) for name, met in self.met.items())
        )

    def _note(self, call: LinearCall) -> None:
        base = call.name or f"{call.module or type(self._model).__name__}.{call.kind}"
        number = self._numbers[base] = self._numbers.get(base, 0) + 1
        if not call.plain:
            self.not_plain.add(base)
        shape, images = call.output_shape, self._calls.images
        # Images are the first axis of a convolution, any but the last of a fully connected layer.
        axes = range(len(shape) - 1) if call.kind == "Linear" else range(1)
        whole_weight, whole_bias = call.whole
        weight = self._source(call, call.weight, whole_weight, "weight")
        bias = None if call.bias is None else self._source(call, call.bias, whole_bias, "bias")
        self.met[numbered_name(base, number)] = Met(
            known=call.name is not None,
            module=call.module,
            number=number,
            kind=call.kind,
            groups=call.groups,
            shape=tuple(call.filters.shape),
            images=images,
            input_shape=tuple(call.input.shape),
            output_shape=shape,
            steps={key: getattr(call, key) for key in ("stride", "padding", "dilation")},
            mean=call.linear_mean(1, 0),
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
        if isinstance(attribute, Tensor) and same_tensor(attribute, tensor):
            return Source(f"{call.module}.{own}" if call.module else own)
        return Source(None, computed=tensor.detach())

    def _parameters(self, call: LinearCall, *sources: Source | None) -> frozenset[str]:
        module = call.module
        owner = self._model.get_submodule(module)
        paths = [source.path for source in sources if source is not None]
        names = {path for path in paths if path is not None}
        # If a linear module computes its weight, it does so from its own parameters; it may keep
        # the result as an attribute, as weight_norm and pruning do.
        computed = any(path is None or path not in self._own for path in paths)
        if is_parametrized(owner) or (computed and isinstance(owner, LINEAR)):
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


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same values."""
    return a is b or (not a.is_meta and a.shape == b.shape and torch.equal(a, b))


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _of_one_image(shape: tuple[int, ...], images: int, axis: int) -> tuple[int, ...]:
    windows = shape[axis] // images
    rest = shape[:axis] + shape[axis + 1 :]
    return rest if windows == 1 else (windows, *rest)
