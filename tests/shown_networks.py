"""Networks shown images by themselves: their layers and signals, as a run finds them."""

import torch

from ddp_tasks.networks.forward_pass import forward_pass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import ExtractionParameters

CPU = torch.device("cpu")


def pictures(images=5, shape=(2, 6, 6), seed=0):
    return torch.rand(images, *shape, generator=torch.Generator().manual_seed(seed))


def ready(model):
    return model.eval().requires_grad_(False)


def shown(model, images, batch=64, **options):
    """Layers, and signals of images in batches of a size, as a run finds them."""
    options.setdefault("alone", batch == 1)
    found = trace_layers(model, images, **options)
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in found.linear}
    forward = forward_pass(
        model,
        found.linear,
        U,
        found.images,
        options=ExtractionParameters(),
        device=CPU,
        convention=found.convention,
    )
    return found, extract(forward, list(images.split(batch)))


def names(found):
    return [layer.name for layer in found.linear]
