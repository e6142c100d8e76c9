"""The part of a network's input that one position of a layer's output sees.

NaN spreads through a network to everything that depends on it, whatever the weights are and
whichever ReLU is dead. So every row of the input is made NaN in turn, then every column: the
rows and columns that make a position NaN bound its receptive field.

Which positions depend on which has little to do with channels. So convolutions and fully connected
layers are replaced by what they do to positions, with a single channel, which makes the passes
cheap. Networks that this does not suit, since they take channels apart, pass as they are, in
float64: in float32, fast convolutions mix neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs

Boxes = npt.NDArray[np.int64]

#: Images that pass together.
_BATCH = 64
_NAN = float("nan")

#: Functions that take parts of an axis, and where that axis stands among their arguments.
_AXIS_AT = {
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), 2),
    **dict.fromkeys(("unbind", "narrow", "select", "index_select"), 1),
}


def receptive_fields(
    model: nn.Module,
    layers: Sequence[LinearLayer],
    convention: CallingConvention,
    example: Tensor,
) -> dict[str, Boxes]:
    """The box in the network's input that every position of each layer's output sees.

    Parameters
    ----------
    model
        in evaluation mode.
    example
        shape (1, c, m, n); an image as the network takes it.

    Returns
    -------
    by layer, shape (4, \\*positions): top, left, bottom and right; rows and columns counted from 0,
    bottom and right one past the last, all 0 for a position that sees nothing. A receptive field
    with holes, such as that of a dilated convolution, has the box around it.

    Raises
    ------
    ValueError
        If the network makes NaN of images without NaN.
    """
    try:
        with _Positions():
            return _boxes(model, layers, convention, example)
    except Exception:  # noqa: BLE001 - the network's own code, which may take channels apart
        network, plain = float64_network(model, convention)
        return _boxes(network, layers, plain, example.to(torch.float64))


def _boxes(
    model: nn.Module,
    layers: Sequence[LinearLayer],
    convention: CallingConvention,
    example: Tensor,
) -> dict[str, Boxes]:
    rows, columns = example.shape[2:]
    ends = [(2, 0), (2, rows - 1), (3, 0), (3, columns - 1)]
    boxes: dict[str, Boxes] = {}
    with _passes(model, layers, convention) as depend:
        if any(bool(there.any()) for there in depend(example).values()):
            raise ValueError("the network makes NaN of an image without NaN")
        at_ends = depend(_with_nan(example, ends))
    # A position that sees the whole image, as after a global mean, needs no further passes.
    for layer in layers:
        if bool(at_ends[layer.name].all()):
            whole = np.array([0, 0, rows, columns])
            shape = at_ends[layer.name].shape[1:]
            boxes[layer.name] = np.broadcast_to(whole.reshape(4, *[1] * len(shape)), (4, *shape))
    left = [layer for layer in layers if layer.name not in boxes]
    if left:
        with _passes(model, left, convention) as depend:
            sides = [_sides(depend, example, axis) for axis in (2, 3)]
        for name in sides[0]:
            (top, bottom), (start, end) = (side[name] for side in sides)
            boxes[name] = np.stack([top, start, bottom, end])
    return {layer.name: boxes[layer.name] for layer in layers}


@contextmanager
def _passes(
    model: nn.Module, layers: Sequence[LinearLayer], convention: CallingConvention
) -> Iterator[Callable[[Tensor], dict[str, Tensor]]]:
    """A function from images (n, ...) to whether each position has NaN: (n, *positions)."""

    def depends(output: LayerOutput) -> Tensor:
        return output.values(bias=True).isnan().any(dim=-1)

    with torch.inference_mode(), layer_outputs(model, layers, convention, depends) as outputs:
        yield outputs


def _with_nan(example: Tensor, lines: Sequence[tuple[int, int]]) -> Tensor:
    """Copies of an image, each with NaN in one row (axis 2) or column (axis 3)."""
    images = example.repeat(len(lines), 1, 1, 1)
    for number, (axis, line) in enumerate(lines):
        if axis == 2:
            images[number, :, line] = _NAN
        else:
            images[number, :, :, line] = _NAN
    return images


def _sides(
    depend: Callable[[Tensor], dict[str, Tensor]], example: Tensor, axis: int
) -> dict[str, tuple[Boxes, Boxes]]:
    """First line that every position sees, and one past the last, by layer."""
    sides: dict[str, tuple[Boxes, Boxes]] = {}
    size = example.shape[axis]
    for start in range(0, size, _BATCH):
        lines = range(start, min(start + _BATCH, size))
        for name, there in depend(_with_nan(example, [(axis, line) for line in lines])).items():
            found = there.cpu().numpy()
            shape = found.shape[1:]
            first, last = sides.setdefault(
                name, (np.full(shape, size), np.zeros(shape, dtype=np.int64))
            )
            for line, seen in zip(lines, found, strict=True):
                first[seen & (first > line)] = line
                last[seen] = line + 1
    for first, last in sides.values():
        first[last == 0] = 0
    return sides


class _Positions(TorchFunctionMode):
    """Replaces the functions that have weights by what they do to positions, on one channel."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the replacement of a function where there is one."""
        if _takes_channels(func, args, kwargs or {}):
            raise ValueError("the network takes a tensor's channels apart")
        return _REPLACED.get(func, func)(*args, **(kwargs or {}))


