"""How far to trust an optimised picture.

Signal alone says little: noise can have more of it than any natural image. So a picture's signal
is set against natural ones, also under changes that it was not optimised for, and its activations
along the network are compared with those of natural exemplars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.visualization.feature_visualization import Optimised, Visualized, batch_size
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs
from ddp_tasks.visualization.natural_signals import NaturalSignals
from ddp_tasks.visualization.pixels import eight_bits
from ddp_tasks.visualization.targets import Target
from ddp_tasks.visualization.unseen_transformations import unseen

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Shaped

#: Share of the excess that must remain under unseen changes.
LEAST_KEPT = 0.5
#: Share of the way from noise to exemplars that path similarity must have gone.
LEAST_OF_THE_WAY = 0.1
#: Pictures of noise that path similarity is compared with, and the seed of their pixels.
_NOISE, _SEED = 8, 0x201


@dataclass(frozen=True)
class NaturalPath:
    """Natural signals of the layers that a picture passes, up to the layer of its target."""

    layers: tuple[LinearLayer, ...]
    """in forward order; the last is the target's."""
    U: Mapping[str, Float64[Tensor, "d r"]]
    """left singular vectors by layer."""
    means: Mapping[str, Float64[npt.NDArray[np.float64], " r"]]
    """mean signals of the run's images by layer."""
    exemplars: Mapping[str, Float[npt.NDArray[np.float32], "targets places r"]]
    """signals of each target's strongest images, by layer; NaN where there is none."""


@dataclass(frozen=True)
class Measures:
    """Measures of pictures, one for each target."""

    signal: Float64[npt.NDArray[np.float64], " targets"]
    """weighted sum of the signals of the 8-bit picture, in the network in float64."""
    excess: Float64[npt.NDArray[np.float64], " targets"]
    """(signal - natural mean) / (best natural - natural mean)."""
    excess_unseen: Float64[npt.NDArray[np.float64], " targets"]
    """mean excess under the changes of ``unseen``."""
    member_excess: Float64[npt.NDArray[np.float64], "targets r"]
    """excess of each vector of the target alone; NaN for other vectors."""
    path_similarity: Float64[npt.NDArray[np.float64], " targets"]
    """of the picture and the exemplars; see ``path_similarity``."""
    exemplar_similarity: Float64[npt.NDArray[np.float64], " targets"]
    """of the exemplars among one another; NaN for a single one."""
    noise_similarity: Float64[npt.NDArray[np.float64], " targets"]
    """of pictures of noise and the exemplars."""
    failed: tuple[str, ...]
    """why a picture is not to be trusted; empty if it is."""


def measured(
    visualized: Visualized,
    exact: tuple[nn.Module, CallingConvention],
    path: NaturalPath,
    targets: Sequence[Target],
    pictures: Sequence[Optimised],
    *,
    natural_mean: npt.NDArray[np.float64],
    best_natural: npt.NDArray[np.float64],
    natural: NaturalSignals,
) -> Measures:
    """How far to trust the pictures of a layer's targets.

    Parameters
    ----------
    exact
        the network in float64, as ``float64_network`` gives it.
    path
        with the exemplars of these targets.
    natural_mean, best_natural
        shape (targets,): the mean of each target's weighted sum of signals over natural images,
        and its greatest value, or least for negative targets.
    natural
        signals of the layer over natural images.
    """
    shown = np.stack([picture.picture for picture in pictures])
    weights = np.stack([target.row(visualized.U.shape[1]) for target in targets])
    signals = path_signals(visualized, exact, path, shown)
    own = signals[visualized.layer.name]
    signal = np.einsum("tr,tr->t", own, weights)
    changed = _unseen_signals(visualized, shown)
    unseen_signal = np.einsum("utr,tr->ut", changed, weights)
    noise = path_signals(visualized, exact, path, noise_pictures(visualized))
    similarity = path_similarity(path, {name: s[:, None] for name, s in signals.items()})
    of_noise = {name: np.broadcast_to(s, (len(targets), *s.shape)) for name, s in noise.items()}
    measures = Measures(
        signal=signal,
        excess=excess(signal, natural_mean, best_natural),
        excess_unseen=excess(unseen_signal, natural_mean, best_natural).mean(axis=0),
        member_excess=_member_excess(own, targets, natural),
        path_similarity=similarity,
        exemplar_similarity=path_similarity(path, None),
        noise_similarity=path_similarity(path, of_noise),
        failed=(),
    )
    reasons = (_reason(measures, place, picture) for place, picture in enumerate(pictures))
    return Measures(**{**vars(measures), "failed": tuple(reasons)})


