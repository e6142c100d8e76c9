"""Every stage over workers, on a cluster that has none, or whose scheduler ends: one sentence."""

import shutil
import time
from threading import Thread

import pytest
from distributed import LocalCluster
from prefect import flow
from runs import HERE, tiny_run

from ddp_tasks.queries.summary import read_summary
from ddp_tasks.stages import capacity as capacity_tasks
from ddp_tasks.stages import decomposition
from ddp_tasks.stages import extraction as extraction_tasks
from ddp_tasks.stages import family as family_tasks
from ddp_tasks.stages import pictures as picture_tasks
from ddp_tasks.stages import projections as projection_tasks
from ddp_tasks.stages import report as report_tasks
from ddp_tasks.stages import signals as signal_tasks
from ddp_tasks.stages import significance as significance_tasks
from ddp_tasks.store import creation, taken_back
from flows.clusters import ending
from schemas.parameters import ExtractionParameters, RunError
from schemas.run_files import check
from schemas.zoo import ZooParameters

pytestmark = pytest.mark.usefixtures("prefect_server")


def decompose(run, out, address):
    decomposition.decompose_layers(run, out / "other.zarr", address)


def extraction(run, out, address):
    fast = run.model_copy(update={"extraction": ExtractionParameters(fast=True)})
    extraction_tasks.measure_extraction(fast, out / "store.zarr", address)


def positions(run, out, address):
    asked = run.model_copy(update={"spatial_statistics": True})
    extraction_tasks.measure_positions(asked, out / "store.zarr", address)


def signals(run, out, address):
    taken_back.take_back(out / "store.zarr", ["00"])
    signal_tasks.fill_cube(run, out / "store.zarr", address)


def anew(out, group):
    """The store, without a group."""
    shutil.rmtree(out / "store.zarr" / group)
    return out / "store.zarr"


def capacity(run, out, address):
    capacity_tasks.measure_capacity(run, anew(out, "capacity"), address)


def spectra(run, out, address):
    model = {"name": "tiny", "family": "tiny", "accuracy": 80, "factory": f"{HERE}:TinyNetwork"}
    content = {"name": "zoo", "input_size": [2, 8, 8], "models": [model]}
    zoo = check(ZooParameters, {**content, "patience": run.shards.patience}, "zoo")
    path = out / "capacity.zarr"
    creation.create_zoo(path, zoo)
    capacity_tasks.analyse_model(zoo, zoo.models[0], path, address)


def significance(run, out, address):
    significance_tasks.measure_significance(run, anew(out, "significance"), address)


def exemplars(run, out, address):
    significance_tasks.find_exemplars(run, anew(out, "exemplars"), address)


def hypergraphs(run, out, address):
    path = anew(out, "hierarchies")
    significance_tasks.build_hypergraphs(run, path, out / "hypergraphs", address)


def pictures(run, out, address):
    picture_tasks.keep_pictures(run, anew(out, "pictures"), address)


def projections(run, out, address):
    projection_tasks.project_exemplars(run, anew(out, "projections"), address)


def family(run, out, address):
    family_tasks.map_family(run, anew(out, "family"), address)


def stability(run, out, address):
    family_tasks.judge_stability(run, anew(out, "stability"), address)


def report(run, out, address):
    summary = read_summary(run, out / "store.zarr")
    (out / "report.html").unlink()
    report_tasks.write_report(run, summary, out / "store.zarr", out / "report.html", address)


each_stage = pytest.mark.parametrize(
    "stage",
    [
        decompose,
        extraction,
        positions,
        signals,
        capacity,
        spectra,
        significance,
        exemplars,
        hypergraphs,
        pictures,
        projections,
        family,
        stability,
        report,
    ],
)


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished.store.parent, tmp_path / "out")


@pytest.fixture
def empty():
    """A cluster without workers."""
    with ending(
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0")
    ) as cluster:
        yield cluster


@flow
def carry_out(stage, patience, out, address):
    """One stage alone, on a cluster."""
    shards = {"images": 8, "batch_size": 3, "patience": patience}
    stage(tiny_run(shards=shards), out, address)


@each_stage
def test_no_stage_waits_for_ever_for_a_worker(out, empty, stage):
    with pytest.raises(RunError, match="no worker has been connected to the Dask sched"):
        carry_out(stage, 1, out, empty.scheduler_address)


@each_stage
def test_a_scheduler_that_ends_is_said_by_every_stage(out, empty, stage):
    address = empty.scheduler_address

    def strike():
        alone = len(empty.scheduler.clients)
        while len(empty.scheduler.clients) == alone:
            time.sleep(0.05)
        empty.close()

    Thread(target=strike, daemon=True).start()
    with pytest.raises(RunError, match=f"the Dask scheduler at {address} is lost"):
        carry_out(stage, 60, out, address)