def _takes_channels(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    """Whether a function takes parts of the second axis of a tensor."""
    if func is Tensor.__getitem__:
        index = args[1]
        whole = (
            not isinstance(index, tuple)
            or len(index) < 2
            or index[1] is Ellipsis
            or (isinstance(index[1], slice) and index[1] == slice(None))
        )
        return not whole
    place = _AXIS_AT.get(getattr(func, "__name__", ""))
    if place is None or not isinstance(args[0], Tensor):
        return False
    axis = kwargs.get("dim", args[place] if len(args) > place else 0)
    return axis in (1, 1 - args[0].ndim)


def _spread(like: Tensor, there: Tensor) -> Tensor:
    """NaN where something is there, else 1."""
    return torch.where(there, _NAN, 1.0).to(like.dtype)


def _seen(given: Tensor) -> Tensor:
    """Whether a position of a convolution's input has NaN in any channel, shape (n, 1, ...)."""
    if not given.numel():
        raise ValueError("a part of the channels has none")
    return given.isnan().any(dim=1, keepdim=True).to(torch.float32)


def _convolution(given: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("bias", "stride", "padding", "dilation", "groups")
    stride, padding, dilation = _taken(names, args, kwargs, ("stride", "padding", "dilation"))
    kernel = weight.shape[2:]
    steps, gaps = (_each(value, len(kernel)) for value in (stride, dilation))
    if padding == "same":
        totals = [gap * (k - 1) for gap, k in zip(gaps, kernel, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        pairs = [(p, p) for p in _each(0 if padding == "valid" else padding, len(kernel))]
    padded = functional.pad(_seen(given), [side for pair in reversed(pairs) for side in pair])
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    return _spread(given, pool(padded, tuple(kernel), steps, 0, gaps) > 0)


def _transposed(given: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("bias", "stride", "padding", "output_padding", "groups", "dilation")
    wanted = ("stride", "padding", "output_padding", "dilation")
    stride, padding, output_padding, dilation = _taken(names, args, kwargs, wanted)
    kernel = weight.shape[2:]
    function = (
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.conv_transpose3d,
    )[len(kernel) - 1]
    ones = torch.ones((1, 1, *kernel), device=given.device)
    seen = function(_seen(given), ones, None, stride, padding, output_padding, 1, dilation)
    return _spread(given, seen > 0.5)  # sums of ones, rounded


def _linear(given: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _spread(given, given.isnan().any(dim=-1, keepdim=True))


def _channel_by_channel(given: Tensor, *_: Any, **__: Any) -> Tensor:
    return given.clone()


def _normalised(given: Tensor, over: Sequence[int], *_: Any, **__: Any) -> Tensor:
    axes = tuple(range(-len(tuple(over)), 0))
    return _spread(given, given.isnan().any(dim=axes, keepdim=True)).expand_as(given).clone()


def _all_normalised(given: Tensor, *_: Any, **__: Any) -> Tensor:
    axes = tuple(range(1, given.ndim))
    return _spread(given, given.isnan().any(dim=axes, keepdim=True)).expand_as(given).clone()


def _taken(
    names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], wanted: Sequence[str]
) -> list[Any]:
    """Some of a function's arguments, given by place or by name."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return [given.get(name, 0 if "padding" in name else 1) for name in wanted]


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


_REPLACED: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolution),
    **dict.fromkeys(
        (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), _transposed
    ),
    functional.linear: _linear,
    **dict.fromkeys((functional.layer_norm, torch.layer_norm), _normalised),
    **dict.fromkeys((functional.group_norm, torch.group_norm), _all_normalised),
    **dict.fromkeys(
        (functional.batch_norm, torch.batch_norm, functional.prelu, torch.prelu),
        _channel_by_channel,
    ),
}
