"""The stage of controls on a finished run: what it stores, what it keeps, what is refused."""

import shutil

import numpy as np
import pytest
from prefect import flow
from runs import tiny_run

from ddp_tasks.stages import controls
from ddp_tasks.stages.bounded_futures import ClusterLostError
from ddp_tasks.store import groups
from schemas.control_variables import MEASURES

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def measured(run, path, address):
    """The stage as a flow of its own."""
    controls.measure_controls(run, path, address)
    return groups.read(path, "controls").load()


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.store, tmp_path / "store.zarr")
    groups.unseal(tmp_path / "store.zarr")
    return tmp_path / "store.zarr"


def changed(**what):
    run = tiny_run()
    return run.model_copy(update={"controls": run.controls.model_copy(update=what)})


def test_the_value_beside_its_controls_is_what_the_report_prints(finished):
    stored = groups.read(finished.store, "controls").load()
    assert stored["measure"].to_numpy().tolist() == list(MEASURES)
    for summary in finished.summary.layers:
        at = stored["value"].sel(layer=summary.layer)
        for measure, printed in (
            ("nodes", summary.nodes),
            ("hyperedges", summary.hyperedges),
            ("equivalence_classes", summary.equivalence_classes),
            ("depth", summary.depth),
            ("eta_squared_best", summary.eta_squared),
        ):
            assert float(at.sel(measure=measure)) == pytest.approx(printed, rel=1e-6), measure
    # The tiny run names no groups of classes.
    assert np.isnan(stored["value"].sel(measure="parted_groups")).all()
    ranks = groups.read(finished.store, "layers")["rank"].to_numpy()
    drawn = np.isfinite(stored["rotation"].sel(measure="nodes")).all("draw").to_numpy()
    assert (drawn == (ranks > 1)).all()


def test_controls_are_kept_and_measured_again_for_other_draws(copied, address):
    before = groups.fingerprint(copied, "controls")
    measured(tiny_run(), copied, address)
    assert groups.fingerprint(copied, "controls") == before
    fewer = measured(changed(rotations=20, permutations=0), copied, address)
    assert (fewer.sizes["draw"], fewer.sizes["permutation"]) == (20, 0)
    assert groups.fingerprint(copied, "controls") != before
    again = measured(tiny_run(), copied, address)
    # More draws begin with the same ones.
    np.testing.assert_array_equal(again["rotation"].isel(draw=slice(20)), fewer["rotation"])


def test_rivals_are_fitted_where_they_are_asked_for(copied, address):
    found = measured(changed(rivals=["nmf", "dictionary"]), copied, address)
    assert found["rival"].to_numpy().tolist() == ["nmf", "dictionary"]
    assert np.isfinite(found["rivals"].sel(measure="nodes")).all()


def test_a_lost_scheduler_leaves_the_controls_as_they_were(copied):
    before = groups.fingerprint(copied, "controls")
    with pytest.raises(ClusterLostError):
        measured(changed(rotations=20), copied, "tcp://127.0.0.1:1")
    assert groups.fingerprint(copied, "controls") == before
