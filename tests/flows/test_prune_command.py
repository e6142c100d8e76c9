"""``ddp prune``: networks beside each other, exports that run again, and what is refused."""

import shutil

import numpy as np
import pages
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from runs import tiny_run

from benchmarks.pruning import section
from ddp_tasks.interventions.pruning import RANDOM, SIGNAL_ENERGY, SINGULAR_VALUE
from ddp_tasks.networks.models import open_model
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.prunable_network import open_prunable
from ddp_tasks.queries.pruning import AS_TRAINED, ESTIMATED, check_shares, prune
from flows.pipeline import run_pipeline
from schemas.parameters import RunError
from schemas.run_files import load_run

pytestmark = pytest.mark.timeout(600)

#: 'conv1' has 2 * 9 columns and 5 rows, 'conv2' 45 and 6, 'fc1' 54 and 7, 'fc2' 7 and 3.
WEIGHTS = {"conv1": 90, "conv2": 270, "fc1": 378, "fc2": 21}
STEPS = {"conv1": 23, "conv2": 51, "fc1": 61, "fc2": 10}


def small_run(**changes):
    changes = {"capacity": [], "shards": {"images": 40, "batch_size": 20}, **changes}
    return tiny_run("Noise", {"images": 120}, **changes)


@pytest.fixture(scope="module")
def folder(prefect_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned")
    run_pipeline(small_run(), folder)
    return folder


def network_of(folder, monkeypatch, globs=("*",)):
    from runs import HERE

    monkeypatch.chdir(HERE.parent)
    return open_prunable(open_finished(folder, trust=True), globs)


def test_networks_stand_beside_each_other_and_their_files_run_again(ddp, folder, tmp_path, address):
    out = tmp_path / "here"
    status, said = ddp("prune", folder, "--trust", "--parameters", "0.8,0.5", "--out", out)
    assert status == 0, said.err
    assert "Signal energy beside singular value: " in said.out
    assert "are those of the run" in said.out
    page = (out / "pruning.html").read_text()
    pages.assert_nothing_is_loaded_from_elsewhere(page)
    assert "Accuracy against time" in page
    table = pd.read_csv(out / "pruning.csv")
    assert len(table) == 2 * (1 + 3 * 2)
    assert (table["images"] == 60).all()
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()
    assert (table["kept"] <= table["asked"]).all()
    # The network as it is, on the images that judge: what the run itself predicted.
    stored = xr.open_datatree(folder / "store.zarr", engine="zarr")
    signals, part = stored["signals"], stored["significance"]["part"].to_numpy()
    right = (signals["predicted"] == signals["target"]).to_numpy()[part == 1]
    original = table[(table["criterion"] == "original") & (table["batch_norm"] == AS_TRAINED)]
    assert original["correct"].item() == right.sum()
    name, criterion, asked = "signal_energy-0.5", "signal_energy", 0.5
    row = table[
        (table["criterion"] == criterion)
        & (table["asked"] == asked)
        & (table["batch_norm"] == ESTIMATED)
    ]
    run = load_run(str(out / f"{name}.yaml"), [f"cluster={address}"])
    model = open_model(run.model)
    assert sum(p.numel() for p in model.parameters()) == row["parameters"].item()
    state = torch.load(out / f"{name}.pt", weights_only=True)
    assert set(state) == set(model.state_dict())
    run_pipeline(run, tmp_path / name)
    again = xr.open_datatree(tmp_path / name / "store.zarr", engine="zarr")
    signals = again["signals"]
    right = (signals["predicted"] == signals["target"]).to_numpy()[part == 1]
    assert right.sum() == row["correct"].item()
    pairs = run.model.kwargs["vectors"]
    assert pairs
    layers = again["layers"]["layer"].to_numpy().tolist()
    assert {f"{layer}.US" for layer in pairs} <= set(layers)


def test_vectors_are_kept_within_the_parameters_and_random_ones_beside(folder, monkeypatch):
    network = network_of(folder, monkeypatch)
    assert [layer.module for layer in network.layers] == list(WEIGHTS)
    assert [layer.parameters for layer in network.layers] == list(WEIGHTS.values())
    total = sum(p.numel() for p in network.prepared.model.parameters())
    assert network.parameters == total
    rest = total - sum(WEIGHTS.values())
    assert network.least == pytest.approx((rest + sum(STEPS.values())) / total)
    taken = {}
    found = prune(network, [0.6], made=lambda one, model: taken.update({one.criterion: model}))
    by_criterion = {one.criterion: one for one in found.networks}
    assert list(by_criterion) == [SINGULAR_VALUE, SIGNAL_ENERGY, RANDOM]
    assert set(taken) == {SINGULAR_VALUE, SIGNAL_ENERGY}
    for one in found.networks:
        saved = sum(WEIGHTS[n] - k * STEPS[n] for n, k in one.vectors.items())
        assert one.parameters == total - saved
        assert one.parameters <= 0.6 * total
    assert by_criterion[RANDOM].vectors == by_criterion[SINGULAR_VALUE].vectors
    assert found.beside == SINGULAR_VALUE
    # As the layers' own matrices say: the best approximation with as many singular values.
    for name, count in by_criterion[SINGULAR_VALUE].vectors.items():
        W = network.prepared.model.get_submodule(name).weight.flatten(1).double()
        pair = taken[SINGULAR_VALUE].get_submodule(name)
        kept = pair.US.weight.flatten(1).double() @ pair.V.weight.flatten(1).double()
        s = torch.linalg.svdvals(W)
        assert float((W - kept).norm()) == pytest.approx(float(s[count:].norm()), rel=1e-5)


def test_the_benchmark_tells_every_row_of_the_table(folder, monkeypatch):
    found = prune(network_of(folder, monkeypatch), [0.6], [SINGULAR_VALUE], most_images=12)
    page = "\n".join(section("tiny", found))
    assert page.count("\n| ") == 2 + len(found.table) == 2 + 2 * 3
    assert f"{found.original.parameters:,} parameters, 4 layers" in page
    assert found.verdict() in page


def test_signal_energy_is_the_variance_over_images_that_choose(folder, monkeypatch):
    network = network_of(folder, monkeypatch)
    stored = xr.open_datatree(folder / "store.zarr", engine="zarr")
    choosing = stored["significance"]["part"].to_numpy() == 0
    np.testing.assert_array_equal(network.choosing, np.flatnonzero(choosing))
    np.testing.assert_array_equal(network.judging, np.flatnonzero(~choosing))
    for ranked in network.ranked[SIGNAL_ENERGY]:
        signal = stored["signals"]["signal"].sel(layer=ranked.layer.module).to_numpy()[choosing]
        variance = signal[:, : len(ranked.order)].astype(np.float64).var(axis=0)
        np.testing.assert_allclose(
            ranked.share, np.cumsum(np.sort(variance)[::-1]) / variance.sum(), rtol=1e-9
        )


def test_all_but_the_layers_asked_for_stay_whole(folder, monkeypatch):
    network = network_of(folder, monkeypatch, ["fc1", "conv[2]"])
    assert [layer.module for layer in network.layers] == ["conv2", "fc1"]
    assert network.left_out == {"conv1": "not asked for", "fc2": "not asked for"}
    found = prune(network, check_shares(network, None), [SIGNAL_ENERGY], most_images=10)
    assert all(set(one.vectors) <= {"conv2", "fc1"} for one in found.networks)
    assert found.beside == SIGNAL_ENERGY
    assert found.images == 10
    assert "10 and 10 were drawn at random" in found.notes[1]
    assert "singular value" not in found.verdict()


def test_a_folder_with_pruned_networks_in_it_is_whole(ddp, folder, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(folder, copied)
    options = ("--trust", "--parameters", "0.6", "--criterion", "signal_energy", "--images", "12")
    status, said = ddp("prune", copied, *options)
    assert status == 0, said.err
    assert (copied / "pruned" / "signal_energy-0.6.yaml").is_file()
    assert not (copied / "pruned" / "singular_value-0.6.yaml").exists()
    status, said = ddp("check", copied)
    assert status == 0, said.out
    status, said = ddp("prune", copied, *options)
    assert status == 2
    assert "pruning.html exists already; remove it, or name another folder" in said.err


def test_what_cannot_be_pruned_is_refused(ddp, folder, tmp_path):
    def refusal(*options):
        status, said = ddp("prune", folder, "--trust", "--out", tmp_path / "p", *options)
        assert status == 2
        assert not (tmp_path / "p").exists()
        assert len(said.err.splitlines()) <= 3
        return said.err

    for text in ("0", "1", "0.5,x", "", "nan", "0.5,,0.2"):
        assert "is no share; numbers above 0 and below 1" in refusal("--parameters", text)
    assert "0.01 cannot be kept; shares from 0." in refusal("--parameters", "0.01")
    assert "'fc9' matches no layer" in refusal("--layers", "fc9")
    status, said = ddp("prune", folder)
    assert status == 2
    assert "model.factory: the store names" in said.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "pruning.csv").write_text("mine")
    status, said = ddp("prune", folder, "--trust", "--out", tmp_path / "full")
    assert status == 2
    assert "pruning.csv exists already" in said.err
    assert (tmp_path / "full" / "pruning.csv").read_text() == "mine"


def test_layers_with_a_batch_norm_folded_in_are_not_pruned(tmp_path, address, monkeypatch):
    run_pipeline(small_run(fold_batch_norm=True, cluster=address), tmp_path)
    network = network_of(tmp_path, monkeypatch)
    assert "conv1" not in [layer.module for layer in network.layers]
    assert "with norm folded into it" in network.left_out["conv1"]
    with pytest.raises(RunError, match=r"no layer of .* can be pruned: conv1: its singular"):
        network_of(tmp_path, monkeypatch, ["conv1"])


def test_no_secret_is_written(folder, tmp_path, monkeypatch):
    from ddp_tasks.queries.pruned_files import write_network

    network = network_of(folder, monkeypatch)
    run = network.finished.run
    images = {"factory": run.images.factory, "kwargs": {"images": 120, "hf_token": "hf_abc"}}
    run = run.model_copy(update={"images": run.images.model_copy(update=images)})
    found = prune(network, [0.7], [SINGULAR_VALUE], most_images=10)
    _, file = write_network(run, found.networks[0], network.prepared.model, tmp_path)
    assert "hf_abc" not in file.read_text()
    written = yaml.safe_load(file.read_text())
    assert written["images"]["kwargs"] == {
        "images": 120,
        "hf_token": "(not recorded: a secret)",
    }
