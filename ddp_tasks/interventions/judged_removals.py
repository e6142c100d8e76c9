"""Many removals from one layer, judged on images that come in batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddp_tasks.interventions.removal_effects import Classes, Floats, judged
from ddp_tasks.interventions.vector_removal import removing
from ddp_tasks.interventions.verified_removal import Way
from ddp_tasks.signals.host_copies import HostCopy
from schemas.ablation_variables import CHANGES

#: Values of a layer's output in one pass, over images and removals: 2²¹ fill a processor's caches
#: and no more, and are many images in deep layers, whose outputs are small. A GPU takes 256 MB at a
#: time, or it would wait for the next pass to be started.
_VALUES = {"cpu": 1 << 21, "cuda": 1 << 26}
#: Removals in one pass at most: they share what comes before the layer, and the more there are,
#: the less it costs each. More only make the batches of images too small.
_MOST_TOGETHER = 64


@dataclass(frozen=True)
class JudgedRemovals:
    """What images are named before and after removals."""

    before: Floats
    """shape (change, n)."""
    after: Floats
    """shape (change, removal, n)."""


def judged_removals(
    way: Way,
    directions: Sequence[Tensor],
    batches: Iterable[tuple[Tensor, Classes]],
    class_of_output: Classes | None = None,
) -> JudgedRemovals:
    """Class scores of images without each set of directions, judged.

    Parameters
    ----------
    way
        how directions are removed from the layer; see ``quickest_way``.
    directions
        shape (d, m) each, orthonormal; one removal each, all of which fit into memory.
    batches
        images, shape (n, ...), and their classes, shape (n,); any number of them, one after the
        other. They are not kept.
    class_of_output
        as ``judged`` takes it.
    """
    # Removing nothing gives the scores before, by the same arithmetic as all others.
    nothing = torch.zeros_like(directions[0][:, :1])
    removals = way.removals([nothing, *directions])
    size = math.prod(way.cut.layer.output_shape)
    values = _VALUES[way.cut.weight.device.type]
    together = min(len(removals), _MOST_TOGETHER, max(1, values // size))
    found: list[list[npt.NDArray[np.float64]]] = []
    with removing(way.cut, together=way.together) as scores:
        for images, target in batches:
            for few, their in _split(images, target, max(1, values // (together * size))):
                # A GPU is told of all of them before anybody waits for the first.
                rows = [
                    HostCopy(scores(few, removals[start : start + together]).float())
                    for start in range(0, len(removals), together)
                ]
                found.append([judged(r.arrived().numpy(), their, class_of_output) for r in rows])
    if not found:
        return JudgedRemovals(
            np.empty((len(CHANGES), 0)), np.empty((len(CHANGES), len(directions), 0))
        )
    every = np.concatenate([np.concatenate(rows, axis=1) for rows in found], axis=2)
    return JudgedRemovals(every[:, 0], every[:, 1:])


def _split(
    images: Tensor, target: Classes, most: int
) -> Iterable[tuple[Tensor, npt.NDArray[np.int64]]]:
    for start in range(0, len(images), most):
        yield images[start : start + most], target[start : start + most]
