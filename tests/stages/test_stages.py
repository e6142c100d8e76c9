"""Stages of a run by themselves, on a real Prefect server, a real Dask cluster and a real store."""

import os
import shutil

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from prefect import flow
from run_stages import cluster, cube, fill
from runs import Noise, TinyNetwork, tiny_run, unreadable_run
from zoos import model, tiny_zoo

from ddp_tasks.capacity.toeplitz import SpectrumSize
from ddp_tasks.prepared_run import training_digest
from ddp_tasks.stages import capacity, decomposition, extraction, family, significance
from ddp_tasks.store import creation, shards, taken_back
from ddp_tasks.store import groups as stores
from schemas.parameters import RunError

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.zarr"


@pytest.fixture
def copied(undisturbed, path):
    shutil.copytree(undisturbed, path)
    return path


@flow
def after(stage, *arguments):
    """One more stage, as a flow of its own."""
    return stage(*arguments)


def written(path):
    return {f: f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file()}


def test_a_faster_pass_is_measured_and_gives_the_same_cube(undisturbed, path, address):
    fast = {"fast": True, "precision": "float32"}
    fill(tiny_run(extraction=fast), path, address)
    error = stores.read(path, "extraction").load()
    assert error["folded"].to_numpy().tolist() == ["norm", "", "", ""]
    assert error.attrs["images"] == 30
    assert 0 < float(error["relative_error"].max()) < 1e-5
    with pytest.raises(RunError, match=r"extraction\.fast is True there and False here"):
        fill(tiny_run(), path, address)
    np.testing.assert_allclose(cube(path), cube(undisturbed), atol=1e-5)


@pytest.mark.parametrize(
    "shards", [{"images": 30, "batch_size": 30}, {"images": 7, "batch_size": 2}]
)
def test_shard_and_batch_size_change_nothing(undisturbed, path, address, shards):
    fill(tiny_run(shards=shards), path, address)
    first, second = cube(undisturbed), cube(path)
    largest = np.nanmax(np.abs(first), axis=(0, 2), keepdims=True)
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    # Batches of other sizes may add in another order: float32 rounding, far below the promise.
    assert np.nanmax(np.abs(first - second) / largest) < 1e-5
    predicted = [stores.read(p, "signals")["predicted"].to_numpy() for p in (undisturbed, path)]
    np.testing.assert_array_equal(*predicted)


def test_a_class_that_the_network_chooses_counts_for_its_group(undisturbed, path, address):
    fill(tiny_run("Grouped"), path, address)
    ours, theirs = (stores.read(p, "signals")["predicted"].to_numpy() for p in (path, undisturbed))
    assert 1 in theirs, "a class in no group"
    np.testing.assert_array_equal(ours, np.array([1, -1, 0])[theirs])
    np.testing.assert_array_equal(cube(path), cube(undisturbed))


def test_one_worker_writes_the_same_cube_as_two(undisturbed, path):
    with cluster(1) as one:
        fill(tiny_run(), path, one.scheduler_address)
    np.testing.assert_array_equal(cube(path), cube(undisturbed))


def test_a_killed_worker_costs_only_its_shard(undisturbed, path, address, tmp_path):
    flag = tmp_path / "killed"
    fill(tiny_run("KillsItsWorker", {"flag": str(flag), "owner": os.getpid()}), path, address)
    assert flag.exists()
    np.testing.assert_array_equal(cube(path), cube(undisturbed))


def test_a_half_written_shard_is_written_again_and_no_other(copied, undisturbed, address):
    group = zarr.open_group(store=copied, path="signals", mode="r+", use_consolidated=False)
    shard = shards.shards(copied)[2]
    group["complete"][shard.index] = 0
    group["signal"][shard.start : shard.start + 3] = 17.0
    files = copied / "signals/signal/c"
    damaged = written(files)
    fill(tiny_run(), copied, address)
    np.testing.assert_array_equal(cube(copied), cube(undisturbed))
    now = written(files)
    assert {f.relative_to(files).parts[0] for f in now if now[f] != damaged[f]} == {"2"}


