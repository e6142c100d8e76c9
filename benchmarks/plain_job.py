"""A run's science as a plain script in one process: what the main job is held against.

    python -m benchmarks.plain_job RUN [KEY=VALUE ...]

Trains or loads the network, decomposes every layer, passes the images through it once, and counts
in NumPy which singular vectors are significant for which classes, in both directions. It has no
store, no scheduler, no page, and handles no fault. Prints one line of JSON: by layer the number of
singular vectors that are significant for a class, at the run's own levels.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.training import train
from ddp_tasks.significance.splits import split_images
from schemas.run_files import load_run


def trained(run):
    """The run's network, trained or loaded."""
    if run.model.training is None:
        return open_model(run.model)
    images = open_images(run.images.training_set(run.model.training))
    return train(partial(open_model, run.model), images, run.model.training)


def mean_outputs(network: nn.Module, layers, batches) -> dict[str, Tensor]:
    """Of each image and layer the mean output over positions, less the bias."""
    means: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name, module, output):
        mean = output.flatten(2).mean(2) if output.ndim > 2 else output
        means[name].append(mean if module.bias is None else mean - module.bias)

    hooks = [
        layer.register_forward_hook(lambda module, _, output, name=name: keep(name, module, output))
        for name, layer in layers.items()
    ]
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in means.items()}


def significant_vectors(run, network, images) -> dict[str, int]:
    """By layer the number of vectors significant for a class, each direction by itself."""
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    spectra = {
        name: torch.linalg.svd(layer.weight.detach().flatten(1).double(), full_matrices=False)
        for name, layer in layers.items()
    }
    count = len(images)
    batches = (images.batch(i, min(i + 64, count)) for i in range(0, count, 64))
    means = mean_outputs(network, layers, batches)
    part = split_images(images.target, run.significance.split, run.significance.seed)
    chooses, names = part == 0, images.target_classes
    classes = [np.flatnonzero(chooses & (images.target == c)) for c in range(len(names))]
    numbers = {}
    for name, (U, S, Vh) in spectra.items():
        # The entry of U greatest in size is positive, as in the store.
        signed = U * torch.sign(U.gather(0, U.abs().argmax(0, keepdim=True)))
        rank = int((S[0] * max(U.shape[0], Vh.shape[1]) * np.finfo(np.float64).eps < S).sum())
        signals = (means[name] @ signed[:, :rank].float()).numpy()
        quantile, percentage = run.significance.levels(name)
        levels = np.quantile(signals[chooses], [quantile, 1 - quantile])
        above = np.stack([(signals[rows] > levels[0]).mean(0) for rows in classes])
        below = np.stack([(signals[rows] < levels[1]).mean(0) for rows in classes])
        numbers[name] = sum(
            int((shares >= percentage / 100).any(0).sum()) for shares in (above, below)
        )
    return numbers


def main() -> None:
    """Do the work and print."""
    run = load_run(sys.argv[1], sys.argv[2:])
    network = trained(run)
    print(json.dumps(significant_vectors(run, network, open_images(run.images))))


if __name__ == "__main__":
    main()
