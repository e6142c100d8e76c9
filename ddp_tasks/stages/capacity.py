"""The capacity metric of a run, and of a list of models, as Prefect tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import xarray as xr
from prefect import get_run_logger
from torch import Tensor

from ddp_tasks.callables.source_code import code_digests
from ddp_tasks.capacity.layer_spectra import cost, model_dataset, toeplitz_size
from ddp_tasks.capacity.metric import Matrization
from ddp_tasks.capacity.toeplitz import SpectrumSize
from ddp_tasks.capacity.zoo import zoo_dataset
from ddp_tasks.files.whole import write_whole
from ddp_tasks.networks.layers import LinearLayer
from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.prepared_run import by_reason, prepare
from ddp_tasks.stages.stage import over_workers, stage
from ddp_tasks.store import groups
from ddp_tasks.workers import kept
from ddp_tasks.workers.spectra import (
    DecomposedLayer,
    ModelSpectra,
    RunSpectra,
    layer_spectra,
    toeplitz_block,
    trace,
)
from ddp_tasks.workers.stored_run import StoredRun
from schemas.names import group_path
from schemas.parameters import RunParameters
from schemas.zoo import ZooModel, ZooParameters


@stage("spectra", run_name="spectra of {model.name}")
def analyse_model(zoo: ZooParameters, model: ZooModel, path: Path, scheduler: str) -> None:
    """Compute a model's spectra and power laws on the Dask workers, and store them.

    Results of the same weights are kept.

    Raises
    ------
    RunError
        If the model cannot be opened, or does not take inputs of the size given.
    """
    log = get_run_logger()
    input_size = tuple(model.input_size or zoo.input_size)
    network = open_model(model.parameters)
    layers = [
        _Layer(linear, linear.name, toeplitz_size(network, linear))
        for linear in trace(network, input_size, model.factory)
    ]
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
    request = ModelSpectra(
        model=model.parameters.model_dump_json(),
        model_digest=attributes["model_digest"],
        input_size=input_size,
        matrizations=tuple(Matrization(name) for name in zoo.matrizations),
        fold_batch_norm=zoo.fold_batch_norm,
        boundary_side=zoo.boundary_side,
    )
    dataset = _over_layers(model.name, request, layers, (scheduler, zoo.patience))
    groups.write(path, group, dataset.assign_attrs(attributes, model=model.name), made_with)


def _has_capacity(run: RunParameters, path: Path, _scheduler: str) -> str | None:
    if not run.capacity:
        return ""
    kept_before = groups.is_recorded(path, "capacity", kept.of_capacity(run))
    return "the capacity metric is kept from before" if kept_before else None


@stage("capacity", after=["decompose"], unless=_has_capacity)
def measure_capacity(run: RunParameters, path: Path, scheduler: str) -> None:
    """Compute spectra and power laws of a run's layers on the Dask workers, and store them.

    The singular values of the unfolded weights are read from the store. Nothing is done if the
    group ``capacity`` is finished, or if the run asks for no matrization: a store belongs to runs
    of the same parameters and weights.
    """
    made_with = kept.of_capacity(run)
    analysed = groups.read(path, "layers").load()
    prepared = prepare(run)
    linear = {layer.name: layer for layer in prepared.layers.linear}
    layers = [
        _Layer(
            linear[name], DecomposedLayer(name, S[:r]), toeplitz_size(prepared.model, linear[name])
        )
        for name, S, r in zip(
            analysed["layer"].to_numpy().tolist(),
            analysed["singular_value"].to_numpy(),
            analysed["rank"].to_numpy(),
            strict=True,
        )
    ]
    request = RunSpectra(StoredRun.of(path, run), tuple(Matrization(name) for name in run.capacity))
    dataset = _over_layers(run.name, request, layers, (scheduler, run.shards.patience))
    groups.write(path, "capacity", dataset.assign_attrs(made_with), made_with)


@dataclass(frozen=True)
class _Layer:
    """A layer, the item that workers get for it, and the size of its W̄2."""

    linear: LinearLayer
    item: str | DecomposedLayer
    toeplitz: SpectrumSize


def _over_layers(
    model: str,
    request: ModelSpectra | RunSpectra,
    layers: Sequence[_Layer],
    workers: tuple[str, float | None],
) -> xr.Dataset:
    """The capacity of layers, computed on the workers, the costliest first.

    Progress counts the singular values of W̄2. Blocks of a large layer are calls of their own, so
    that one layer keeps all workers busy.

    Parameters
    ----------
    workers
        address of their scheduler, and seconds to wait while none is connected.

    Returns
    -------
    as in ``model_dataset``
    """
    toeplitz = Matrization.TOEPLITZ in request.matrizations
    by_cost = sorted(layers, key=lambda layer: cost(layer.linear), reverse=True)
    by_name = {layer.linear.name: layer for layer in by_cost}
    size = {name: layer.toeplitz.values if toeplitz else 1 for name, layer in by_name.items()}

    def blocks(item: str | DecomposedLayer) -> list[Callable[[], Tensor]]:
        name = str(item)
        several = by_name[name].toeplitz.blocks() if toeplitz else []
        if len(several) < 2:
            return []
        return [partial(toeplitz_block, request, name, block) for block in several]

    with over_workers(
        *workers,
        key="spectra",
        description=f"spectra of {model}",
        total=sum(size.values()),
        size=lambda item: size[str(item)],
        named=lambda item: f"layer {item}",
    ) as mapped:
        items = [layer.item for layer in by_cost]
        rows = {
            str(item): row for item, row in mapped(partial(layer_spectra, request), items, blocks)
        }
    linear = [layer.linear for layer in layers]
    dataset = model_dataset([rows[each.name] for each in linear], linear, request.matrizations)
    _warn_of_refusals(model, dataset)
    return dataset


def _warn_of_refusals(name: str, dataset: xr.Dataset) -> None:
    log = get_run_logger()
    for row in dataset["refusal"].stack(row=("layer", "matrization")):
        if row.item():
            log.warning("%s, %s: %s", name, row["row"].item(), row.item())
    if "not_folded" in dataset:
        reasons = zip(dataset["layer"].to_numpy(), dataset["not_folded"].to_numpy(), strict=True)
        for layers in by_reason({layer: reason for layer, reason in reasons if reason}):
            log.warning("%s: no BatchNorm is folded into %s", name, layers)


@stage("zoo-report", after=["spectra"])
def write_zoo(zoo: ZooParameters, path: Path, page: Path, errors: dict[str, str]) -> None:
    """Write the table over models, seal the store and write the page.

    Parameters
    ----------
    errors
        reasons why models failed, by name.
    """
    capacities = {
        model.name: groups.read(path, group_path("capacity", model.name)).load()
        for model in zoo.models
        if model.name not in errors
    }
    table = zoo_dataset(zoo, capacities, errors)
    groups.write(path, "zoo", table)
    groups.seal(path)
    # A run that measures its own capacity need not load the page of many models.
    from ddp_tasks.report import capacity_page

    findings = capacity_page.CapacityFindings(
        title=zoo.name, zoo=table, capacity=capacities, attributes=groups.zoo_attributes(path)
    )
    write_whole(page, capacity_page.render(findings))
