"""A run's model and images, opened once in each worker, and the lock around them."""

from __future__ import annotations

import socket
from functools import lru_cache
from threading import RLock

from torch import nn

from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import Prepared, content_of, prepare
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import RunError

#: Held while the model of a worker is opened or run. A worker may have several threads, but it has
#: one model, whose hooks serve one pass at a time.
ONE_AT_A_TIME = RLock()


def prepared_once(stored: StoredRun) -> Prepared:
    """The result of ``prepare`` for a run, computed once in each worker process.

    Its images are not labelled: see ``ImageSet.as_stored``. A process may outlive the files that
    it opened: model and images are opened again when code, weights or run have changed.

    Raises
    ------
    RunError
        If this process opens another model than the flow.
    """
    with ONE_AT_A_TIME:
        return _prepared(stored.anywhere(), content_of_run(stored))


@lru_cache(maxsize=1)
def _prepared(stored: StoredRun, content: str) -> Prepared:
    prepared = prepare(stored.parameters, labelled=False)
    check_same_model(prepared.model, stored.made_of.model_digest)
    return prepared


def content_of_run(stored: StoredRun) -> str:
    """A digest of the code and the weights of a run's model and images as they are now."""
    return content_of(stored.parameters.model, stored.parameters.images)


def check_same_model(model: nn.Module, digest: str) -> None:
    """Refuse a network whose weights differ from those that the flow opened.

    Raises
    ------
    RunError
        If they differ; the message names this machine.
    """
    if model_digest(model) != digest:
        raise RunError(
            f"{socket.gethostname()} opens another model than the flow: their digests differ. "
            "The weights were replaced since, differ on that machine, or change with every call "
            "of model.factory"
        )