def excess(
    signal: npt.NDArray[np.float64],
    natural_mean: npt.NDArray[np.float64],
    best_natural: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """(signal - natural mean) / (best natural - natural mean): 1 equals the best natural image.

    NaN if all natural images have the same signal.
    """
    span = best_natural - natural_mean
    with np.errstate(invalid="ignore", divide="ignore"):
        result: npt.NDArray[np.float64] = np.where(
            span != 0, (signal - natural_mean) / span, np.nan
        )
    return result


def path_signals(
    visualized: Visualized,
    exact: tuple[nn.Module, CallingConvention],
    path: NaturalPath,
    pictures: npt.NDArray[np.uint8],
) -> dict[str, npt.NDArray[np.float64]]:
    """Signal vectors of 8-bit pictures in all layers of a path, in one pass in float64.

    Parameters
    ----------
    pictures
        shape (k, m, n, c).

    Returns
    -------
    by layer, shape (k, r)
    """
    inputs = visualized.pixels.inputs_of(pictures)
    model, convention = exact
    found: dict[str, list[Tensor]] = {layer.name: [] for layer in path.layers}
    with (
        torch.no_grad(),
        layer_outputs(
            model, path.layers, convention, LayerOutput.mean, visualized.device
        ) as outputs,
    ):
        for some in inputs.split(batch_size(visualized.device, *inputs.shape[2:])):
            for name, mean in outputs(some).items():
                found[name].append(mean @ path.U[name].to(mean))
    return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}


def path_similarity(
    path: NaturalPath, others: Mapping[str, Shaped[npt.NDArray[np.float64], "targets k r"]] | None
) -> npt.NDArray[np.float64]:
    """Mean cosine between exemplars and other pictures along the path, for each target.

    In each layer it is that of their signal vectors less the mean of natural images: in the basis
    of the singular vectors these are the mean outputs. Then all pairs and all layers are averaged.
    With the mean left in, all cosines of early layers would be near 1, those of noise too.

    Parameters
    ----------
    others
        by layer, k pictures for each target; None takes the exemplars themselves, in pairs.

    Returns
    -------
    shape (targets,); NaN if there is no pair
    """
    of_layers = []
    for layer in path.layers:
        mean = path.means[layer.name]
        exemplars = _unit(path.exemplars[layer.name].astype(np.float64) - mean)
        pictures = exemplars if others is None else _unit(others[layer.name] - mean)
        cosines = np.einsum("tkr,tpr->tkp", pictures, exemplars)
        if others is None:
            places = np.arange(cosines.shape[1])
            cosines[:, places, places] = np.nan
        of_layers.append(_mean(cosines.reshape(len(cosines), -1)))
    return _mean(np.stack(of_layers, axis=1))


def noise_pictures(visualized: Visualized) -> npt.NDArray[np.uint8]:
    """Pictures of noise in the colours of natural ones: shape (k, m, n, c)."""
    pixels = visualized.pixels
    generator = torch.Generator().manual_seed(_SEED)
    shape = (_NOISE, pixels.channels, pixels.height, pixels.width)
    return eight_bits(pixels.squashed(torch.randn(shape, generator=generator).double()))


def _unseen_signals(
    visualized: Visualized, pictures: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    """Signals under unseen changes, in the network as it is: shape (changes, k, r)."""
    space = visualized.pixels
    changed = unseen(torch.from_numpy(pictures).permute(0, 3, 1, 2).double() / 255)
    inputs = space.inputs(changed.flatten(0, 1)).float()
    means = []
    with (
        torch.no_grad(),
        layer_outputs(
            visualized.model,
            [visualized.layer],
            visualized.convention,
            LayerOutput.mean,
            visualized.device,
        ) as outputs,
    ):
        for some in inputs.split(batch_size(visualized.device, space.height, space.width)):
            means.append(outputs(some)[visualized.layer.name].double())
    signals = torch.cat(means) @ visualized.U.to(means[0])
    return signals.cpu().numpy().reshape(*changed.shape[:2], -1)


def _member_excess(
    signals: npt.NDArray[np.float64], targets: Sequence[Target], natural: NaturalSignals
) -> npt.NDArray[np.float64]:
    of_members = np.full(signals.shape, np.nan)
    for place, target in enumerate(targets):
        positive = excess(signals[place], natural.mean, natural.greatest)
        negative = excess(signals[place], natural.mean, natural.least)
        for member in target.members:
            own = positive if member.sign > 0 else negative
            of_members[place, member.vector] = own[member.vector]
    return of_members


def _reason(measures: Measures, place: int, picture: Optimised) -> str:
    """Why a picture is not to be trusted, in words; empty if it is."""
    if picture.failed:
        return picture.failed
    plain, changed = measures.excess[place], measures.excess_unseen[place]
    if not np.isfinite(plain):
        return "its signal is not finite, or all natural images have the same"
    if plain <= 1:
        return (
            f"its excess of {plain:.2f} is not above 1: the mean signal of a natural image is "
            "stronger"
        )
    if not changed >= LEAST_KEPT * plain:
        return (
            f"of its excess of {plain:.2f}, {changed:.2f} is left under changes that it was not "
            "optimised for"
        )
    own, natural, noise = (
        measures.path_similarity[place],
        measures.exemplar_similarity[place],
        measures.noise_similarity[place],
    )
    if own <= noise + LEAST_OF_THE_WAY * (natural - noise) and noise < natural:
        return (
            f"along the network it is no more like natural images than noise is: similarity "
            f"{own:.2f}, of noise {noise:.2f}, of exemplars {natural:.2f}"
        )
    return ""


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: npt.NDArray[np.float64] = np.where(norms > 0, vectors / norms, np.nan)
    return unit


def _mean(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each row without NaN; NaN if nothing else is there."""
    there = ~np.isnan(rows)
    count = there.sum(axis=1)
    sums = np.where(there, rows, 0).sum(axis=1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
