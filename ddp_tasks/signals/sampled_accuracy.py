"""Answers of a network to a small sample of a run's images, before the pass over all of them."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddp_tasks.images.image_sets import ImageSet
from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.class_scores import whole_output

#: Most images of a sample, and the seconds after which no more are shown to a network.
MOST_IMAGES, SECONDS = 256, 2.0

#: Images of the first batch, whose seconds give the size of the next, and of the greatest batch.
_FIRST, _LARGEST = 4, 64


def sampled_answers(
    model: nn.Module,
    images: ImageSet,
    convention: CallingConvention,
    seconds: float = SECONDS,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Show a network a sample of its images, spread over the run; stop when the time is over.

    Parameters
    ----------
    model
        in evaluation mode.
    convention
        how the network takes its images, as its tracing found out.
    seconds
        after which no further batch begins; one batch is always shown.

    Returns
    -------
    predicted, target: shape (n,); class numbers of the run, -1 where the network's answer counts
    for none of them; images that cannot be read are left out
    """
    order = np.unique(np.linspace(0, len(images) - 1, MOST_IMAGES).astype(int))
    # In any order but the data set's: its first images may all be of one class.
    order = np.random.default_rng(0).permutation(order)
    started, size, done = time.monotonic(), _FIRST, 0
    predicted, target = [], []
    with torch.inference_mode():
        while done < len(order) and (done == 0 or time.monotonic() - started < seconds):
            chosen = order[done : done + size].tolist()
            done += len(chosen)
            pictures = {at: picture for at in chosen for picture in images.read(at, at + 1)}
            readable = {at: p for at, p in pictures.items() if isinstance(p, Tensor)}
            if readable:
                batch = images.inputs(list(readable.values()))
                predicted.append(answers(model, batch, convention))
                target.append(images.target[list(readable)])
            an_image = (time.monotonic() - started) / done
            size = max(1, min(_LARGEST, int(seconds / 4 / max(an_image, 1e-6))))
    if not predicted:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    chosen_classes = np.concatenate(predicted)
    if (of_output := images.class_of_output) is not None:
        chosen_classes = of_output[chosen_classes]
    return chosen_classes, np.concatenate(target)


def answers(
    model: nn.Module, images: Tensor, convention: CallingConvention
) -> npt.NDArray[np.int64]:
    """Numbers of the network's greatest class scores.

    Parameters
    ----------
    images
        shape (n, ...), on the network's device.

    Returns
    -------
    shape (n,)
    """
    found = []
    rest = len(images)
    for given in convention.batches(images):
        scores = convention.scores(whole_output(model(given)), len(given))
        own = min(len(given), 1 if convention.alone else rest)
        found.append(scores[:own].argmax(dim=1))
        rest -= own
    return torch.cat(found).cpu().numpy().astype(np.int64)
