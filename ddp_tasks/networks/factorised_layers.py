"""Linear layers as two in sequence, Vᵀ and then U S, with some of their singular vectors.

What is left out of W = Σ sᵢ uᵢ vᵢᵀ changes nothing else: the first layer of a pair has the
geometry of the layer that it replaces, and the second acts on each position alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddp_tasks.callables import factories
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.models import unwrapped
from ddp_tasks.weights.tensor_svd import TensorSVD
from ddp_tasks.weights.unfolding import LinearModule
from schemas.run_error import RunError
from schemas.run_files import nearest

_TRANSPOSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.ConvTranspose1d: nn.Conv1d,
    nn.ConvTranspose2d: nn.Conv2d,
    nn.ConvTranspose3d: nn.Conv3d,
}
_KINDS: tuple[Any, ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@dataclass(frozen=True)
class Factorisable:
    """A module of a network that a pair of layers with fewer parameters may replace."""

    module: str
    layers: tuple[str, ...]
    """uses of its weight, as the run names its layers."""
    groups: int
    rows: int
    """d / groups, of each block of the unfolded weight."""
    columns: int
    """c*k*k / groups, likewise."""

    @property
    def parameters(self) -> int:
        """Of the weight; the bias stays as it is."""
        return self.groups * self.rows * self.columns

    @property
    def step(self) -> int:
        """Parameters of one singular vector of each block, left and right."""
        return self.groups * (self.rows + self.columns)

    @property
    def most(self) -> int:
        """Most singular vectors of each block with which a pair has fewer parameters."""
        return (self.parameters - 1) // self.step


def factorisable(
    model: nn.Module, layers: Iterable[LinearLayer]
) -> tuple[list[Factorisable], dict[str, str]]:
    """The modules of a network that pairs of layers may replace, and why others may not be.

    Parameters
    ----------
    layers
        that a tracing of the network found; several may be uses of one module.

    Returns
    -------
    modules in forward order; and by layer why it stays whole
    """
    by_module: dict[str, list[LinearLayer]] = {}
    for layer in layers:
        by_module.setdefault(layer.module, []).append(layer)
    owners = _owners(model)
    found, reasons = [], dict[str, str]()
    for name, uses in by_module.items():
        first = uses[0]
        whole = Factorisable(
            module=name,
            layers=tuple(layer.name for layer in uses),
            groups=first.groups,
            rows=first.shape[0] // first.groups,
            columns=math.prod(first.shape[1:]),
        )
        why = _whole_because(model, name, uses, owners)
        if not why and whole.most < 1:
            why = "two layers with one singular vector have no fewer parameters"
        if why:
            reasons |= dict.fromkeys(whole.layers, why)
        else:
            found.append(whole)
    return found, reasons


def _whole_because(
    model: nn.Module, name: str, uses: Sequence[LinearLayer], owners: Mapping[int, set[str]]
) -> str:
    """Why no pair of layers may take a module's place; empty if one may."""
    module: Any = model.get_submodule(name)
    if not name:
        return "it is the whole network"
    if not isinstance(module, _KINDS) or not all(layer.plain for layer in uses):
        return "its weight is not used by a plain call of its module, as inside attention"
    if not module.weight.is_floating_point():
        return f"its weight is of type {module.weight.dtype}"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    if any(getattr(module, hook) for hook in hooks):
        return "it has hooks of its own, such as those of a weight norm"
    others = owners[module.weight.untyped_storage().data_ptr()] - {name, *_aliases(model, module)}
    if others:
        return f"its weight is shared with {', '.join(sorted(others))}"
    return ""


def _owners(model: nn.Module) -> dict[int, set[str]]:
    """Modules by the storage of each of their parameters."""
    owners: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        place = parameter.untyped_storage().data_ptr()
        owners.setdefault(place, set()).add(name.rpartition(".")[0])
    return owners


def _aliases(model: nn.Module, module: nn.Module) -> list[str]:
    """All names that a network has for one module."""
    return [name for name, m in model.named_modules(remove_duplicate=False) if m is module]


