"""Signals of images along the singular vectors of every layer (section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.networks.class_scores import are_probabilities
from ddp_tasks.networks.forward_pass import ForwardPass, Reading
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.signals.host_copies import HostCopy

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Shaped


class NotFiniteError(ValueError):
    """A layer's signals of one image are NaN or infinite."""

    def __init__(self, layer: str, image: int) -> None:
        super().__init__(f"layer {layer} gives NaN or infinity for image {image} of the shard")
        self.layer, self.image = layer, image


@dataclass(frozen=True)
class ShardSignals:
    """The rows of the cube that belong to one shard."""

    signal: Shaped[npt.NDArray[np.float32], "n layers greatest_rank"]
    """NaN past each layer's rank, and for layers that an
    image does not reach."""
    predicted: Shaped[npt.NDArray[np.int64], " n"]
    confidence: Shaped[npt.NDArray[np.float32], " n"]
    reached: Shaped[npt.NDArray[np.int64], " layers"]
    """number of images that reach each layer"""


def signal_vector(
    Psi: Float[Tensor, "rows positions"], S: Float[Tensor, " r"], V: Float[Tensor, "columns r"]
) -> Float[Tensor, " r"]:
    """Average signal of one image along each right singular vector, by definition.

    ``signals_of_means`` computes the same from U without receptive fields.

    Parameters
    ----------
    Psi
        shape (c*k*k, positions); one flattened receptive field per column.
    S
        shape (r,); nonzero singular values, descending.
    V
        shape (c*k*k, r); right singular vectors, signs fixed.

    Returns
    -------
    shape (r,); in the units of the layer's output before bias.

    Raises
    ------
    ValueError
        If Psi and V disagree on c*k*k.

    References
    ----------
    Praggastis et al. 2022, section 4.3, below Eq. 16.
    """
    if len(Psi) != len(V):
        raise ValueError(f"Psi has {len(Psi)} rows and V has {len(V)}; both must be c*k*k")
    return (S[:, None] * (V.T @ Psi)).mean(dim=1)


def signals_of_means(
    mean: Float[Tensor, "n d"], bias: Float[Tensor, " d"] | None, U: Float64[Tensor, "d r"]
) -> Float64[Tensor, "n r"]:
    """Signal vectors of images from the mean of a layer's output over its positions.

    The mean over positions of sᵢ vᵢᵀ ψ equals uᵢᵀ (mean Y - b), since uᵢᵀ W̄ = sᵢ vᵢᵀ.

    Parameters
    ----------
    mean
        shape (n, d); bias included.
    bias
        shape (d,), or None.
    U
        shape (d, r); left singular vectors, signs fixed.

    Returns
    -------
    float64, shape (n, r); in the units of the layer's output before bias.
    """
    linear = mean.to(U.dtype) if bias is None else mean.to(U.dtype) - bias.to(U.dtype)
    return linear @ U


def extract(
    forward: ForwardPass,
    batches: Iterable[Tensor],
    done: Callable[[int], None] = lambda images: None,
) -> ShardSignals:
    """Signals of all layers for one shard of images, in one pass over them.

    Each layer's output is reduced at once to its mean over positions, minus the bias; the means
    are multiplied by U once, at the end of the shard. Hooks are always removed afterwards.

    Parameters
    ----------
    batches
        input tensors (n, ...), on any device.
    done
        called with the number of images after each batch.

    Raises
    ------
    ValueError
        If not all images of a batch reach a layer (``PathError``; images that pass alone may
        miss some), its signals are not finite, or the network gives no class scores
        (``class_scores``).
    """
    return passed(forward, batches, done).signals()


