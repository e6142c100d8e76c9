"""Finding the module that makes two passes differ: a second call, or one beside other images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class _Event:
    """The beginning or end of one module, with the tensors that it takes or gives."""

    module: str
    begins: bool
    inside: str
    """the module that was running then."""
    tensors: list[Tensor]


def first_difference(
    model: nn.Module, one: Callable[[], Any], other: Callable[[], Any], tolerance: float
) -> str:
    """What first differs between two forward passes, in words: a module, or the code between.

    Parameters
    ----------
    one, other
        run the network on batches that begin with the same images; if one has more images, only
        the first ones are compared.
    tolerance
        of a difference, relative to the greatest magnitude of the values compared.
    """
    events, others = _events(model, one), _events(model, other)
    previous = ""
    for event, again in zip(events, others, strict=False):
        if (event.module, event.begins) != (again.module, again.begins):
            return f"{_named(model, event.inside)} takes another path"
        same = len(event.tensors) == len(again.tensors) and all(
            _same(a, b, tolerance) for a, b in zip(event.tensors, again.tensors, strict=True)
        )
        if not same and not event.begins:
            return _named(model, event.module) + _habit(model.get_submodule(event.module))
        if not same:
            after = f", after {_named(model, previous)}" if previous else ""
            return f"{_named(model, event.inside)}, before {_named(model, event.module)}{after}"
        if not event.begins:
            previous = event.module
    return f"{_named(model, '')} itself"


def _events(model: nn.Module, run: Callable[[], Any]) -> list[_Event]:
    events: list[_Event] = []
    running: list[str] = []
    names = {module: name for name, module in model.named_modules()}

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        inside = running[-1] if running else ""
        if running:
            events.append(_Event(names[module], True, inside, _copies((args, kwargs))))
        running.append(names[module])

    def end(module: nn.Module, args: Any, output: Any) -> None:
        running.pop()
        events.append(_Event(names[module], False, names[module], _copies(output)))

    with ExitStack() as hooks:
        for module in names:
            if not isinstance(module, torch.jit.ScriptModule):
                for handle in (
                    module.register_forward_pre_hook(begin, with_kwargs=True),
                    module.register_forward_hook(end),
                ):
                    hooks.callback(handle.remove)
        run()
    return events


def _copies(values: Any) -> list[Tensor]:
    # Inputs and outputs of a module may be overwritten later.
    return [value.detach().clone() for value in tree_leaves(values) if isinstance(value, Tensor)]


def _same(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if one.ndim != other.ndim:
        return False
    for axis, (few, many) in enumerate(zip(one.shape, other.shape, strict=True)):
        if few < many:
            # The first images come first on the axis of images.
            other = other.narrow(axis, 0, few)
        elif few > many:
            one = one.narrow(axis, 0, many)
    return close(one, other, tolerance)


def close(one: Tensor, other: Tensor, tolerance: float, rows: int | None = None) -> bool:
    """Whether two tensors differ by at most a share of the greatest magnitude in either.

    Parameters
    ----------
    rows
        number of rows compared; the greatest magnitude is that of all rows.
    """
    largest = max(_greatest(one), _greatest(other)) if tolerance else 0.0
    if rows is not None:
        one, other = one[:rows], other[:rows]
    if one.shape != other.shape or one.is_meta or other.is_meta:
        return one.shape == other.shape
    if not one.numel():
        return True
    if not one.is_floating_point():
        return torch.equal(one, other)
    a, b = one.detach().double(), other.detach().double()
    return torch.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True)


def _greatest(values: Tensor) -> float:
    if values.is_meta or not values.numel() or not values.is_floating_point():
        return 0.0
    return float(values.detach().double().nan_to_num(posinf=0, neginf=0).abs().max())


def uses_the_batch(module: nn.Module) -> bool:
    """Whether a normalisation takes mean and variance from the batch."""
    norm = isinstance(module, _NormBase) and not isinstance(
        module, nn.modules.instancenorm._InstanceNorm
    )
    return norm and (module.training or module.running_mean is None)


def _habit(module: nn.Module) -> str:
    if uses_the_batch(module):
        why = "is left in training mode" if module.training else "keeps no running statistics"
        return f", which takes mean and variance from the batch since it {why}"
    if isinstance(module, _DropoutNd) and module.training:
        return ", which is left in training mode"
    return ""


def _named(model: nn.Module, name: str) -> str:
    kind = type(model.get_submodule(name)).__name__
    return f"module {name!r} ({kind})" if name else f"the network's own forward ({kind})"
