"""The main job: from a model and images to a store, hypergraphs and a report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from prefect import flow, get_run_logger

from ddp_tasks.files.whole import clear_parts
from ddp_tasks.prepared_run import opened_once, trained_model
from ddp_tasks.queries.progress import shards_written
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.stages import (
    capacity,
    controls,
    decomposition,
    extraction,
    family,
    pictures,
    plausibility,
    projections,
    signals,
    significance,
    visualizations,
)
from ddp_tasks.stages import report as report_tasks
from ddp_tasks.store import run_lock
from flows import artifacts, prefect_server, stopping
from flows.agreement import agreed
from flows.checks import check_run
from flows.clusters import check_cluster, scheduler
from flows.forms import Results, Run, run_of
from flows.labels import labelled
from flows.outcome import Outcome
from flows.output_folder import RunFiles, made_folder
from flows.result_places import check_address
from flows.timings import Timings
from schemas.parameters import RunParameters


def check(run: RunParameters, out: Path) -> None:
    """Refuse a run before any work, if it cannot be carried out in a folder.

    Raises
    ------
    RunError
        If model, images, layers or cluster cannot be used or do not fit each other, or the folder
        holds another run's store.
    """
    files = RunFiles.of(out)
    check_address()
    check_cluster(run.cluster)
    check_run(run, files)


@flow(name="ddp-run", flow_run_name="{run.name}")
def run_pipeline(run: Run, out: Results) -> Outcome:
    """Carry out a run, or continue one, in a folder.

    Each stage is a Prefect task; the shards of the cube are Dask tasks. Started again on the
    same folder, the flow writes only the shards that are missing.

    Parameters
    ----------
    run
        as ``schemas.load_run`` returns it, or the name of its file.
    out
        receives ``store.zarr``, ``report.html`` and ``hypergraphs/LAYER.hif.json``; on a
        cluster of several machines, a folder that all of them can reach.

    Raises
    ------
    RunError
        If the run cannot be carried out, the folder holds another run's store, or another run
        is at work in it.
    """
    run = run_of(run)
    with opened_once():
        check(run, out)
        out = made_folder(out)
        return _carried_out(run, out)


def _carried_out(run: RunParameters, out: Path) -> Outcome:
    with run_lock.held(out), prefect_server.cancelled_when_stopped():
        for folder in (out, out / "hypergraphs"):
            clear_parts(folder)
        with labelled(run):
            return prefect_server.left(_stages(run, out))


def standing(out: Path) -> str:
    """The end of a sentence: how many shards are written, and the command that continues."""
    written = "nothing of the store is written yet"
    if shards := shards_written(out.expanduser() / "store.zarr"):
        written = "{} of {} shards are written".format(*shards)
    return f"; {written}. The same command continues: {stopping.this_command()}"


def _stages(run: RunParameters, out: Path) -> Outcome:
    files = RunFiles.of(out)
    store, page, hypergraphs = files.store, files.report, files.hypergraphs
    log, timings = get_run_logger(), Timings()

    with timings.part("training"):
        decomposition.train_model(run, files.checkpoint)
    if run.model.training is not None:
        run = run.model_copy(update={"model": trained_model(run, files.checkpoint)})
    with timings.part("accuracy"):
        plausibility.check_accuracy(run, store)
    with ExitStack() as stack:
        with timings.part("Dask's start"):
            address = stack.enter_context(scheduler(run.cluster))
            stack.enter_context(agreed(run.cluster, address, out, run))
        with timings.part("decomposition"):
            decomposition.decompose_layers(run, store, address)
        with timings.part("signals"):
            extraction.measure_extraction(run, store, address)
            signals.fill_cube(run, store, address)
        with timings.part("capacity metric"):
            capacity.measure_capacity(run, store, address)
        with timings.part("significance"):
            significance.measure_significance(run, store, address)
            family.group_classes(run, store)
        with timings.part("positions"):
            extraction.measure_positions(run, store, address)
        with timings.part("exemplars"):
            significance.find_exemplars(run, store, address)
        with timings.part("hypergraphs"):
            significance.build_hypergraphs(run, store, hypergraphs, address)
        with timings.part("pictures"):
            pictures.keep_pictures(run, store, address)
        with timings.part("projections"):
            projections.project_exemplars(run, store, address)
        with timings.part("family"):
            family.map_family(run, store, address)
        with timings.part("stability"):
            family.judge_stability(run, store, address)
        with timings.part("controls"):
            controls.measure_controls(run, store, address)
        with timings.part("optimised images"):
            visualizations.visualize_run(run, store, address)
        with timings.part("report"):
            summary = read_summary(run, store)
            places = {"report": page, "store": store, "hypergraphs": hypergraphs}
            artifacts.publish_findings(run, summary, store, places)
            report_tasks.write_report(run, summary, store, page, address)
            artifacts.publish(run, places)
    log.info("%s, %s and %s are written", store, page, hypergraphs)
    return Outcome(store, page, hypergraphs, summary, timings.seconds)
