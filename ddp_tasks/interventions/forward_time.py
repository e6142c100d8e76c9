"""How long a forward pass of one network takes beside that of another."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention

#: Turns of both networks at least and at most, and seconds after which no further turn begins.
LEAST_TURNS, MOST_TURNS, SECONDS = 9, 51, 2.0


def forward_time_ratio(
    first: nn.Module,
    second: nn.Module,
    images: Tensor,
    convention: CallingConvention,
    seconds: float = SECONDS,
) -> float:
    """Seconds of the second network's forward pass over those of the first.

    Both pass the same images in turns, after one pass each to warm up, and each is first in every
    second turn. The median is that of the turns' own ratios: whatever else the machine does lasts
    longer than a turn, and slows both.

    Parameters
    ----------
    images
        shape (n, ...), on the networks' device.
    """

    def passed(model: nn.Module) -> float:
        started = time.perf_counter()
        for given in convention.batches(images):
            model(given)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - started

    ratios: list[float] = []
    with torch.inference_mode():
        passed(first)
        passed(second)
        began = time.perf_counter()
        while len(ratios) < LEAST_TURNS or (
            len(ratios) < MOST_TURNS and time.perf_counter() - began < seconds
        ):
            if len(ratios) % 2:
                other, one = passed(second), passed(first)
            else:
                one, other = passed(first), passed(second)
            ratios.append(other / one)
    return median(ratios)
