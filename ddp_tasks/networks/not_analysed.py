"""Everything with weights that is not analysed, and why: nothing is dropped silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from ddp_tasks.networks.linear_calls import LINEAR

_NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_CONTAINERS = (nn.ModuleList, nn.ModuleDict)
_NO_FORWARD = (*_CONTAINERS, nn.ParameterList, nn.ParameterDict)

_REASONS = (
    (_NORMALISATIONS, "scales each channel by itself, which is no linear layer of the paper"),
    ((nn.Embedding, nn.EmbeddingBag), "looks rows up, which is no linear layer of the paper"),
    ((nn.RNNBase, nn.RNNCellBase), "is recurrent: its linear maps are made inside one function"),
    (
        (*LINEAR, nn.MultiheadAttention),
        "whose forward pass gives its weight to no function of its kind",
    ),
)


class ParameterUses(TorchFunctionMode):
    """Notes the names of the functions that take a network's parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._parameters = {id(p): name for name, p in model.named_parameters()}
        #: Functions by the parameter's name, in the order of their first use.
        self.functions: dict[str, dict[str, None]] = defaultdict(dict)
        #: Output of the last sigmoid.
        self.last_sigmoid: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function."""
        kwargs = kwargs or {}
        function = getattr(func, "__name__", str(func)).strip("_")
        # Reading an attribute or a size does not use the values of the parameter.
        if function not in {"get", "size", "dim", "is_contiguous", "len"}:
            self._note((*args, *kwargs.values()), function)
        output = func(*args, **kwargs)
        # torch.export adds the variant to the name of a function.
        if function.partition(".")[0].strip("_") in {"sigmoid", "expit"}:
            self.last_sigmoid = output
        return output

    def _note(self, given: Collection[Any], function: str) -> None:
        for value in given:
            if isinstance(value, list | tuple):
                self._note(value, function)
            elif isinstance(value, Tensor) and (name := self._parameters.get(id(value))):
                self.functions[name][function] = None


def not_analysed(
    model: nn.Module,
    analysed: Collection[str],
    called: Collection[nn.Module],
    uses: Mapping[str, Collection[str]],
) -> dict[str, str]:
    """Modules with their own weights, and single parameters, that no layer analyses.

    Modules of torch's own types are listed as modules; parameters of the network itself, or of
    modules that its author wrote, are listed one by one.

    Parameters
    ----------
    analysed
        names of the parameters that analysed layers use or are computed from.
    called
        the modules that the forward pass called.
    uses
        functions that took each parameter.

    Returns
    -------
    the reason, by name of the module or parameter
    """
    everything = dict(model.named_parameters(remove_duplicate=False))
    # A shared parameter has several names.
    done = {id(p) for name, p in everything.items() if name in analysed}
    reasons: dict[str, str] = {}
    for name, module in model.named_modules():
        own = [f"{name}.{p}".removeprefix(".") for p in own_parameters(module)]
        left = [p for p in own if id(everything[p]) not in done]
        if not left or "parametrizations" in name.split("."):
            continue
        kind = _kind(module)
        reason = _reason(module, used=any(p in uses for p in left), called=module in called)
        if reason is not None and len(left) == len(own):
            reasons[name or kind] = f"{kind} {reason}{_within(model, name, called)}"
        else:
            reasons |= {p: f"parameter of {kind} {_use(uses.get(p, ()))}" for p in left}
    return {**reasons, **quantised_modules(model)}


def quantised_modules(model: nn.Module) -> dict[str, str]:
    """Modules whose weights are packed integers and therefore no parameters."""
    reasons: dict[str, str] = {}
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in reasons):
            continue
        of_torch = "quantized" in type(module).__module__.split(".")
        if of_torch and any(map(_is_packed, module.state_dict().values())):
            kind = _kind(module)
            reasons[name or kind] = f"{kind} is quantised, and holds no weight as numbers"
    return reasons


def _is_packed(value: Any) -> bool:
    return isinstance(value, tuple) or (isinstance(value, Tensor) and value.is_quantized)


def own_parameters(module: nn.Module) -> list[str]:
    """Names within a module of its own parameters, including those of its parametrizations."""
    return [
        name
        for name, _ in module.named_parameters()
        if "." not in name or name.startswith("parametrizations.")
    ]


def _kind(module: nn.Module) -> str:
    # Parametrizing a module gives it a new class.
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name)
    return (type(module).__mro__[1] if is_parametrized(module) else type(module)).__name__


def _use(functions: Collection[str]) -> str:
    if not functions:
        return "that the forward pass never uses"
    listed = ", ".join(functions)
    return f"used in {listed}, not as the weight of a convolution or fully connected layer"


def _reason(module: nn.Module, *, used: bool, called: bool) -> str | None:
    """Why a module of a known type is not analysed; None if its parameters are listed instead."""
    if isinstance(module, torch.jit.ScriptModule):
        return "is compiled by torch.jit, which hides what it computes"
    if not called and not used and not isinstance(module, _NO_FORWARD):
        return "that the forward pass never calls"
    for kinds, reason in _REASONS:
        if isinstance(module, kinds):
            return reason
    return None


def _within(model: nn.Module, name: str, called: Collection[nn.Module]) -> str:
    """A remark on the outermost uncalled part around a module, such as an auxiliary head."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        outer = ".".join(parts[:length])
        module = model.get_submodule(outer)
        if module not in called and not isinstance(module, (*_NO_FORWARD, torch.jit.ScriptModule)):
            return f" (a part of {outer}, which evaluation leaves out)"
    return ""
