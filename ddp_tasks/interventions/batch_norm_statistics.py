"""BatchNorm's running means and variances estimated again, after the layers before it changed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddp_tasks.networks.calling_convention import CallingConvention


def normalising(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorms of a network that normalise by running means and variances."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


def estimate_again(
    model: nn.Module, batches: Iterable[Tensor], convention: CallingConvention
) -> None:
    """Replace running means and variances by those of some images, as averages over batches.

    Only the BatchNorms are in training mode meanwhile; dropout stays off and no weight changes.
    All batches weigh alike, so they should hold equally many images of mixed classes: a batch is
    normalised by its own statistics before the layers that follow see it.

    Parameters
    ----------
    model
        in evaluation mode; changed in place.
    batches
        shape (n, ...) each, on the network's device.

    Raises
    ------
    ValueError
        If a BatchNorm sees a single value of a channel, such as of one image in a batch.
    """
    norms = normalising(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    try:
        with torch.no_grad():
            for batch in batches:
                for given in convention.batches(batch):
                    model(given)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
