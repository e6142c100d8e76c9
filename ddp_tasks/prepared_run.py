"""Opening a run's model and images, and checking everything that must hold before work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from torch import nn

from ddp_tasks.callables.called_code import answering
from ddp_tasks.callables.source_code import code_digests
from ddp_tasks.images.asked_twice import check_steady
from ddp_tasks.images.image_sets import ImageSet, open_images
from ddp_tasks.images.labels import remembered
from ddp_tasks.networks.checkpoint_files import read_checkpoint
from ddp_tasks.networks.checkpoints import Weights
from ddp_tasks.networks.layers import Layers, without_zeros
from ddp_tasks.networks.models import missing_weights, open_weighted, weights_state
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers
from ddp_tasks.significance.stability import bootstrap_bytes
from ddp_tasks.store.identity import code_of
from schemas.parameters import ImageParameters, ModelParameters, RunError, RunParameters
from schemas.run_files import nearest
from schemas.shown import error_shown, shown

#: Most images shown to a network one by one, to find layers that not all images reach.
MOST_TRIED = 32

#: Reasons that a message lists for what is not analysed, and modules that it names for each.
_MOST_LISTED, _MOST_NAMED = 10, 4


@dataclass(frozen=True)
class Prepared:
    """A run whose model and images fit each other."""

    model: nn.Module
    images: ImageSet
    layers: Layers
    """only the layers that the run selects."""
    weights: Weights | None = None
    """which part of a checkpoint's file became the model's weights."""


def prepare(run: RunParameters, *, labelled: bool = True) -> Prepared:
    """Open a run's model and images, and check that they fit each other and the run.

    Parameters
    ----------
    labelled
        read the labels, which may mean reading every picture, and check them against the network;
        False if a store has them or nobody needs them.

    Raises
    ------
    RunError
        If anything does not open or fit, naming it, its value and what is allowed.
    """
    with answering(f"code of {run.images.factory!r} or {run.model.factory!r}"):
        if not _KEPT.uses or not labelled:
            return _prepared_for(run, labelled)
        key = f"{run.model_dump_json()} {content_of(run.model, run.images)}"
        kept = _KEPT.last
        if kept is None or kept[0] != key:
            kept = _KEPT.last = (key, _prepared_for(run, labelled))
        return kept[1]


@contextmanager
def opened_once() -> Iterator[None]:
    """Within this context, ``prepare`` opens the labelled images and the model of a run once.

    Checking a run, decomposing its layers and measuring its capacity all need them. They are
    opened anew when code or weights have changed, such as after training.
    """
    with remembered():
        _KEPT.uses += 1
        try:
            yield
        finally:
            _KEPT.uses -= 1
            if not _KEPT.uses:
                _KEPT.last = None


class _Kept:
    """What ``opened_once`` keeps: only one run, since a flow carries out one at a time."""

    def __init__(self) -> None:
        self.uses = 0
        self.last: tuple[str, Prepared] | None = None


_KEPT = _Kept()


def content_of(*sections: ModelParameters | ImageParameters) -> str:
    """A text that changes with the code and the weights behind parts of a run."""
    code = [code_digests(section.factory) for section in sections]
    weights = [weights_state(part) for part in sections if isinstance(part, ModelParameters)]
    return f"{code} {weights}"


def _prepared_for(run: RunParameters, labelled: bool) -> Prepared:
    images, model, weights = opened(run, labelled)
    layers = _traced(run, model, images)
    if labelled:
        _check_labels("images", images, layers.outputs, run.model.factory)
        _check_superclasses(run, images.target_classes)
        check_steady(images)
    if labelled and run.model.training is not None:
        training_set = open_images(run.images.training_set(run.model.training))
        _check_labels("training images", training_set, layers.outputs, run.model.factory)
    selected = _selected(run, model, layers)
    if labelled:
        _check_memory(run, images, selected)
    return Prepared(model, images, selected, weights)


def _traced(run: RunParameters, model: nn.Module, images: ImageSet) -> Layers:
    """The layers that the run's images pass through.

    Raises
    ------
    RunError
        If the network does not take the images, or gives an image different outputs.
    """
    factory, part = run.model.factory, run.model.output
    examples = images.examples(2)
    shape = tuple(examples.shape[1:])
    try:
        return trace_layers(
            model,
            examples,
            output=None if part is None else str(part),
            alone=run.shards.batch_size == 1,
            more=lambda: images.examples(MOST_TRIED).split(1),
        )
    except UnsteadyNetworkError as error:
        raise RunError(f"model.factory {factory!r}: {error}") from error
    except Exception as error:  # the network is the person's own code
        raise RunError(
            f"model.factory {factory!r} does not take images of shape {shape}: {reason_of(error)}"
        ) from error


def opened(run: RunParameters, labelled: bool = True) -> tuple[ImageSet, nn.Module, Weights | None]:
    """A run's images and model, which are not checked against each other.

    Raises
    ------
    RunError
        If one of them does not open.
    """
    try:
        images = open_images(run.images, labelled=labelled)
    except RunError as error:
        # Missing weights are reported at the same time; none are downloaded before.
        missing = missing_weights(run.model)
        change = (*error.change, *(["model.weights"] if missing else []))
        message = "\n".join(filter(None, [str(error), missing]))
        raise RunError(message, change=change) from error.__cause__
    return images, *open_weighted(run.model)


def _check_labels(what: str, images: ImageSet, outputs: int, factory: str) -> None:
    if (of_output := images.class_of_output) is not None:
        if len(of_output) != outputs:
            raise RunError(
                f"{what}: their classes are groups of {len(of_output)} classes of a network, but "
                f"{factory!r} has {outputs}"
            )
        if int(of_output.min()) < -1 or int(of_output.max()) >= len(images.target_classes):
            raise RunError(
                f"{what}: class_of_output holds numbers from {of_output.min()} to "
                f"{of_output.max()}; those of the {len(images.target_classes)} classes, from 0, "
                "and -1 for none are allowed"
            )
        return
    greatest = int(images.target.max())
    if greatest >= outputs:
        raise RunError(
            f"{what}: the greatest label is {greatest}, but {factory!r} has {outputs} "
            f"classes; labels from 0 to {outputs - 1} are allowed"
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


def check_classes(run: RunParameters, images: ImageSet) -> None:
    """Refuse images of a single class, among which nothing tells classes apart.

    Every vector that passes p would be significant for that class alone, η² has nothing between
    classes, and a hypergraph would have one hyperedge.

    Raises
    ------
    RunError
        Naming the class, and what is needed.
    """
    held = np.unique(images.target)
    if len(held) > 1:
        return
    name = shown(images.target_classes[held[0]])
    raise RunError(
        f"images.factory {run.images.factory!r}: the images are all of one class, "
        f"{name!r}; what is significant for a class is found beside others, so images of "
        "at least two classes are needed"
    )


def check_split(run: RunParameters, images: ImageSet) -> None:
    """Refuse classes with too few images to choose on some and to judge on others.

    Raises
    ------
    RunError
        Naming the classes, and what is needed.
    """
    counts = np.bincount(images.target, minlength=len(images.target_classes))
    single = [images.target_classes[c] for c in np.flatnonzero(counts == 1)]
    if run.significance.split is None or not single:
        return
    named = ", ".join(repr(shown(name)) for name in single[:_MOST_NAMED])
    more = f" and {len(single) - _MOST_NAMED} more" * (len(single) > _MOST_NAMED)
    raise RunError(
        f"significance.split: {run.significance.split:g} of each class's images choose thresholds "
        f"and vectors, and the others judge them, so a class needs 2 images; {named}{more} "
        f"{'has' if len(single) == 1 else 'have'} 1. Take more images of it, or write null: then "
        "the whole set both chooses and judges, which flatters what is found",
        change=["significance.split"],
    )


def _check_memory(run: RunParameters, images: ImageSet, layers: Layers) -> None:
    """Refuse more resamples than this machine has memory for."""
    resamples = run.significance.resamples
    most = int(np.bincount(images.target).max())
    nodes = len(run.significance.directions)
    vectors = nodes * max(layer.greatest_rank for layer in layers.linear)
    needed, available = bootstrap_bytes(resamples, most, vectors), psutil.virtual_memory().total
    if needed > available:
        raise RunError(
            f"significance.resamples: {resamples} resamples of {most} images a class and "
            f"{vectors} singular vectors take {needed / 2**30:,.1f} GiB, and this machine has "
            f"{available / 2**30:,.1f}; up to {resamples * available // needed} are allowed here",
            change=["significance.resamples"],
        )


def _selected(run: RunParameters, model: nn.Module, layers: Layers) -> Layers:
    names = [layer.name for layer in layers.linear]
    globs = [] if run.layers == "all" else list(run.layers)
    for key, patterns in (("layers", globs), ("significance.layers", run.significance.layers)):
        for pattern in patterns:
            if names and not any(fnmatchcase(name, pattern) for name in names):
                raise RunError(f"{key}: {pattern!r} matches no layer of {', '.join(names)}")
    others = {name: "not selected by the run" for name in names if not run.selects(name)}
    chosen = replace(
        layers,
        linear=tuple(layer for layer in layers.linear if layer.name not in others),
        not_analysed={**layers.not_analysed, **others},
    )
    chosen = without_zeros(model, chosen)
    if not chosen.linear:
        left_out = listed(chosen.not_analysed)
        raise RunError(f"{run.model.factory!r} has no linear layer to analyse{left_out}")
    return chosen


def listed(not_analysed: Mapping[str, str]) -> str:
    """The modules that are not analysed, and why, in words; empty if there are none."""
    reasons = list(by_reason(not_analysed))
    more = len(reasons) - _MOST_LISTED
    if not reasons:
        return ""
    modules = "; ".join(reasons[:_MOST_LISTED])
    return f": not analysed are {modules}" + (f"; and more for {more} other reasons" * (more > 0))


def by_reason(not_analysed: Mapping[str, str]) -> Iterator[str]:
    """The modules that are not analysed, those of one reason together; the first few by name."""
    modules: dict[str, list[str]] = {}
    for name, why in not_analysed.items():
        modules.setdefault(why, []).append(name)
    for why, names in modules.items():
        more = len(names) - _MOST_NAMED
        yield f"{', '.join(names[:_MOST_NAMED])}{f' and {more} more' * (more > 0)} ({why})"


def reason_of(error: BaseException) -> str:
    """The kind of an error and the first line of its message, for use within a sentence."""
    return error_shown(error).removeprefix("ValueError: ")


def trained_model(run: RunParameters, checkpoint: Path) -> ModelParameters:
    """The model that a run's training leaves: its weights are those of the checkpoint."""
    return run.model.model_copy(update={"weights": str(checkpoint), "training": None})


def training_digest(run: RunParameters) -> str:
    """The digest of what a training depends on, paths of data included."""
    include: Any = {"model": True, "images": {"factory", "kwargs"}}
    parameters = run.model_dump_json(include=include, exclude={"model": {"accuracy"}})
    return hashlib.sha256(f"{parameters} {json.dumps(code_of(run))}".encode()).hexdigest()


def check_trained(run: RunParameters, checkpoint: Path) -> None:
    """Refuse a checkpoint that cannot be read, or that another training left.

    Raises
    ------
    RunError
        If it is refused; the message says to remove it.
    """
    remedy = f"remove {checkpoint}, and the run trains its network again"
    try:
        kept = read_checkpoint(checkpoint)
    except RunError as error:
        raise RunError(f"{error}; {remedy}") from None
    if not isinstance(kept, Mapping) or kept.get("trained_by") != training_digest(run):
        raise RunError(f"{checkpoint} comes from another training; {remedy}", change=("out",))
