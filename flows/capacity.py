"""The capacity metric over a list of models: one table, one store, one page (section 4.1)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from prefect import flow, get_run_logger
from prefect.states import get_state_exception

from ddp_tasks.files.whole import clear_parts
from ddp_tasks.queries.capacity import models_table
from ddp_tasks.queries.progress import models_written
from ddp_tasks.stages import capacity
from ddp_tasks.store import creation, run_lock
from flows import artifacts, prefect_server, stopping
from flows.agreement import agreed
from flows.clusters import check_cluster, scheduler
from flows.forms import Results, Zoo, zoo_of
from flows.labels import labelled_zoo
from flows.output_folder import made_folder
from flows.result_places import check_address
from flows.zoo_files import check_zoo_files
from schemas.run_error import RunError
from schemas.zoo import ZooParameters


@dataclass(frozen=True)
class ZooOutcome:
    """Paths of the results, the table over models, and the reasons why models failed."""

    store: Path
    report: Path
    table: xr.Dataset
    errors: dict[str, str]


def check(zoo: ZooParameters, out: Path) -> None:
    """Refuse a list before any work, if none of its models can be opened.

    Raises
    ------
    RunError
        As in ``check_zoo_files``; also if the cluster cannot be used.
    """
    check_zoo_files(zoo, out)
    check_address()
    check_cluster(zoo.cluster)


@flow(name="ddp-capacity", flow_run_name="{zoo.name}")
def run_capacity(zoo: Zoo, out: Results) -> ZooOutcome:
    """Compute the capacity metric of every model of a list.

    Each model is a Prefect task whose layers are spread over the Dask workers. A model that
    fails does not stop the others: its task is failed, and it is named in table and page.

    Parameters
    ----------
    zoo
        as ``schemas.run_files.load_zoo`` returns it, or the name of its file.
    out
        receives ``capacity.zarr`` and ``capacity.html``.

    Raises
    ------
    RunError
        If the cluster cannot be used, the folder holds another list's store or is in use, or every
        model failed.
    """
    zoo = zoo_of(zoo)
    check(zoo, out)
    out = made_folder(out)
    path, page = out / "capacity.zarr", out / "capacity.html"
    log = get_run_logger()
    errors: dict[str, str] = {}
    with ExitStack() as stack:
        stack.enter_context(run_lock.held(out, run_lock.OF_A_LIST))
        clear_parts(out)
        creation.create_zoo(path, zoo)
        stack.enter_context(prefect_server.cancelled_when_stopped())
        stack.enter_context(labelled_zoo(zoo))
        address = stack.enter_context(scheduler(zoo.cluster))
        stack.enter_context(agreed(zoo.cluster, address, out))
        for model in zoo.models:
            state = capacity.analyse_model.state(zoo, model, path, address)
            if state is not None and not state.is_completed():
                errors[model.name] = str(get_state_exception(state))
                log.error("%s failed: %s", model.name, errors[model.name])
        if len(errors) == len(zoo.models):
            reasons = "\n".join(f"  {name}: {why}" for name, why in errors.items())
            raise RunError(f"no model of {zoo.name} could be analysed:\n{reasons}")
        capacity.write_zoo(zoo, path, page, errors)
        table = models_table(path)
        artifacts.publish_zoo(zoo, table, path, page)
        return prefect_server.left(ZooOutcome(path, page, table, errors))


def standing(zoo: ZooParameters, out: Path) -> str:
    """The end of a sentence: how many models are written, and the command that continues."""
    written = models_written(out.expanduser() / "capacity.zarr", zoo)
    return (
        f"; {written} of {len(zoo.models)} models are written. The same command continues: "
        f"{stopping.this_command()}"
    )
