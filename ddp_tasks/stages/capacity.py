"""The capacity metric of a run, and of a list of models, as Prefect tasks."""

from __future__ import annotations

import json
import operator
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr
from prefect import get_run_logger

from ddp_tasks.callables.source_code import code_digests
from ddp_tasks.capacity.metric import Matrization
from ddp_tasks.files.whole import write_whole
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.prepared_run import prepare
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.workers.spectra import (
    ALPHA_HAT,
    FLAGS,
    ModelAsked,
    RunAsked,
    cost,
    layer_spectra,
    model_dataset,
    run_layer_spectra,
    toeplitz_values,
    trace,
)
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import RunParameters
from schemas.recording import without_places
from schemas.zoo import ZooModel, ZooParameters


@stage("spectra")
def analyse_model(zoo: ZooParameters, model: ZooModel, path: Path, scheduler: str) -> None:
    """Compute a model's spectra and power laws on the Dask workers, and store them.

    What the store holds of the same weights is kept.

    Raises
    ------
    RunError
        If the model cannot be opened, or does not take inputs of the size given.
    """
    log = get_run_logger()
    input_size = tuple(model.input_size or zoo.input_size)
    network = open_model(model.parameters)
    layers = trace(network, input_size, model.factory)
    attributes = {
        "model_digest": model_digest(network),
        "input_size": " × ".join(map(str, input_size)),
        "matrizations": ", ".join(zoo.matrizations),
        "fold_batch_norm": str(zoo.fold_batch_norm),
        "boundary_side": str(zoo.boundary_side),
    }
    made_with = {**attributes, "code": json.dumps(code_digests(model.factory))}
    del network
    group = group_path("capacity", model.name)
    if groups.is_recorded(path, group, made_with):
        log.info("%s: kept from before", model.name)
        return
    matrizations = tuple(Matrization(name) for name in zoo.matrizations)
    asked = ModelAsked(
        model=model.parameters.model_dump_json(),
        model_digest=attributes["model_digest"],
        input_size=input_size,
        matrizations=matrizations,
        fold_batch_norm=zoo.fold_batch_norm,
        boundary_side=zoo.boundary_side,
        topic=f"spectra-{uuid4()}",
    )
    calls = {one.name: partial(layer_spectra, asked, one.name) for one in layers}
    rows = _over_layers(model.name, calls, layers, asked, (scheduler, zoo.patience))
    dataset = model_dataset(rows, layers, matrizations)
    _warn_of_refusals(model.name, dataset)
    groups.write(path, group, dataset.assign_attrs(attributes, model=model.name), made_with)


