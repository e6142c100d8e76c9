"""How a run is labelled in Prefect's UI: tags to filter by, and keys that line its artifacts up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from prefect import runtime, tags
from prefect.client.orchestration import get_client

from ddp_tasks.stages.artifacts import belonging_to, show
from schemas.parameters import RunParameters
from schemas.run_files import preset_of
from schemas.shown import shown
from schemas.zoo import ZooParameters

_LONGEST_TAG = 80


@contextmanager
def labelled(run: RunParameters) -> Iterator[None]:
    """In a flow: tag its run and tasks, and have the keys of its artifacts name run and model."""
    model = model_name(run.model.factory, run.model.kwargs)
    named = {
        "model": model,
        "images": _callable(run.images.factory),
        "preset": preset_of(run),
    }
    with (
        _tagged({kind: name for kind, name in named.items() if name}),
        # One name is enough where both are the same.
        belonging_to(*dict.fromkeys((run.name, _plain(model)))),
    ):
        yield


@contextmanager
def labelled_zoo(zoo: ZooParameters) -> Iterator[None]:
    """The same as ``labelled``, of a list of models."""
    with _tagged({"models": zoo.name}), belonging_to(zoo.name):
        yield


@contextmanager
def labelled_comparison(name: str) -> Iterator[None]:
    """The same as ``labelled``, of a comparison of runs."""
    with _tagged({"comparison": name}), belonging_to(name):
        yield


@contextmanager
def labelled_night(name: str) -> Iterator[None]:
    """The same as ``labelled``, of a night over a folder of checkpoints."""
    with _tagged({"checkpoints": name}), belonging_to(name):
        yield


def model_name(factory: str, kwargs: Mapping[str, Any]) -> str:
    """The name of a network: its callable, and the numbers that it is called with."""
    numbers = [f"{key}={value}" for key, value in kwargs.items() if isinstance(value, int | float)]
    return " ".join([_callable(factory), *numbers])


def _callable(factory: str) -> str:
    return factory.rpartition(":")[2]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@contextmanager
def _tagged(named: Mapping[str, str]) -> Iterator[None]:
    own = [shown(f"{kind}: {name}", _LONGEST_TAG) for kind, name in named.items()]
    # The run of a flow has its tags before the flow's function is called.
    show(partial(_tag, runtime.flow_run.id, own))
    with tags(*own):
        yield


def _tag(flow_run: Any, own: list[str]) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(
            flow_run, tags=[*client.read_flow_run(flow_run).tags, *own]
        ).raise_for_status()
