"""The capacity metric of one model, and of a list of them, as Prefect tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client, as_completed
from prefect import get_run_logger

from ddp_tasks import capacity_report, store
from ddp_tasks.capacity import Matrization
from ddp_tasks.layer_spectra import cost, layer_spectra, model_dataset, trace
from ddp_tasks.models import model_digest, open_model
from ddp_tasks.tasks import progress, stage
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
    }
    del network
    group = f"capacity/{model.name}"
    if store.group_attributes(path, group).items() >= attributes.items():
        log.info("%s: kept from before", model.name)
        return
    matrizations = tuple(Matrization(name) for name in zoo.matrizations)
    with (
        Client(scheduler, set_as_default=False) as client,
        progress("spectra", f"spectra of {model.name}", len(layers)) as done,
    ):
        # Largest first: the workers then finish together.
        position = {
            client.submit(
                layer_spectra,
                model.parameters.model_dump_json(),
                input_size,
                layer.name,
                matrizations,
                pure=False,
                priority=cost(layer),
            ): i
            for i, layer in enumerate(layers)
        }
        rows: dict[int, xr.Dataset] = {}
        for future in as_completed(list(position), loop=client.loop):
            rows[position[future]] = future.result()
            done(1)
    dataset = model_dataset([rows[i] for i in range(len(layers))], layers, matrizations)
    for row in dataset["refusal"].stack(row=("layer", "matrization")):
        if row.item():
            log.warning("%s, %s: %s", model.name, row["row"].item(), row.item())
    store.write(path, group, dataset.assign_attrs(attributes))


@stage("zoo-report")
def write_zoo(zoo: ZooParameters, path: Path, page: Path, errors: dict[str, str]) -> None:
    """Write the table over models, seal the store and lay the page out.

    Parameters
    ----------
    errors
        why models failed, by name.
    """
    found = {
        model.name: store.read(path, f"capacity/{model.name}").load()
        for model in zoo.models
        if model.name not in errors
    }
    table = zoo_dataset(zoo, found, errors)
    store.write(path, "zoo", table)
    store.seal(path)
    findings = capacity_report.CapacityFindings(
        title=zoo.name, zoo=table, capacity=found, attributes=store.zoo_attributes(path)
    )
    part = page.with_suffix(".part")
    part.write_text(capacity_report.render(findings))
    part.replace(page)


def zoo_dataset(
    zoo: ZooParameters, found: dict[str, xr.Dataset], errors: dict[str, str]
) -> xr.Dataset:
    """The group ``zoo``: one row for each model, NaN where it failed."""

    def by_model(variable: str) -> tuple[tuple[str, str], np.ndarray]:
        none = np.full(len(zoo.matrizations), np.nan)
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
            "alpha_hat": by_model("alpha_hat"),
            "alpha_hat_mean": by_model("alpha_hat_mean"),
            "error": text([errors.get(m.name, "") for m in zoo.models]),
        },
        coords={
            "model": np.array([m.name for m in zoo.models], dtype=object),
            "matrization": np.array(list(zoo.matrizations), dtype=object),
        },
    )
