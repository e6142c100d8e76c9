"""What a worker opens once: a run's model and images, and the lock around them."""

from __future__ import annotations

import socket
from functools import lru_cache
from threading import RLock

from torch import nn

from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import Prepared, content_of, prepare
from ddp_tasks.store.identity import MadeOf
from schemas.parameters import RunError, RunParameters

#: Held while the model of a worker is opened or run. A worker may have several threads, but it has
#: one model, and what hooks read of it belongs to one pass.
ONE_AT_A_TIME = RLock()


def prepared_once(run: str, made_of: MadeOf) -> Prepared:
    """What ``prepare`` gives for run parameters as JSON, once in each worker process.

    Its images are not labelled: see ``ImageSet.as_stored``. A process may outlive the files that
    it began with: all is opened anew once code or weights have changed, or a run is of others.

    Raises
    ------
    RunError
        If this process opens another model than that.
    """
    with ONE_AT_A_TIME:
        parameters = RunParameters.model_validate_json(run)
        return _prepared(run, content_of(parameters.model, parameters.images), made_of)


@lru_cache(maxsize=1)
def _prepared(run: str, content: str, made_of: MadeOf) -> Prepared:
    prepared = prepare(RunParameters.model_validate_json(run), labelled=False)
    check_same_model(prepared.model, made_of.model_digest)
    return prepared


def check_same_model(model: nn.Module, digest: str) -> None:
    """Refuse a network that another process opened with other weights.

    Raises
    ------
    RunError
        Naming this machine.
    """
    if model_digest(model) != digest:
        raise RunError(
            f"{socket.gethostname()} opens another model than the flow does: their digests differ. "
            "The weights were replaced meanwhile, lie elsewhere there, or are other ones at every "
            "call of model.factory"
        )