def factorised(module: LinearModule, svd: TensorSVD, kept: Tensor) -> nn.Sequential:
    """Two layers, named V and US, that apply Σ sᵢ uᵢ vᵢᵀ over some singular vectors.

    V takes the layer's geometry (stride, padding, padding mode, dilation, groups) and has a channel
    for each vector kept, vᵢᵀ ψ; US is a 1 × 1 convolution (Linear for Linear), Σ sᵢ uᵢ (vᵢᵀ ψ),
    with the layer's bias. Channels may be mixed after a transposed convolution too, since it is a
    cross-correlation of a dilated input (``transposed_filters``). With all vectors the pair is the
    layer.

    Parameters
    ----------
    svd
        of the layer's unfolded weight, V included.
    kept
        shape (k,), singular vectors. Where the layer has groups, each block gets as many channels
        as the block with most of them, the others' filled up with zeros.

    Returns
    -------
    takes and gives the same tensors as the layer, in the type and on the device of its weight

    Raises
    ------
    ValueError
        If svd lacks V.

    References
    ----------
    Praggastis et al. 2022, Eq. 14, with S multiplied into U, and section 7.
    """
    if svd.V is None:
        raise ValueError("two layers need V, and this decomposition was made without it")
    groups, blocks = _groups(module), svd.block[kept]
    each = int(torch.bincount(blocks, minlength=groups).max())
    rows, columns = len(svd.U) // groups, len(svd.V) // groups
    left, right = svd.S.new_zeros(groups, rows, each), svd.S.new_zeros(groups, each, columns)
    for block in range(groups):
        own = kept[blocks == block]
        left[block, :, : len(own)] = svd.U[block * rows : (block + 1) * rows, own] * svd.S[own]
        right[block, : len(own)] = svd.V[block * columns : (block + 1) * columns, own].T
    pair = empty_pair(module, groups * each)
    V: Any = pair[0]
    US: Any = pair[1]
    kernel = module.weight.shape[2:]
    filters = right.reshape(groups * each, columns // math.prod(kernel), *kernel)
    with torch.no_grad():
        V.weight.copy_(_stored(filters, groups) if _transposed(module) else filters)
        US.weight.copy_(left.reshape(US.weight.shape))
        if module.bias is not None:
            US.bias.copy_(module.bias)
    return pair


def empty_pair(module: LinearModule, vectors: int) -> nn.Sequential:
    """The pair of layers that ``factorised`` gives, with weights of zeros.

    Parameters
    ----------
    vectors
        kept in all; a multiple of the layer's groups.

    Raises
    ------
    ValueError
        If the number of vectors is not one that the layer can have.
    """
    groups = _groups(module)
    if vectors < 1 or vectors % groups:
        raise ValueError(f"{vectors} singular vectors; a positive multiple of {groups} is needed")
    weight, bias = module.weight, module.bias is not None
    if isinstance(module, nn.Linear):
        first: nn.Module = nn.Linear(module.in_features, vectors, bias=False, device="meta")
        second: nn.Module = nn.Linear(vectors, module.out_features, bias=bias, device="meta")
    else:
        geometry: dict[str, Any] = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "padding_mode": module.padding_mode,
        }
        kind = _kind(module)
        pointwise: Any = _TRANSPOSED.get(kind, kind)
        if kind in _TRANSPOSED:
            geometry["output_padding"] = module.output_padding
        of_kind: Any = kind
        kernel = tuple(weight.shape[2:])
        shared: dict[str, Any] = {"groups": groups, "device": "meta"}
        first = of_kind(module.in_channels, vectors, kernel, bias=False, **geometry, **shared)
        second = pointwise(vectors, module.out_channels, 1, bias=bias, **shared)
    pair = nn.Sequential(OrderedDict(V=first, US=second)).train(module.training)
    for part in pair:
        for name, parameter in list(part.named_parameters()):
            zeros = torch.zeros(parameter.shape, dtype=weight.dtype, device=weight.device)
            setattr(part, name, nn.Parameter(zeros, requires_grad=False))
    return pair


def _stored(filters: Tensor, groups: int) -> Tensor:
    """Filters of a cross-correlation, (k, c / groups, ...), as a transposed convolution's weight.

    The inverse of ``transposed_filters``: shape (c, k / groups, ...).
    """
    vectors, inputs, *kernel = filters.shape
    blocks = filters.reshape(groups, vectors // groups, inputs, *kernel).transpose(1, 2)
    turned = blocks.flip(tuple(range(3, blocks.ndim)))
    return turned.reshape(groups * inputs, vectors // groups, *kernel)


def replace_modules(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put other modules in the places of some, under every name that the network has for them."""
    for name, other in modules.items():
        module = model.get_submodule(name)
        for alias in _aliases(model, module):
            parent, _, own = alias.rpartition(".")
            setattr(model.get_submodule(parent), own, other)


def pruned(
    factory: str, vectors: Mapping[str, int], kwargs: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network whose layers are replaced by pairs of layers, for a checkpoint of such a network.

    A run file names it ``ddp_tasks.networks:pruned``; its weights are the checkpoint that
    ``ddp prune`` writes beside it.

    Parameters
    ----------
    factory, kwargs
        what makes the network before it is pruned, as in a run file.
    vectors
        singular vectors that each pruned module keeps, by the module's name.

    Returns
    -------
    with weights of zeros in the pairs

    Raises
    ------
    RunError
        If the factory fails, or the network has no such layer.
    """
    model = factories.call(factory, kwargs or {})
    if not isinstance(model, nn.Module):
        raise RunError(f"factory {factory!r} gave a {type(model).__name__}, not a torch.nn.Module")
    model = unwrapped(model)
    modules: Iterable[tuple[str, Any]] = model.named_modules()
    known = {name: module for name, module in modules if name and isinstance(module, _KINDS)}
    pairs = {}
    for name, count in vectors.items():
        if name not in known:
            raise RunError(
                f"vectors: {factory!r} has no linear module {name!r}{nearest(name, known)}"
            )
        try:
            pairs[name] = empty_pair(known[name], count)
        except (ValueError, TypeError) as error:
            raise RunError(f"vectors.{name}: {error}") from None
    replace_modules(model, pairs)
    return model


def _kind(module: nn.Module) -> type[nn.Module]:
    return next(kind for kind in _KINDS if isinstance(module, kind))


def _transposed(module: nn.Module) -> bool:
    return _kind(module) in _TRANSPOSED


def _groups(module: nn.Module) -> int:
    groups: int = getattr(module, "groups", 1)
    return groups
