"""The capacity flow whole, on a real Prefect server, Dask cluster and Zarr store."""

import numpy as np
import pytest
import torch
import xarray as xr
from runs import HERE, TinyNetwork
from zoos import model, tiny_zoo

from ddp_tasks.store import groups as stores
from flows.capacity import run_capacity, standing
from flows.texts.run import zoo_lines
from schemas.parameters import RunError

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, prefect_server, address):
    out = tmp_path_factory.mktemp("zoo")
    zoo = tiny_zoo(
        [
            model("first", 80.0),
            model("second", 82.0, kwargs={"seed": 1}),
            model("third", 85.0, kwargs={"seed": 2}),
            model("broken", 90.0, factory="NoSuchNetwork"),
            model("unfit", 91.0, input_size=[3, 8, 8]),
        ],
        cluster=address,
    )
    return zoo, run_capacity(zoo, out)


def test_a_model_that_fails_is_named_and_stops_no_other(finished):
    _, outcome = finished
    assert set(outcome.errors) == {"broken", "unfit"}
    assert "has no 'NoSuchNetwork'" in outcome.errors["broken"]
    assert "does not take inputs of (3, 8, 8)" in outcome.errors["unfit"]
    table = outcome.table
    stored = table["error"].sel(model="broken").item()
    assert stored == outcome.errors["broken"].replace(f"{HERE.parent}/", "")
    places = [outcome.store / "zarr.json", outcome.store / "zoo/zarr.json", outcome.report]
    assert all(str(HERE.parent) not in place.read_text() for place in places)
    assert np.isnan(table["alpha_hat"].sel(model=["broken", "unfit"])).all()
    assert (table["layers"].sel(model=["first", "second", "third"]) == 4).all()
    assert "NoSuchNetwork" in outcome.report.read_text()


def test_the_spectra_are_those_of_the_weights(finished):
    _, outcome = finished
    tree = xr.open_datatree(outcome.store, engine="zarr")
    found = tree["capacity/first"].ds.load()
    assert found["layer"].values.tolist() == ["conv1", "conv2", "fc1", "fc2"]
    network = TinyNetwork()
    for name in found["layer"].values:
        W = network.get_submodule(name).weight.detach().double().flatten(1).numpy()
        eigenvalues = np.linalg.svd(W, compute_uv=False) ** 2
        row = found.sel(layer=name, matrization="unfolded")
        # Eigenvalues may come from a Gram matrix: 1e-6 of the greatest is the promise.
        np.testing.assert_allclose(float(row["lambda_max"]), eigenvalues[0], rtol=1e-6)
        np.testing.assert_allclose(
            float(row["stable_rank"]), eigenvalues.sum() / eigenvalues[0], rtol=1e-6
        )
        assert int(row["values"]) == len(eigenvalues)
        np.testing.assert_allclose(float(row["density"].sum()), 1, rtol=1e-12)


def test_the_toeplitz_spectrum_has_the_frobenius_norm_of_all_its_blocks(finished):
    # conv1 sees 8 x 8 inputs at stride 1: every weight stands once at each of 64 positions.
    _, outcome = finished
    found = stores.read(outcome.store, "capacity/first").sel(layer="conv1").load()
    whole, unfolded = (
        10 ** float(found["log_norm"].sel(matrization=m)) for m in ("toeplitz", "unfolded")
    )
    np.testing.assert_allclose(whole, 64 * unfolded, rtol=1e-9)
    assert int(found["values"].sel(matrization="toeplitz")) == 64 * 2


def test_alpha_hat_is_the_sum_over_layers(finished):
    _, outcome = finished
    found = stores.read(outcome.store, "capacity/second").load()
    term = found["alpha"] * np.log(found["lambda_max"])
    np.testing.assert_allclose(found["alpha_hat"], term.sum("layer"), rtol=1e-12)
    np.testing.assert_allclose(found["alpha_hat_mean"], term.mean("layer"), rtol=1e-12)
    of_terms = found["sigma"] * np.log(found["lambda_max"])
    error, fitted = np.sqrt((of_terms**2).sum("layer")), of_terms.count("layer")
    np.testing.assert_allclose(found["alpha_hat_error"], error, rtol=1e-12)
    np.testing.assert_allclose(found["alpha_hat_mean_error"], error / fitted, rtol=1e-12)
    of_zoo = outcome.table.sel(model="second")
    for name in ("alpha_hat", "alpha_hat_error", "alpha_hat_mean", "few_tails", "below_one"):
        np.testing.assert_array_equal(of_zoo[name], found[name])


def test_the_terminal_tells_alpha_hat_with_its_error_and_what_to_be_careful_of(finished):
    _, outcome = finished
    lines = zoo_lines(outcome).splitlines()
    of = outcome.table.sel(model="first", matrization="unfolded")
    names = ("alpha_hat", "alpha_hat_error", "alpha_hat_mean", "alpha_hat_mean_error")
    hat, error, mean, mean_error = (f"{float(of[name]):.2f}".replace("-", "−") for name in names)
    row = next(line for line in lines if line.startswith("first "))
    assert f"{hat} ± {error} ({mean} ± {mean_error})" in row
    few = int(of["few_tails"])
    assert few > 0
    assert any(
        f"first: W̄₁: {few} of 4 tails have fewer than 20 eigenvalues" in one for one in lines
    )
    assert not any(line.startswith("broken:") for line in lines)


def test_a_stopped_list_says_how_many_models_are_written(finished, tmp_path):
    zoo, outcome = finished
    assert "; 3 of 5 models are written. " in standing(zoo, outcome.store.parent)
    assert "; 0 of 5 models are written. " in standing(zoo, tmp_path)


def test_a_second_run_keeps_models_and_computes_those_of_other_weights(finished):
    zoo, outcome = finished
    written = outcome.store / "capacity/first/alpha/zarr.json"
    before = written.stat().st_mtime_ns
    changed = zoo.models[1].model_copy(update={"kwargs": {"seed": 7}})
    models = [zoo.models[0], changed, *zoo.models[2:]]
    again = zoo.model_copy(update={"models": models})
    second = run_capacity(again, outcome.store.parent)
    assert written.stat().st_mtime_ns == before
    first, other = (o.table["alpha_hat"].sel(model="second") for o in (outcome, second))
    assert not np.array_equal(first, other)


def test_a_folder_of_another_list_is_refused(finished):
    zoo, outcome = finished
    other = zoo.model_copy(update={"name": "other"})
    with pytest.raises(RunError, match="belongs to the list 'tiny'"):
        run_capacity(other, outcome.store.parent)


def test_a_layer_of_zeros_is_left_out_and_stops_no_other(tmp_path, address):
    network = TinyNetwork()
    torch.nn.init.zeros_(network.conv2.weight)
    torch.save(network.state_dict(), tmp_path / "zero.pt")
    zoo = tiny_zoo([model("zero", 10.0, weights=str(tmp_path / "zero.pt"))], cluster=address)
    outcome = run_capacity(zoo, tmp_path / "out")
    found = stores.read(outcome.store, "capacity/zero").load()
    # What follows it gets the same input whatever the image, but its weights are its own.
    assert found["layer"].values.tolist() == ["conv1", "fc1", "fc2"]
    assert (found["refusal"].sel(layer=["conv1", "fc1"], matrization="unfolded") == "").all()


def test_a_list_in_which_every_model_fails_is_an_error(tmp_path):
    zoo = tiny_zoo([model("broken", 90.0, factory="NoSuchNetwork")])
    with pytest.raises(RunError, match="no model of tiny could be analysed"):
        run_capacity(zoo, tmp_path)
