"""The main job: from a model and images to a store, hypergraphs and a report."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

from prefect import flow, get_run_logger

from ddp_tasks.files.whole import clear_parts
from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.prepared_run import Prepared, opened_once, prepare
from ddp_tasks.queries.progress import shards_written
from ddp_tasks.queries.summary import Summary
from ddp_tasks.stages import capacity, decomposition, extraction, family, signals, significance
from ddp_tasks.stages import report as report_tasks
from ddp_tasks.store import run_lock, wholeness
from ddp_tasks.store.identity import Identity
from flows import artifacts, prefect_server, stopping
from flows.clusters import check_cluster, scheduler
from flows.output_folder import check_places, made_folder, output_folder
from flows.timings import Timings
from schemas.parameters import RunError, RunParameters


@dataclass(frozen=True)
class Outcome:
    """Where a finished run left its results, what it found, and where its time went."""

    store: Path
    report: Path
    hypergraphs: Path
    summary: Summary
    seconds: dict[str, float]


#: Models that their factories gave twice with the same weights.
_SAME_WEIGHTS: WeakSet[Any] = WeakSet()


def check(run: RunParameters, out: Path) -> None:
    """Refuse, before any work, a run that cannot be carried out in a folder.

    Raises
    ------
    RunError
        If model, images, layers or cluster cannot be had as asked or do not fit each other, or
        the folder holds another run's store.
    """
    out = output_folder(out)
    check_places(out, folders=("store.zarr", "hypergraphs"), files=("report.html", "checkpoint.pt"))
    check_cluster(run.cluster)
    if run.model.training is not None and (out / "checkpoint.pt").exists():
        decomposition.check_trained(run, out / "checkpoint.pt")
    prepared = prepare(run)
    _check_same_weights(run, prepared)
    if (out / "store.zarr").exists():
        # Weights that are still to be trained are compared once they are there.
        weights = None if run.model.training else model_digest(prepared.model)
        identity = Identity.of_run(run, weights, prepared.images.digest())
        wholeness.check_continuable(out / "store.zarr", identity)


def _check_same_weights(run: RunParameters, prepared: Prepared) -> None:
    """Refuse a network that each worker would find with random weights of its own."""
    if run.model.weights or run.model.training or prepared.model in _SAME_WEIGHTS:
        return
    if model_digest(open_model(run.model)) != model_digest(prepared.model):
        raise RunError(
            f"model.factory {run.model.factory!r} gives other weights at every call, so that each "
            "worker would have a network of its own; name a checkpoint with model.weights"
        )
    _SAME_WEIGHTS.add(prepared.model)


@flow(name="ddp-run", flow_run_name="{run.name}")
def run_pipeline(run: RunParameters, out: Path) -> Outcome:
    """Carry out a run, or continue one, in a folder.

    Each stage is a Prefect task; the shards of the cube are Dask tasks. Started again on the
    same folder, the flow writes only the shards that are missing.

    Parameters
    ----------
    run
        as ``schemas.load_run`` gives it.
    out
        receives ``store.zarr``, ``report.html`` and ``hypergraphs/LAYER.hif.json``; on a
        cluster of several machines, a folder that all of them see.

    Raises
    ------
    RunError
        If the run cannot be carried out, the folder holds another run's store, or another run
        is at work in it.
    """
    with opened_once():
        check(run, out)
        out = made_folder(out)
        return _carried_out(run, out)


def _carried_out(run: RunParameters, out: Path) -> Outcome:
    with run_lock.held(out), prefect_server.cancelled_when_stopped():
        for folder in (out, out / "hypergraphs"):
            clear_parts(folder)
        return prefect_server.left(_stages(run, out))


def standing(out: Path) -> str:
    """What of a run is written in its folder, and what continues it, to end a sentence with."""
    written = "nothing of the store is written yet"
    if shards := shards_written(out.expanduser() / "store.zarr"):
        written = "{} of {} shards are written".format(*shards)
    return f"; {written}. The same command continues: {stopping.this_command()}"


def _stages(run: RunParameters, out: Path) -> Outcome:
    store, page, hypergraphs = out / "store.zarr", out / "report.html", out / "hypergraphs"
    log, timings = get_run_logger(), Timings()

    with timings.part("training"):
        model = decomposition.train_model(run, out / "checkpoint.pt")
    run = run.model_copy(update={"model": model})
    with ExitStack() as stack:
        with timings.part("Dask's start"):
            address = stack.enter_context(scheduler(run.cluster))
        with timings.part("decomposition"):
            decomposition.decompose_layers(run, store, address)
        with timings.part("signals"):
            if not run.extraction.plain:
                extraction.measure_extraction(run, store, address)
            signals.fill_cube(run, store, address)
        with timings.part("capacity metric"):
            capacity.measure_capacity(run, store, address)
        with timings.part("significance"):
            significance.measure_significance(run, store, address)
            family.group_classes(run, store)
        if run.spatial_statistics:
            with timings.part("positions"):
                extraction.measure_positions(run, store, address)
        with timings.part("exemplars"):
            significance.find_exemplars(run, store, address)
        with timings.part("hypergraphs"):
            significance.build_hypergraphs(run, store, hypergraphs, address)
        with timings.part("family"):
            family.map_family(run, store, address)
        with timings.part("stability"):
            family.judge_stability(run, store, address)
        with timings.part("report"):
            summary = report_tasks.write_report(run, store, page, address)
            artifacts.publish(run, summary, store, page, hypergraphs)
    log.info("%s, %s and %s are written", store, page, hypergraphs)
    return Outcome(store, page, hypergraphs, summary, timings.seconds)