def test_too_many_unreadable_images_stop_the_run_and_it_goes_on_once_they_are_repaired(
    undisturbed, path, address
):
    # Two in each shard, of which each alone may be: 8 of 30 are more than a tenth.
    broken = [1, 2, 9, 10, 17, 18, 25, 26]
    said = r"images cannot be read: .*more than images.unreadable = 0.1 of the run's 30 .*allows, 3"
    for _ in range(2):
        with pytest.raises(RunError, match=said):
            fill(unreadable_run(broken, 0.1), path, address)
    # As where workers finish their shards after the run has stopped: all are written.
    fill(unreadable_run(broken, 0.4), path, address)
    assert len(taken_back.unreadable_images(path)) == 8
    after(significance.measure_significance, tiny_run(), path, address)
    with pytest.raises(RunError, match=said):
        fill(unreadable_run(broken, 0.1), path, address)
    # One cannot be read still: its shard, whose other image was repaired, is written once more.
    fill(unreadable_run([18], 0.1), path, address)
    assert set(taken_back.unreadable_images(path)) == {"18"}
    assert not (path / "significance").exists()
    files = written(path / "signals/signal/c")
    fill(unreadable_run([18], 0.1), path, address)
    assert written(path / "signals/signal/c") == files
    fill(unreadable_run([], 0.1), path, address)
    np.testing.assert_array_equal(cube(path), cube(undisturbed))
    assert taken_back.unreadable_images(path) == {}


