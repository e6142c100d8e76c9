"""Class scores of a network with directions taken out of the outputs of one layer.

The rank-one removal W̄ ← W̄ - sᵢ uᵢ vᵢᵀ leaves a layer that gives Y - uᵢ uᵢᵀ (Y - b) at every
position, since uᵢᵀ W̄ = sᵢ vᵢᵀ: the direction uᵢ is projected out of the output before its bias. So
no weight is changed and no network copied, and the same projection takes out directions that are
no singular vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.overrides import BaseTorchFunctionMode

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.networks.layers import LinearLayer, calls_heard
from ddp_tasks.networks.linear_calls import LinearCall


@dataclass(frozen=True)
class Removals:
    """Sets of directions; each set is taken out of a layer's outputs by itself.

    A set's projection is Y' = Y - write readᵀ (Y - b).
    """

    read: Tensor
    """shape (removal, d, m); smaller sets are filled up with zeros."""
    write: Tensor
    """shape (removal, d, m)."""

    @classmethod
    def of(cls, directions: Sequence[Tensor], scale: Tensor | None = None) -> Removals:
        """The removals of sets of orthonormal directions.

        Parameters
        ----------
        directions
            shape (d, k) each, k at least 1; columns are orthonormal.
        scale
            shape (d,); the directions are those of scale · (Y - b), as of a layer that is
            decomposed with the BatchNorm after it. A channel of scale 0 is not changed. None for 1.
        """
        most = max(one.shape[1] for one in directions)
        stacked = torch.stack([pad(one, (0, most - one.shape[1])) for one in directions])
        if scale is None:
            return cls(stacked, stacked)
        factor = scale.to(stacked)[:, None]
        inverse = torch.where(factor == 0, 0.0, 1 / factor)
        return cls(factor * stacked, inverse * stacked)

    def __len__(self) -> int:
        return len(self.read)

    def __getitem__(self, some: slice) -> Removals:
        return Removals(self.read[some], self.write[some])

    def to(self, like: Tensor) -> Removals:
        """The same in the type and on the device of another tensor."""
        return Removals(self.read.to(like), self.write.to(like))


@dataclass(frozen=True)
class CutLayer:
    """A network, and the layer of it whose outputs directions are taken out of."""

    model: nn.Module
    """in evaluation mode, on the device that it runs on."""
    convention: CallingConvention
    layer: LinearLayer

    @property
    def weight(self) -> Tensor:
        """Any floating-point weight, for its type and device."""
        return next(p for p in self.model.parameters() if p.is_floating_point())


#: Class scores without each set of directions, shape (removal, n, classes), of images (n, ...).
Scores = Callable[[Tensor, Removals], Tensor]


@contextmanager
def removing(cut: CutLayer, *, together: bool) -> Iterator[Scores]:
    """A function from images and removals to the class scores without each of these.

    Afterwards all hooks are removed from the network and torch, whatever happens.

    Parameters
    ----------
    together
        True: all removals in one vectorised pass (``torch.func.vmap``), in which what comes before
        the layer is computed once. Networks whose path or memory depends on values refuse that with
        an exception of torch's. False: one pass of all images for each removal.

    Raises
    ------
    ValueError
        If the layer's output stays inside a fused function, and its weight is no parameter.
    """
    convention, weight = cut.convention, cut.weight
    with torch.inference_mode(), _pass_without(cut) as without:

        def one(inputs: Tensor, read: Tensor, write: Tensor) -> Tensor:
            return convention.scores(without(inputs, read, write), len(inputs))

        def batch_scores(images: Tensor, removals: Removals) -> Tensor:
            if together:
                (inputs,) = convention.batches(images, weight.device)
                rows = torch.func.vmap(partial(one, inputs))(removals.read, removals.write)
                return rows[:, : len(images)]
            scores_of_each = [
                one(convention.inputs(images, weight.device), read, write)
                for read, write in zip(removals.read, removals.write, strict=True)
            ]
            return torch.stack(scores_of_each)[:, : len(images)]

        def scores(images: Tensor, removals: Removals) -> Tensor:
            on_device = removals.to(weight)
            size = 1 if convention.alone else len(images)
            parts = [batch_scores(batch, on_device) for batch in images.split(size)]
            return torch.cat(parts, dim=1)

        yield scores


@contextmanager
def _pass_without(cut: CutLayer) -> Iterator[Callable[[Tensor, Tensor, Tensor], Any]]:
    """The network's output for inputs, without the directions of one removal."""
    model, layer = cut.model, cut.layer
    if _inside_attention(layer):
        with BaseTorchFunctionMode():  # under which attention takes no fused kernel
            yield partial(_with_cut_weight, model, layer)
        return
    taken: list[Tensor] = []

    def heard(_: LinearLayer, call: LinearCall, images: int) -> Tensor:
        return projected(call, *taken)

    with calls_heard(model, (layer,), heard, steady=not cut.convention.alone) as forward:

        def without(inputs: Tensor, read: Tensor, write: Tensor) -> Any:
            taken[:] = read, write
            return forward(inputs)

        yield without


def projected(call: LinearCall, read: Tensor, write: Tensor) -> Tensor:
    """A layer's output without some directions: Y - write readᵀ (Y - b) at every position.

    Parameters
    ----------
    read, write
        shape (d, m).

    Returns
    -------
    the shape of the output
    """
    output = call.output
    last = call.kind == "Linear"
    rows = output if last else output.movedim(1, -1)
    centred = rows if call.bias is None else rows - call.bias
    kept = rows - (centred @ read) @ write.T
    return kept if last else kept.movedim(-1, 1)


def _inside_attention(layer: LinearLayer) -> bool:
    """Whether a layer is a projection whose output the multi-head attention keeps to itself."""
    return layer.weight.path is not None and layer.weight.path.endswith("_proj_weight")


def _with_cut_weight(
    model: nn.Module, layer: LinearLayer, inputs: Tensor, read: Tensor, write: Tensor
) -> Any:
    """The network's output with W̄ - write readᵀ W̄ in place of a layer's weight."""
    path, rows = layer.weight.path, layer.weight.rows
    assert path is not None
    whole = model.get_parameter(path)
    start, stop = rows or (0, len(whole))
    weight = whole[start:stop]
    cut = torch.cat([whole[:start], weight - write @ (read.T @ weight), whole[stop:]])
    return whole_output(torch.func.functional_call(model, {path: cut}, (inputs,)))
