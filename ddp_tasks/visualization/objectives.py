"""What is maximised: the mean of a weighted sum of signals, or its soft maximum (Eqs. 19, 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ddp_tasks.visualization.layer_outputs import LayerOutput
from ddp_tasks.visualization.targets import Objective, Target

if TYPE_CHECKING:
    from jaxtyping import Float64, Shaped

#: Temperature of the soft maximum, in standard deviations over the positions.
_TEMPERATURE = 0.5


def target_directions(
    U: Float64[Tensor, "d r"], targets: Sequence[Target]
) -> Float64[Tensor, "k d"]:
    """Vectors g with gᵀ(Y - b) = ± Σ wᵢ uᵢᵀ(Y - b), negated where the sum is minimised.

    Parameters
    ----------
    U
        shape (d, r); left singular vectors.
    """
    rows = [torch.from_numpy(target.sign * target.row(U.shape[1])) for target in targets]
    return torch.stack(rows).to(U) @ U.T


def kept_for(objective: Objective, output: LayerOutput) -> Tensor:
    """What an objective needs of a layer's output: shape (k, d), or (k, positions, d)."""
    if objective == "mean":
        return output.mean()
    values = output.values()
    return values.reshape(len(values), -1, values.shape[-1])


def objectives(objective: Objective, kept: Tensor, directions: Tensor) -> Shaped[Tensor, " k"]:
    """What is maximised for each picture.

    Parameters
    ----------
    kept
        as ``kept_for`` gives it.
    directions
        as ``target_directions`` gives them, in the type of ``kept``.
    """
    if objective == "mean":
        return torch.linalg.vecdot(kept, directions)
    return soft_maximum(torch.bmm(kept, directions[:, :, None])[..., 0])


def soft_maximum(signals: Tensor) -> Tensor:
    """The soft maximum over positions, τ log mean exp(s / τ): shape (k,).

    τ is half of the standard deviation over the positions, so that the unit does not matter; no
    gradient flows through it. The result lies between the mean and the maximum; of one position it
    is the signal.

    Parameters
    ----------
    signals
        shape (k, positions).
    """
    temperature = _temperature(signals.detach())
    scaled = torch.logsumexp(signals / temperature, dim=1, keepdim=True)
    positions = signals.new_tensor(signals.shape[1]).log()
    return (temperature * (scaled - positions))[:, 0]


def _temperature(signals: Tensor) -> Tensor:
    spread = signals.std(dim=1, correction=0, keepdim=True)
    # Equal signals have no spread: any temperature gives their mean.
    return torch.where(spread > 0, _TEMPERATURE * spread, 1)


def likeness(
    kept: Tensor, directions: Tensor, groups: Tensor, natural: Tensor
) -> Shaped[Tensor, " k"]:
    """How much each picture's activations are like those of the others of its target.

    Mean cosine similarity to the others of the group, of mean outputs less that of natural images
    and less their part along the target's own direction, which all of them must share.

    Parameters
    ----------
    kept, directions
        as in ``objectives``.
    natural
        shape (d,); mean output of natural images, without bias.
    groups
        shape (k,); numbers of the targets that the pictures belong to.

    Returns
    -------
    0 for pictures that are alone
    """
    mean = (kept if kept.ndim == 2 else kept.mean(dim=1)) - natural
    unit = torch.nn.functional.normalize(directions, dim=1)
    free = mean - torch.linalg.vecdot(mean, unit)[:, None] * unit
    cosines = torch.nn.functional.normalize(free, dim=1)
    others = (groups[:, None] == groups).fill_diagonal_(False)
    sums = torch.where(others, cosines @ cosines.T, 0).sum(dim=1)
    return sums / others.sum(dim=1).clamp_min(1)
