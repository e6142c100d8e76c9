"""Training a classifier on the spot, for runs that bring no weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ddp_tasks.images import ImageSet
from schemas.parameters import TrainingParameters


def train(
    build: Callable[[], nn.Module],
    images: ImageSet,
    parameters: TrainingParameters,
    done: Callable[[int], None] = lambda images: None,
) -> nn.Module:
    """Build a classifier and train it on labelled images.

    Adam with cross-entropy, the learning rate falling on a half cosine to zero.
    The seed fixes the first weights and the order of the images, so one machine trains the same
    network twice. Last batches of an epoch that are not full are left to the next epoch's draw.

    Parameters
    ----------
    build
        gives the network; called under the seed, which so fixes its first weights.
    images
        the training set, float tensors as ``batch`` gives them.
    done
        told the number of images after each step.

    Returns
    -------
    the network, on the CPU, in evaluation mode, without gradients
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = torch.cat([images.batch(i, min(i + 1024, len(images))) for i in _steps(images, 1024)])
    targets = torch.from_numpy(images.target)
    batch_size = min(parameters.batch_size, len(images))
    steps_an_epoch = len(images) // batch_size
    generator = torch.Generator().manual_seed(parameters.seed)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(parameters.seed)
        model = build()
        model.to(device).train().requires_grad_(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=parameters.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=parameters.epochs * steps_an_epoch
        )
        for _ in range(parameters.epochs):
            order = torch.randperm(len(images), generator=generator)
            for step in range(steps_an_epoch):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                loss = cross_entropy(model(inputs[chosen].to(device)), targets[chosen].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done(batch_size)
    return model.cpu().eval().requires_grad_(False)


def images_trained_on(images: int, parameters: TrainingParameters) -> int:
    """How many images ``train`` goes through in all, repeats counted."""
    batch_size = min(parameters.batch_size, images)
    return parameters.epochs * (images // batch_size) * batch_size


def _steps(images: ImageSet, size: int) -> range:
    return range(0, len(images), size)