@dataclass(frozen=True)
class PassedShard:
    """A shard whose images a device has been told to pass; it may still be at work."""

    layers: tuple[LinearLayer, ...]
    _ranks: tuple[int, ...]
    """number of signals of each layer."""
    _signal: HostCopy
    _sums: HostCopy
    """of each layer's signals, shape (layers,)."""
    _scores: HostCopy
    _reached: Mapping[str, Tensor]

    def signals(self) -> ShardSignals:
        """Wait for the device, and give the rows of the cube.

        Raises
        ------
        NotFiniteError
            If a layer's signals are not finite.
        """
        scores, signal = self._scores.arrived(), self._signal.arrived().numpy()
        self._check_finite(signal)
        confidence, predicted = _probabilities(scores).max(dim=1)
        return ShardSignals(
            signal,
            predicted.numpy(),
            confidence.numpy(),
            np.array([int(self._reached[layer.name].sum()) for layer in self.layers], np.int64),
        )

    def _check_finite(self, signal: npt.NDArray[np.float32]) -> None:
        # A finite sum has only finite terms; checking it takes an eighth of the time of all terms.
        sums = self._sums.arrived()
        for position in (~torch.isfinite(sums)).nonzero()[:, 0].tolist():
            layer, rank = self.layers[position], self._ranks[position]
            finite = torch.from_numpy(np.isfinite(signal[:, position, :rank]).all(axis=1))
            bad = self._reached[layer.name] & ~finite
            if bool(bad.any()):
                raise NotFiniteError(layer.name, int(bad.nonzero()[0]))


def passed(
    forward: ForwardPass,
    batches: Iterable[Tensor],
    done: Callable[[int], None] = lambda images: None,
) -> PassedShard:
    """``extract`` without waiting for the device: a GPU still computes when this returns.

    Raises
    ------
    ValueError
        As of ``extract``, but for signals that are not finite.
    """
    readings: list[Reading] = []
    with forward.reading() as read:
        for batch in batches:
            readings.append(read(batch))
            done(len(batch))
    scores = torch.cat([reading.scores for reading in readings])
    signal, sums = _cube_rows(forward.layers, readings, forward.vectors)
    return PassedShard(
        forward.layers,
        tuple(forward.vectors[layer.name].shape[1] for layer in forward.layers),
        HostCopy(signal),
        HostCopy(sums),
        HostCopy(scores),
        _reached(forward.layers, readings),
    )


def _reached(layers: tuple[LinearLayer, ...], readings: Sequence[Reading]) -> dict[str, Tensor]:
    """By layer, which images reach it, shape (n,)."""
    everyone = [torch.ones(len(reading.scores), dtype=torch.bool) for reading in readings]
    reached = dict.fromkeys((layer.name for layer in layers), torch.cat(everyone))
    for name in {name for reading in readings for name in reading.reached}:
        pairs = zip(readings, everyone, strict=True)
        reached[name] = torch.cat([reading.reached.get(name, all_) for reading, all_ in pairs])
    return reached


def _cube_rows(
    layers: tuple[LinearLayer, ...],
    readings: Sequence[Reading],
    U: Mapping[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """Signals, float32, shape (n, layers, greatest rank), and the sum of each layer's in float64.

    On the device of the means.
    """
    greatest_rank = max(u.shape[1] for u in U.values())
    images, device = sum(len(reading.scores) for reading in readings), readings[0].scores.device
    signal = torch.full(
        (images, len(layers), greatest_rank), torch.nan, dtype=torch.float32, device=device
    )
    sums = []
    for position, layer in enumerate(layers):
        mean = torch.cat([reading.means[layer.name] for reading in readings])
        # The bias is already subtracted: one that the pass computes is known only at the call.
        layer_signals = signals_of_means(mean, None, U[layer.name].to(mean.device))
        sums.append(layer_signals.sum())
        signal[:, position, : layer_signals.shape[1]] = layer_signals
    return signal, torch.stack(sums)


def _probabilities(scores: Tensor) -> Tensor:
    """Class probabilities; a network that ends in a softmax already gives them."""
    return scores if are_probabilities(scores) else torch.softmax(scores, dim=1)
