"""Everything that must hold of a run before its work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from threading import RLock

import torch
from torch import nn

from ddp_tasks.images import ImageSet, open_images
from ddp_tasks.layers import Layers, trace_layers
from ddp_tasks.models import missing_weights, open_model
from schemas.parameters import RunError, RunParameters
from schemas.run_files import nearest

#: Held while the model of a worker is opened or run. A worker may have several threads, but it has
#: one model, and what hooks read of it belongs to one pass.
ONE_AT_A_TIME = RLock()


@dataclass(frozen=True)
class Prepared:
    """A run whose model and images fit each other."""

    model: nn.Module
    images: ImageSet
    layers: Layers
    """only the layers that the run selects."""


def prepare(run: RunParameters) -> Prepared:
    """Open a run's model and images and hold them against each other and against the run.

    Raises
    ------
    RunError
        If anything does not open or does not fit, naming it, its value and what is allowed.
    """
    images, model = _opened(run)
    example = images.example()
    try:
        layers = trace_layers(model, example)
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(example.shape[1:])
        raise RunError(
            f"{run.model.factory!r} does not take images of shape {shape}: {error}"
        ) from None
    _check_labels("images", images, layers.outputs, run.model.factory)
    _check_superclasses(run, images.target_classes)
    if run.model.training is not None:
        training_set = open_images(run.images.training_set(run.model.training))
        _check_labels("training images", training_set, layers.outputs, run.model.factory)
    return Prepared(model, images, _selected(run, layers))


def prepared_once(run: str) -> Prepared:
    """What ``prepare`` gives for run parameters as JSON, once in each worker process."""
    with ONE_AT_A_TIME:
        return _prepared(run)


@lru_cache(maxsize=1)
def _prepared(run: str) -> Prepared:
    return prepare(RunParameters.model_validate_json(run))


def best_device() -> torch.device:
    """The GPU of this process where it has one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _opened(run: RunParameters) -> tuple[ImageSet, nn.Module]:
    try:
        images = open_images(run.images)
    except RunError as error:
        # All that is missing is said at once, and no weights are downloaded before.
        missing = missing_weights(run.model)
        change = (*error.change, *(["model.weights"] if missing else []))
        message = "\n".join(filter(None, [str(error), missing]))
        raise RunError(message, change=change) from error.__cause__
    return images, open_model(run.model)


def _check_labels(what: str, images: ImageSet, outputs: int, factory: str) -> None:
    greatest = int(images.target.max())
    if greatest >= outputs:
        raise RunError(
            f"{what}: the greatest label is {greatest}, but {factory!r} tells {outputs} classes "
            f"apart; labels from 0 to {outputs - 1} are allowed"
        )


def _check_superclasses(run: RunParameters, target_classes: Sequence[str]) -> None:
    for name, members in run.significance.superclasses.items():
        for member in members:
            if member not in target_classes:
                raise RunError(
                    f"significance.superclasses.{name}: there is no class {member!r}"
                    f"{nearest(member, target_classes)} among the {len(target_classes)} of the "
                    "images"
                )


def _selected(run: RunParameters, layers: Layers) -> Layers:
    names = [layer.name for layer in layers.linear]
    if not names:
        raise RunError(f"{run.model.factory!r} has no linear layer to analyse")
    globs = [] if run.layers == "all" else list(run.layers)
    for key, patterns in (("layers", globs), ("significance.layers", run.significance.layers)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise RunError(f"{key}: {pattern!r} matches no layer of {', '.join(names)}")
    chosen = tuple(layer for layer in layers.linear if run.selects(layer.name))
    left_out = {n: "not selected by the run" for n in names if not run.selects(n)}
    return Layers(chosen, {**layers.not_analysed, **left_out}, layers.outputs)