def test_a_folded_batch_norm_gives_the_signals_of_the_layer_it_makes(undisturbed, path, address):
    fill(tiny_run(fold_batch_norm=True), path, address)
    tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    assert tree["decomposition/conv1"].attrs["batch_norm"] == "norm"
    assert tree["decomposition/conv2"].attrs["batch_norm"] == ""
    model, images = TinyNetwork().double().eval(), Noise().images.double()
    with torch.no_grad():
        mean = model.norm(model.conv1(images)).mean(dim=(2, 3))
        at_zero = model.norm(model.conv1.bias.reshape(1, -1, 1, 1).expand(1, -1, 8, 8))
        expected = (mean - at_zero.mean(dim=(2, 3))) @ torch.from_numpy(
            tree["decomposition/conv1/U"].to_numpy()
        )
    found = tree["signals/signal"].sel(layer="conv1").to_numpy()[:, : expected.shape[1]]
    bound = 1e-5 * float(expected.abs().max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
    # Other layers stay as they were.
    np.testing.assert_array_equal(cube(path)[:, 1:], cube(undisturbed)[:, 1:])


def test_a_layer_of_zeros_is_left_out_by_name_and_no_other(undisturbed, path, address, tmp_path):
    network = TinyNetwork()
    torch.nn.init.zeros_(network.conv2.weight)
    torch.save(network.state_dict(), tmp_path / "zeros.pt")
    model = {"factory": tiny_run().model.factory, "weights": str(tmp_path / "zeros.pt")}
    fill(tiny_run(model=model), path, address)
    assert stores.read(path, "signals")["layer"].values.tolist() == ["conv1", "fc1", "fc2"]
    assert "whose weight is zero" in stores.root_attributes(path)["not_analysed"]
    np.testing.assert_array_equal(cube(path)[:, 0], cube(undisturbed)[:, 0])


def test_statistics_over_positions_are_added_to_a_finished_store(copied, address):
    run = tiny_run(spatial_statistics=True)
    after(significance.measure_significance, run, copied, address)
    after(extraction.measure_positions, run, copied, address)
    found = stores.read(copied, "spatial").load()
    assert (found["complete"].to_numpy() > 0).tolist() == [True] * 4


def test_w2_is_that_of_the_images_a_layer_sees(copied, address):
    run = tiny_run(capacity=["unfolded", "toeplitz"])
    after(capacity.measure_capacity, run, copied, address)
    found = stores.read(copied, "capacity").load()
    # conv1 sees 8 x 8 images of two channels.
    assert int(found["values"].sel(layer="conv1", matrization="toeplitz")) == 2 * 64


def test_a_large_layer_is_computed_in_blocks_on_all_workers(tmp_path, address, monkeypatch):
    zoo = tiny_zoo([model("whole", 80.0), model("apart", 80.0)], cluster=address)
    whole, apart = zoo.models
    creation.create_zoo(tmp_path / "zoo.zarr", zoo)
    after(capacity.analyse_model, zoo, whole, tmp_path / "zoo.zarr", address)
    blocks, cut = SpectrumSize.blocks, []

    def small(size):
        cut.append(blocks(size, 2_000))
        return cut[-1]

    monkeypatch.setattr(SpectrumSize, "blocks", small)
    after(capacity.analyse_model, zoo, apart, tmp_path / "zoo.zarr", address)
    assert max(map(len, cut)) > 2
    one, other = (
        stores.read(tmp_path / "zoo.zarr", f"capacity/{name}").load() for name in ("whole", "apart")
    )
    # To rounding: on some processors a batch of another size gives other last bits.
    xr.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_a_capacity_metric_that_is_there_is_kept_and_one_that_is_lost_comes_back(copied, address):
    after(capacity.measure_capacity, tiny_run(capacity=[]), copied, address)
    assert not (copied / "capacity").exists()
    after(capacity.measure_capacity, tiny_run(), copied, address)
    before = written(copied / "capacity")
    alpha = stores.read(copied, "capacity")["alpha"].load()
    after(capacity.measure_capacity, tiny_run(), copied, address)
    assert written(copied / "capacity") == before
    shutil.rmtree(copied / "capacity")
    after(capacity.measure_capacity, tiny_run(), copied, address)
    np.testing.assert_array_equal(stores.read(copied, "capacity")["alpha"], alpha)


def test_what_was_judged_is_kept_until_it_is_asked_for_otherwise(copied, address, tmp_path):
    after(significance.measure_significance, tiny_run(), copied, address)
    after(significance.build_hypergraphs, tiny_run(), copied, tmp_path, address)
    after(family.judge_stability, tiny_run(), copied, address)
    group = copied / "stability/conv1"
    kept = written(group)
    after(family.judge_stability, tiny_run(), copied, address)
    assert written(group) == kept
    levels = tiny_run().significance.model_dump() | {"resamples": 3, "sample_sizes": [2]}
    groups = {"one side": ["left", "right"]}
    run = tiny_run(significance=levels | {"superclasses": groups})
    after(family.judge_stability, run, copied, address)
    after(family.group_classes, run, copied)
    judged = stores.read(copied, "stability/conv1").load()
    assert judged["images_a_class"].values.tolist() == [2]
    assert set(np.unique(judged["incidence"] * 3).round(4)) <= {0, 1, 2, 3}
    grouped = stores.read(copied, "superclasses").load()
    assert grouped["images"].values.tolist() == [[10], [10]]


@pytest.mark.parametrize(
    ("network", "kwargs", "training", "said"),
    [
        (
            # Whose greatest number is 65,504.
            "Typed",
            {"dtype": "float16"},
            {"learning_rate": 1e6, "epochs": 3},
            r"^model\.training of 'tiny': . of 6 tensors hold NaN or infinity: conv1\.weight",
        ),
        (
            "FailsInTraining",
            {},
            {"batch_size": 1},
            r"FailsInTraining' cannot be trained on images of shape \(2, 6, 6\), 1 at a time: "
            "Expected more than 1 value per channel",
        ),
    ],
)
def test_training_that_fails_or_leaves_all_bounds_is_refused_by_name(
    network, kwargs, training, said, tmp_path
):
    model = {"factory": f"odd_networks:{network}", "kwargs": kwargs, "training": training}
    run = tiny_run("image_sets:Channels", model=model)
    with pytest.raises(RunError, match=said):
        after(decomposition.train_model, run, tmp_path / "checkpoint.pt")
    assert not list(tmp_path.iterdir())


def test_a_network_trained_on_the_spot_is_kept_and_used_again(tmp_path):
    model = {
        "factory": tiny_run().model.factory,
        "training": {"kwargs": {"images": 60, "seed": 1}, "epochs": 2, "batch_size": 10},
    }
    checkpoint = tmp_path / "checkpoint.pt"
    after(decomposition.train_model, tiny_run(model=model), checkpoint)
    kept = checkpoint.read_bytes()
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert not torch.equal(state["fc2.weight"], TinyNetwork().state_dict()["fc2.weight"])
    after(decomposition.train_model, tiny_run(model=model), checkpoint)
    assert checkpoint.read_bytes() == kept
    model["training"] = {**model["training"], "epochs": 3}
    with pytest.raises(RunError, match="comes from another training"):
        after(decomposition.train_model, tiny_run(model=model), checkpoint)
    assert checkpoint.read_bytes() == kept


def test_a_training_on_other_data_is_another_and_its_place_is_not_kept():
    def asked(root):
        training = {"kwargs": {"root": root}}
        return training_digest(
            tiny_run(model={"factory": tiny_run().model.factory, "training": training})
        )

    assert asked("/data/one") == asked("/data/one") != asked("/data/two")
    assert "/data" not in asked("/data/one")
