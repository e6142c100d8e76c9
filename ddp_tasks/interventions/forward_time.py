"""How long a forward pass of one network takes beside that of another."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from ddp_tasks.networks.calling_convention import CallingConvention

#: Turns of both networks at least, and seconds after which no further turn begins.
LEAST_TURNS, SECONDS = 5, 1.0


def forward_seconds(
    first: nn.Module,
    second: nn.Module,
    images: Tensor,
    convention: CallingConvention,
    seconds: float = SECONDS,
) -> tuple[float, float]:
    """Median seconds of a forward pass of each of two networks, in turns after one to warm up.

    Turns share what else the machine does; so the ratio says more than the seconds.

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

    with torch.inference_mode():
        passed(first), passed(second)
        began, taken = time.perf_counter(), list[tuple[float, float]]()
        while len(taken) < LEAST_TURNS or time.perf_counter() - began < seconds:
            taken.append((passed(first), passed(second)))
    one, other = zip(*taken, strict=True)
    return median(one), median(other)
