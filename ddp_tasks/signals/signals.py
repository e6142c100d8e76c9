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
    readings: list[Reading] = []
    with forward.reading() as read:
        for batch in batches:
            readings.append(read(batch))
            done(len(batch))
    scores = torch.cat([reading.scores for reading in readings])
    reached = _reached(forward.layers, readings)
    signal = _cube_rows(forward.layers, readings, forward.vectors, reached)
    confidence, predicted = _probabilities(scores).max(dim=1)
    return ShardSignals(
        signal,
        predicted.cpu().numpy(),
        confidence.cpu().numpy(),
        np.array([int(reached[layer.name].sum()) for layer in forward.layers], dtype=np.int64),
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
    reached: Mapping[str, Tensor],
) -> npt.NDArray[np.float32]:
    greatest_rank = max(u.shape[1] for u in U.values())
    images = sum(len(reading.scores) for reading in readings)
    signal = np.full((images, len(layers), greatest_rank), np.nan, dtype=np.float32)
    for position, layer in enumerate(layers):
        mean = torch.cat([reading.means[layer.name] for reading in readings])
        vectors = U[layer.name].to(mean.device)
        # The bias is already subtracted: one that the pass computes is known only at the call.
        layer_signals = signals_of_means(mean, None, vectors).cpu()
        # A finite sum has only finite terms; checking it takes an eighth of the time of all terms.
        if not bool(torch.isfinite(layer_signals.sum())):
            bad = reached[layer.name] & ~torch.isfinite(layer_signals).all(dim=1)
            if bool(bad.any()):
                raise NotFiniteError(layer.name, int(bad.nonzero()[0]))
        signal[:, position, : layer_signals.shape[1]] = layer_signals.float().numpy()
    return signal


def _probabilities(scores: Tensor) -> Tensor:
    """Class probabilities; a network that ends in a softmax already gives them."""
    return scores if are_probabilities(scores) else torch.softmax(scores, dim=1)
