"""The linear layers of a network, in the order of its forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

#: Module types whose unfolded weight is decomposed.
LINEAR = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class LinearLayer:
    """One call of a convolutional or fully connected module in a forward pass."""

    name: str
    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Layers:
    """What one forward pass met."""

    linear: tuple[LinearLayer, ...]
    #: Modules with weights of their own that are not analysed, and why.
    not_analysed: dict[str, str]
    outputs: int


def trace_layers(model: nn.Module, images: Tensor) -> Layers:
    """Run images through a network once and note its linear layers as they are called.

    A module called a second time in one forward pass is a layer of its own, NAME@2.

    Parameters
    ----------
    model
        in evaluation mode.
    images
        shape (n, c, m, n); one image is enough.

    Raises
    ------
    ValueError
        If the network does not give one row of class scores for each image.
    """
    names = {module: name for name, module in model.named_modules(remove_duplicate=True)}
    calls: dict[str, int] = {}
    found: list[LinearLayer] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        # A network that is one linear layer has no name inside itself.
        name = names[module] or type(module).__name__
        call = calls[name] = calls.get(name, 0) + 1
        if isinstance(module, LINEAR):
            found.append(
                LinearLayer(
                    name=name if call == 1 else f"{name}@{call}",
                    module=names[module],
                    call=call,
                    kind=type(module).__name__,
                    shape=tuple(module.weight.shape),
                    groups=getattr(module, "groups", 1),
                )
            )

    owners = [m for m in names if any(True for _ in m.parameters(recurse=False))]
    handles = [module.register_forward_hook(note) for module in owners]
    try:
        with torch.inference_mode():
            scores = model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"the network gives {shape} for {len(images)} images; a classifier gives one row of "
            "class scores for each"
        )
    return Layers(tuple(found), _not_analysed(owners, names, calls), int(scores.shape[1]))


def _not_analysed(
    owners: list[nn.Module], names: dict[nn.Module, str], calls: dict[str, int]
) -> dict[str, str]:
    reasons = {}
    for module in owners:
        kind = type(module).__name__
        name = names[module] or kind
        if not isinstance(module, LINEAR):
            reasons[name] = f"{kind} is not a Conv2d or Linear"
        elif name not in calls:
            reasons[name] = f"{kind} that the forward pass never calls as a module"
    return reasons


def attach(
    model: nn.Module, layers: tuple[LinearLayer, ...], read: Callable[[str, Tensor], None]
) -> list[RemovableHandle]:
    """Have ``read(layer name, output)`` called wherever a layer makes its output.

    The output must be reduced inside ``read``: an in-place activation after the layer
    overwrites the tensor. Whoever attaches removes the handles.
    """
    by_call = {(layer.module, layer.call): layer.name for layer in layers}
    calls: dict[str, int] = {}

    def start_counting(module: nn.Module, inputs: Any) -> None:
        calls.clear()

    def hook_of(module_name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            call = calls[module_name] = calls.get(module_name, 0) + 1
            if (name := by_call.get((module_name, call))) is not None:
                read(name, output)

        return hook

    modules = {layer.module for layer in layers}
    handles = [model.register_forward_pre_hook(start_counting)]
    handles += [model.get_submodule(m).register_forward_hook(hook_of(m)) for m in sorted(modules)]
    return handles