@stage("capacity")
def measure_capacity(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compute spectra and power laws of a run's layers on the Dask workers, and store them.

    Of the unfolded weights the store has the singular values already. Where the group
    ``capacity`` is whole, or the run asks for no matrization, nothing is done: a store belongs
    to runs of the same parameters and weights.
    """
    log = get_run_logger()
    if not run.capacity:
        return
    made_with = {"matrizations": ", ".join(run.capacity)}
    if groups.is_recorded(path, "capacity", made_with):
        log.info("the capacity metric is kept from before")
        return
    analysed = groups.read(path, "layers").load()
    names = analysed["layer"].to_numpy().tolist()
    by_name = {layer.name: layer for layer in prepare(run).layers.linear}
    layers = tuple(by_name[name] for name in names)
    matrizations = tuple(Matrization(name) for name in run.capacity)
    asked = RunAsked(StoredRun.of(path, run), matrizations, f"spectra-{uuid4()}")
    rank = analysed["rank"].to_numpy()
    calls = {
        name: partial(run_layer_spectra, asked, name, S[:r])
        for name, S, r in zip(names, analysed["singular_value"].to_numpy(), rank, strict=True)
    }
    rows = _over_layers(run.name, calls, layers, asked, (scheduler, run.shards.patience))
    dataset = model_dataset(rows, layers, matrizations)
    _warn_of_refusals(run.name, dataset)
    groups.write(path, "capacity", dataset.assign_attrs(made_with), made_with)


def _over_layers(
    model: str,
    calls: Mapping[str, Callable[[], xr.Dataset]],
    layers: Sequence[LinearLayer],
    asked: ModelAsked | RunAsked,
    workers: tuple[str, float | None],
) -> list[xr.Dataset]:
    """What each layer's call gives, computed on the workers, the costliest first.

    Progress counts singular values, as the blocks of large layers tell of them on Dask's events.

    Parameters
    ----------
    workers
        address of their scheduler, and seconds to wait while none is connected.
    """
    toeplitz = Matrization.TOEPLITZ in asked.matrizations
    left = {one.name: toeplitz_values(one) if toeplitz else 1 for one in layers}
    by_cost = [one.name for one in sorted(layers, key=cost, reverse=True)]
    names = {calls[name]: name for name in by_cost}
    told: deque[dict[str, Any]] = deque()
    rows: dict[str, xr.Dataset] = {}
    with over_workers(
        *workers,
        key="spectra",
        description=f"spectra of {model}",
        total=sum(left.values()),
        size=lambda call: left.pop(names[call]),
        named=lambda call: f"layer {names[call]}",
    ) as mapped:

        def look() -> None:
            while told:
                event = told.popleft()
                if (some := min(event["values"], left.get(event["layer"], 0))) > 0:
                    left[event["layer"]] -= some
                    mapped.advance(some)

        mapped.client.subscribe_topic(asked.topic, lambda event: told.append(event[1]))
        for call, found in mapped(operator.call, names, look):
            rows[names[call]] = found
        mapped.client.unsubscribe_topic(asked.topic)
    return [rows[one.name] for one in layers]


def _warn_of_refusals(name: str, dataset: xr.Dataset) -> None:
    log = get_run_logger()
    for row in dataset["refusal"].stack(row=("layer", "matrization")):
        if row.item():
            log.warning("%s, %s: %s", name, row["row"].item(), row.item())
    if "not_folded" in dataset:
        for layer, reason in zip(
            dataset["layer"].to_numpy(), dataset["not_folded"].to_numpy(), strict=True
        ):
            if reason:
                log.warning("%s: no BatchNorm is folded into %s: %s", name, layer, reason)


@stage("zoo-report")
def write_zoo(zoo: ZooParameters, path: Path, page: Path, errors: dict[str, str]) -> None:
    """Write the table over models, seal the store and lay the page out.

    Parameters
    ----------
    errors
        why models failed, by name.
    """
    found = {
        model.name: groups.read(path, group_path("capacity", model.name)).load()
        for model in zoo.models
        if model.name not in errors
    }
    table = zoo_dataset(zoo, found, errors)
    groups.write(path, "zoo", table)
    groups.seal(path)
    # A run that measures its own capacity need not load what draws a page of many models.
    from ddp_tasks.report import capacity_page

    findings = capacity_page.CapacityFindings(
        title=zoo.name, zoo=table, capacity=found, attributes=groups.zoo_attributes(path)
    )
    write_whole(page, capacity_page.render(findings))


def zoo_dataset(
    zoo: ZooParameters, found: dict[str, xr.Dataset], errors: dict[str, str]
) -> xr.Dataset:
    """The group ``zoo``: one row for each model, NaN where it failed."""

    def by_model(variable: str, failed: float) -> tuple[tuple[str, str], np.ndarray]:
        none = np.full(len(zoo.matrizations), failed)
        columns = [
            found[m.name][variable].to_numpy() if m.name in found else none for m in zoo.models
        ]
        return ("matrization", "model"), np.stack(columns, axis=1)

    def text(values: list[str]) -> tuple[str, np.ndarray]:
        return "model", np.array(values, dtype=object)

    layers = [found[m.name].sizes["layer"] if m.name in found else 0 for m in zoo.models]
    return xr.Dataset(
        {
            "family": text([m.family for m in zoo.models]),
            "accuracy": ("model", np.array([m.accuracy for m in zoo.models])),
            "layers": ("model", np.array(layers)),
            **{name: by_model(name, np.nan) for name in ALPHA_HAT},
            **{name: by_model(name, 0) for name in FLAGS},
            "error": text([without_places(errors.get(m.name, "")) for m in zoo.models]),
        },
        coords={
            "model": np.array([m.name for m in zoo.models], dtype=object),
            "matrization": np.array(list(zoo.matrizations), dtype=object),
        },
    )
