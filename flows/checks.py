"""Checks of a run and its folder before any work; the cluster is checked separately."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.prepared_run import Prepared, check_classes, check_split, check_trained, prepare
from ddp_tasks.store import trees, wholeness
from ddp_tasks.store.identity import Identity
from flows.output_folder import RunFiles
from schemas.parameters import RunParameters
from schemas.run_error import RunError

#: Models whose factories returned the same weights twice.
_SAME_WEIGHTS: WeakSet[Any] = WeakSet()


def check_run(run: RunParameters, files: RunFiles) -> None:
    """Refuse a run that cannot be carried out in a folder.

    Raises
    ------
    RunError
        If model, images or layers cannot be used or do not fit each other, or the folder holds
        another run's store.
    """
    if run.model.training is not None and files.checkpoint.exists():
        check_trained(run, files.checkpoint)
    prepared = prepare(run)
    check_classes(run, prepared.images)
    check_split(run, prepared.images)
    _check_same_weights(run, prepared)
    if trees.exists(files.store):
        # Weights that are still to be trained are compared after training.
        weights = None if run.model.training else model_digest(prepared.model)
        identity = Identity.of_run(run, weights, prepared.images.digest())
        wholeness.check_continuable(files.store, identity)


def _check_same_weights(run: RunParameters, prepared: Prepared) -> None:
    """Refuse a network that would have other random weights in each worker."""
    if run.model.weights or run.model.training or prepared.model in _SAME_WEIGHTS:
        return
    if model_digest(open_model(run.model)) != model_digest(prepared.model):
        raise RunError(
            f"model.factory {run.model.factory!r} gives other weights at every call, so "
            "each worker would have a different network; name a checkpoint with model.weights"
        )
    _SAME_WEIGHTS.add(prepared.model)
