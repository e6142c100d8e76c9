"""What the mean over positions leaves out: where in an image a signal is strong (section 4.3).

The signal vector is a coarse summary, as the paper says: it does not show how much of the signal
lies in one part of the image. So three things are kept of the signals sᵢ vᵢᵀ ψ of all positions:
the greatest, the least, and the share that exceeds the layer's threshold q, in either direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.networks.class_scores import whole_output
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import LinearLayer, PathError, attach, bias
from ddp_tasks.signals.host_copies import HostCopy

#: Bytes that the signals of all positions of some images may take at once.
_MEMORY = 1 << 26


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one layer at the run's quantile level."""

    positive: float
    """q of the signals."""
    negative: float
    """q of their negatives."""


@dataclass(frozen=True)
class SpatialStatistics:
    """Spatial statistics of some images; every array has shape (n, layers, greatest rank).

    NaN past the rank, and for layers that an image does not reach.
    """

    maximum: npt.NDArray[np.float32]
    minimum: npt.NDArray[np.float32]
    share_above: npt.NDArray[np.float32]
    """share of positions whose signal is greater than q."""
    share_below: npt.NDArray[np.float32]
    """share of positions whose negative is greater than the q of negatives."""


def position_signals(
    layer: LinearLayer, output: Tensor, offset: Tensor | None, vectors: Tensor, images: int
) -> Tensor:
    """Signals of every position of a layer's output along every singular vector.

    uᵢᵀ (Y - b) = sᵢ vᵢᵀ ψ at each position (Eq. 13).

    Parameters
    ----------
    output
        as the layer makes it: shape (n, d, ...) for a convolution, (..., d) for a fully connected
        layer, with the images along ``layer.image_axis``.
    offset
        the layer's bias, shape (d,), or None.
    vectors
        shape (d, r); left singular vectors.
    images
        n; an image that is cut into windows has the positions of all of them.

    Returns
    -------
    shape (n, positions, r); in the units of the layer's output before bias
    """
    Y = at_positions(layer, output, images).to(vectors.dtype)
    return (Y if offset is None else Y - offset.to(Y)) @ vectors


def at_positions(layer: LinearLayer, output: Tensor, images: int) -> Tensor:
    """A layer's output with one row for each position.

    Parameters
    ----------
    output, images
        as in ``position_signals``.

    Returns
    -------
    shape (n, positions, d); may share the memory of ``output``
    """
    if layer.kind == "Linear":
        return output.movedim(layer.image_axis, 0).reshape(images, -1, output.shape[-1])
    return output.flatten(2).transpose(1, 2).reshape(images, -1, output.shape[1])


def spatial_statistics(
    forward: ForwardPass, thresholds: Mapping[str, Thresholds], batches: Iterable[Tensor]
) -> SpatialStatistics:
    """Statistics over positions of all layers for some images, in one pass over them.

    Parameters
    ----------
    forward
        the network's own pass, neither folded nor compiled.
    thresholds
        by layer.
    batches
        input tensors (n, ...), on any device.

    Raises
    ------
    ValueError
        If not all images of a batch reach a layer (``PathError``).
    """
    rows = [copy.arrived() for copy in rows_of_batches(forward, thresholds, batches)]
    return SpatialStatistics(*torch.cat(rows, dim=1).numpy())


def rows_of_batches(
    forward: ForwardPass, thresholds: Mapping[str, Thresholds], batches: Iterable[Tensor]
) -> list[HostCopy]:
    """``spatial_statistics`` without waiting for the device: a GPU still computes afterwards.

    Returns
    -------
    of each batch, shape (4, n, layers, greatest rank)
    """
    model, layers, convention = forward.model, forward.layers, forward.convention
    vectors = {name: v.to(forward.device, torch.float32) for name, v in forward.vectors.items()}
    offsets = {layer.name: bias(model, layer) for layer in layers}
    by_name = {layer.name: layer for layer in layers}
    layer_statistics: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    given = 0

    def read(name: str, output: Tensor) -> None:
        layer = by_name[name]
        if not output.numel():
            return
        if output.shape[layer.image_axis] % given:
            raise PathError(name, f"with {output.shape[layer.image_axis]} rows for {given} images")
        for some, part in _parts(layer, output, given, vectors[name].shape[1]):
            maps = position_signals(layer, part, offsets[name], vectors[name], some)
            layer_statistics[name].append(_over_positions(maps, thresholds[name]))

    rows: list[HostCopy] = []
    greatest = max(v.shape[1] for v in vectors.values())
    handles = attach(model, layers, read)
    try:
        with torch.inference_mode():
            for batch in batches:
                for some in batch.split(1) if convention.alone else [batch]:
                    inputs = convention.inputs(some, forward.device)
                    given = len(inputs)
                    whole_output(model(inputs))
                    of_batch = _rows(layer_statistics, forward, given, greatest)
                    rows.append(HostCopy(of_batch[:, : len(some)]))
    finally:
        for handle in reversed(handles):
            handle.remove()
    return rows


def _parts(
    layer: LinearLayer, output: Tensor, images: int, rank: int
) -> Iterator[tuple[int, Tensor]]:
    """A layer's output in parts of few enough images that their signals fit into memory."""
    channels = output.shape[-1 if layer.kind == "Linear" else 1]
    positions = output.numel() // channels // images
    few = max(1, _MEMORY // (4 * positions * (rank + channels)))
    rows = output.shape[layer.image_axis] // images
    for part in output.split(few * rows, dim=layer.image_axis):
        yield part.shape[layer.image_axis] // rows, part


def _over_positions(maps: Tensor, q: Thresholds) -> Tensor:
    """Maximum, minimum and both shares, shape (4, n, r)."""
    return torch.stack(
        [
            maps.amax(dim=1),
            maps.amin(dim=1),
            (maps > q.positive).float().mean(dim=1),
            (-maps > q.negative).float().mean(dim=1),
        ]
    )


def _rows(
    statistics: dict[str, list[Tensor]], forward: ForwardPass, images: int, greatest: int
) -> Tensor:
    """Statistics of one batch, shape (4, images, layers, greatest rank); empties ``statistics``."""
    shape = (4, images, len(forward.layers), greatest)
    rows = torch.full(shape, torch.nan, dtype=torch.float32, device=forward.device)
    for place, layer in enumerate(forward.layers):
        parts = statistics[layer.name]
        statistics[layer.name] = []
        reached = sum(part.shape[1] for part in parts)
        if reached != images and not (forward.convention.alone and not reached):
            raise PathError(layer.name, f"by {reached} of the {images} images")
        if parts:
            values = torch.cat(parts, dim=1)
            rows[:, :, place, : values.shape[2]] = values
    return rows
