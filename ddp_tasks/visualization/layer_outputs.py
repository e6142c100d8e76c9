"""Outputs of chosen layers at all positions, in a forward pass that goes no further than they."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.layers import LinearLayer, PathError, calls_heard
from ddp_tasks.networks.linear_calls import LinearCall
from ddp_tasks.signals.spatial_statistics import at_positions, position_signals


class _Reached(BaseException):
    """Ends a forward pass when all layers asked for have made their outputs.

    It is no ``Exception``, which a network may catch to go on in another way.
    """


@dataclass(frozen=True)
class LayerOutput:
    """What a layer makes of a batch, at the moment when it is made.

    Every method returns new tensors: an in-place activation may overwrite the output afterwards.
    Gradients flow from them to the images wherever torch records them.
    """

    layer: LinearLayer
    call: LinearCall
    images: int
    """n, the number of images given to the network."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Shape of the positions: (m, n) of a two-dimensional convolution, () of one position.

        Preceded by the number of windows if each image is cut into windows.
        """
        shape = list(self.call.output_shape)
        rows = shape.pop(self.layer.image_axis)
        shape.pop(-1 if self.layer.kind == "Linear" else 0)
        windows = rows // self.images
        return (windows, *shape) if windows > 1 else tuple(shape)

    def mean(self) -> Tensor:
        """Mean of the output minus the bias over positions: shape (n, d), at least float32."""
        return self.call.linear_mean(self.images, self.layer.image_axis)

    def signals(self, U: Tensor) -> Tensor:
        """Signals of every position, uᵢᵀ (Y - b): shape (n, *positions, r).

        Parameters
        ----------
        U
            shape (d, r); left singular vectors.
        """
        # A product with U may keep the output for its gradient; the copy is not overwritten.
        output = self.call.output if self.call.bias is not None else self.call.output.clone()
        signals = position_signals(self.layer, output, self.call.bias, U, self.images)
        return signals.reshape(self.images, *self.positions, U.shape[1])

    def values(self, *, bias: bool = False) -> Tensor:
        """The output at every position, with or without its bias: shape (n, *positions, d)."""
        rows = at_positions(self.layer, self.call.output, self.images)
        without = not bias and self.call.bias is not None
        kept = rows - self.call.bias.to(rows) if without else rows.clone()  # type: ignore[union-attr]
        return kept.reshape(self.images, *self.positions, rows.shape[-1])


#: What is kept of a layer's output: a new tensor with the images along its first axis.
Kept = Callable[[LayerOutput], Tensor]


@contextmanager
def layer_outputs(
    model: nn.Module,
    layers: Sequence[LinearLayer],
    convention: CallingConvention,
    keep: Kept | Mapping[str, Kept],
    device: torch.device | None = None,
) -> Iterator[Callable[[Tensor], dict[str, Tensor]]]:
    """A function from input tensors (n, ...) to what is kept of each layer's output.

    The forward pass ends when the deepest of the layers has made its output. Inside ``with`` the
    function may be called any number of times, with or without gradients. Afterwards all hooks are
    removed from the network and torch, whatever happens.

    Parameters
    ----------
    layers
        at least one.
    keep
        what to keep of a layer's output, shape (n, ...); or that by the name of the layer.
    device
        the network's; None leaves the images where they are.

    Raises
    ------
    ValueError
        By the function, if not all images of a batch reach a layer (``PathError``). Where each
        image passes alone, the rows of those that do not reach it are NaN instead.
    """
    chosen = tuple(dict.fromkeys(layers))
    kept: dict[str, Tensor] = {}

    def heard(layer: LinearLayer, call: LinearCall, images: int) -> None:
        rows = call.output_shape[layer.image_axis]
        if not rows:
            return
        if rows % images:
            raise PathError(layer.name, f"with {rows} rows for {images} images")
        keeping = keep[layer.name] if isinstance(keep, Mapping) else keep
        kept[layer.name] = keeping(LayerOutput(layer, call, images))
        if len(kept) == len(chosen):
            raise _Reached

    with calls_heard(model, chosen, heard, steady=not convention.alone) as forward:

        def given(inputs: Tensor) -> dict[str, Tensor]:
            kept.clear()
            with suppress(_Reached):
                forward(inputs)
            return dict(kept)

        def outputs(images: Tensor) -> dict[str, Tensor]:
            parts = [given(inputs) for inputs in convention.batches(images, device)]
            return {
                layer.name: _joined(layer.name, parts, 1 if convention.alone else len(images))
                for layer in chosen
            }

        yield outputs


def _joined(layer: str, parts: Sequence[Mapping[str, Tensor]], images: int) -> Tensor:
    """What is kept of one layer, from passes of this many images each."""
    reached = [part[layer][:images] for part in parts if layer in part]
    if len(reached) == len(parts):
        return torch.cat(reached) if len(reached) > 1 else reached[0]
    if not reached or images > 1:
        raise PathError(layer, f"by {len(reached)} of the {len(parts) * images} images")
    nowhere = torch.full_like(reached[0], torch.nan)
    return torch.cat([part[layer][:images] if layer in part else nowhere for part in parts])
