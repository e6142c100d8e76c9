"""The flow whole, on a real Prefect server, a real Dask cluster and a real Zarr store."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
import xarray as xr
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from runs import Noise, TinyNetwork, tiny_run

from ddp_tasks import store as stores
from flows.pipeline import run_pipeline
from schemas.parameters import RunError


@pytest.fixture(scope="module", autouse=True)
def prefect_server():
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, prefect_server):
    out = tmp_path_factory.mktemp("finished")
    return run_pipeline(tiny_run(), out)


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.store.parent, tmp_path / "out")
    return tmp_path / "out"


def cube(path):
    return stores.read(path / "store.zarr", "signals")["signal"].to_numpy()


def shard_files(out):
    files = sorted((out / "store.zarr/signals/signal/c").rglob("*"))
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in files if f.is_file()}


def flow_runs():
    async def read():
        async with get_client() as client:
            return await client.read_flow_runs()

    return asyncio.run(read())


def artifacts():
    async def read():
        async with get_client() as client:
            return await client.read_artifacts()

    return asyncio.run(read())


def test_everything_asked_for_is_there(finished):
    out = finished.store.parent
    assert {p.name for p in out.iterdir()} == {"store.zarr", "report.html", "hypergraphs"}
    assert {p.name for p in (out / "hypergraphs").iterdir()} == {
        f"{layer}.hif.json" for layer in ("conv1", "conv2", "fc1", "fc2")
    }
    tree = xr.open_datatree(finished.store, engine="zarr")
    assert {
        "layers",
        "decomposition",
        "signals",
        "significance",
        "family",
        "stability",
        "exemplars",
        "hierarchies",
        "hypergraphs",
        "capacity",
    } == set(tree.children)
    assert json.loads(tree.attrs["not_analysed"]) == {
        "norm": "BatchNorm2d scales each channel by itself, which is no linear layer of the paper"
    }
    assert tree["signals"]["complete"].values.tolist() == [1, 1, 1, 1]
    assert finished.summary.images == 30
    assert len(finished.summary.discriminating) == 5


def test_the_cube_agrees_with_the_reference(finished):
    model = TinyNetwork().double().eval()
    images = Noise().images.double()
    expected = reference_signals(model, images)
    found = stores.read(finished.store, "signals")["signal"]
    for layer, signals in expected.items():
        of_layer = found.sel(layer=layer).to_numpy()
        # The network runs in float32; 1e-5 of the layer's largest signal is the promise.
        bound = 1e-5 * np.abs(signals).max()
        np.testing.assert_allclose(of_layer[:, : signals.shape[1]], signals, rtol=0, atol=bound)
        assert np.isnan(of_layer[:, signals.shape[1] :]).all()


def test_a_faster_pass_is_measured_and_gives_the_same_cube(finished, tmp_path):
    fast = {"fast": True, "precision": "float32"}
    run_pipeline(tiny_run(extraction=fast), tmp_path / "out")
    error = stores.read(tmp_path / "out/store.zarr", "extraction").load()
    assert error["folded"].to_numpy().tolist() == ["norm", "", "", ""]
    assert error.attrs["images"] == 30
    assert 0 < float(error["relative_error"].max()) < 1e-5
    with pytest.raises(RunError, match=r"extraction\.fast is True there and False here"):
        run_pipeline(tiny_run(), tmp_path / "out")
    np.testing.assert_allclose(cube(tmp_path / "out"), cube(finished.store.parent), atol=1e-5)


def test_statistics_over_positions_are_added_to_a_finished_store(copied, finished):
    run_pipeline(tiny_run(spatial_statistics=True), copied)
    found = stores.read(copied / "store.zarr", "spatial").load()
    assert found["complete"].to_numpy().tolist() == [1, 1, 1, 1]
    signal = cube(copied)
    padding = np.isnan(signal)
    for name in ("maximum", "minimum", "share_above", "share_below"):
        np.testing.assert_array_equal(np.isnan(found[name].to_numpy()), padding)
    inside = ~padding
    assert (found["minimum"].to_numpy()[inside] <= signal[inside] + 1e-4).all()
    assert (found["maximum"].to_numpy()[inside] >= signal[inside] - 1e-4).all()
    # fc1 has one position: it exceeds q where the image's signal does.
    q = stores.read(copied / "store.zarr", "significance")["threshold"].load()
    q = float(q.sel(layer="fc1", direction="positive").sel(quantile=0.7, method="nearest"))
    above = found["share_above"].sel(layer="fc1").to_numpy()
    of_layer = stores.read(finished.store, "signals")["signal"].sel(layer="fc1").to_numpy()
    clear = np.abs(of_layer - q) > 1e-5
    np.testing.assert_array_equal(above[clear] == 1, (of_layer > q)[clear])


def reference_signals(model, images):
    """Signals of all layers by receptive fields and right singular vectors, in float64."""
    inputs = {}

    def keep(name):
        return lambda module, args: inputs.__setitem__(name, args[0].clone())

    names = ("conv1", "conv2", "fc1", "fc2")
    handles = [getattr(model, n).register_forward_pre_hook(keep(n)) for n in names]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return {name: of_layer(getattr(model, name), inputs[name].numpy()) for name in names}


def of_layer(module, inputs):
    W = module.weight.detach().numpy()
    if isinstance(module, torch.nn.Linear):
        fields = inputs[:, :, None]
    else:
        fields = [
            reference.receptive_fields(
                X,
                module.kernel_size,
                stride=module.stride,
                padding=module.padding,
                dilation=module.dilation,
            )
            for X in inputs
        ]
    unfolded = W.reshape(len(W), -1)
    return np.stack([reference.signal_vector(unfolded, Psi) for Psi in fields])


def test_thresholds_and_fractions_are_those_of_the_whole_cube(finished):
    significance = stores.read(finished.store, "significance").load()
    signals = stores.read(finished.store, "signals").load()
    assert {0.7, 0.8} <= set(significance["quantile"].values.tolist())
    for layer in significance["layer"].values.tolist():
        of_layer = signals["signal"].sel(layer=layer).to_numpy().astype(np.float64)
        of_layer = of_layer[:, ~np.isnan(of_layer).all(axis=0)]
        for level in significance["quantile"].values:
            at = significance.sel(layer=layer, quantile=level)
            for direction, sign in (("positive", 1), ("negative", -1)):
                q = float(at["threshold"].sel(direction=direction))
                assert q == np.quantile(sign * of_layer, level)
                for c in range(3):
                    members = of_layer[signals["target"].to_numpy() == c]
                    share = (sign * members > q).mean(axis=0)
                    stored = at["fraction"].sel(direction=direction).to_numpy()[c]
                    np.testing.assert_allclose(stored[: len(share)], share, rtol=1e-6)


def test_the_familys_map_and_the_stability_are_those_of_the_stored_hypergraphs(finished):
    family = stores.read(finished.store, "family").load()
    for summary in finished.summary.layers:
        at = family.sel(layer=summary.layer, direction="positive", quantile=summary.quantile)
        sizes = at.sel(percentage=summary.percentage)
        assert sizes["nodes"] == summary.nodes
        assert sizes["hyperedges"] == summary.hyperedges
        assert sizes["equivalence_classes"] == summary.equivalence_classes
        judged = stores.read(finished.store, f"stability/{summary.layer}").load()
        hierarchy = stores.read(finished.store, f"hierarchies/{summary.layer}").load()
        edges = np.nonzero(hierarchy["covers"].to_numpy())
        np.testing.assert_array_equal([judged["general"], judged["specific"]], edges)
        for name in ("incidence", "together", "inclusion"):
            # A hierarchy may have no edge; NaN is no share either.
            assert ((judged[name] >= 0) & (judged[name] <= 1)).all()


def test_what_was_judged_is_kept_until_it_is_asked_for_otherwise(copied):
    group = copied / "store.zarr/stability/conv1"
    kept = {f: f.stat().st_mtime_ns for f in group.rglob("*") if f.is_file()}
    run_pipeline(tiny_run(), copied)
    assert {f: f.stat().st_mtime_ns for f in group.rglob("*") if f.is_file()} == kept
    levels = tiny_run().significance.model_dump() | {"resamples": 3, "sample_sizes": [2]}
    groups = {"one side": ["left", "right"]}
    run_pipeline(tiny_run(significance=levels | {"superclasses": groups}), copied)
    judged = stores.read(copied / "store.zarr", "stability/conv1").load()
    assert judged["images_a_class"].values.tolist() == [2]
    assert set(np.unique(judged["incidence"] * 3).round(4)) <= {0, 1, 2, 3}
    grouped = stores.read(copied / "store.zarr", "superclasses").load()
    assert grouped["images"].values.tolist() == [20]


def test_exemplars_are_the_strongest_images(finished):
    exemplars = stores.read(finished.store, "exemplars").load()
    signals = stores.read(finished.store, "signals").load()
    found = exemplars["image"].sel(layer="fc1", singular_vector=0).values.tolist()
    order = np.argsort(-signals["signal"].sel(layer="fc1", singular_vector=0).to_numpy())
    assert found == signals["image"].to_numpy()[order[:4]].tolist()


def test_the_capacity_metric_is_that_of_the_weights_decomposed(finished):
    found = stores.read(finished.store, "capacity").load()
    layers = stores.read(finished.store, "layers").load()
    assert found["matrization"].values.tolist() == ["unfolded", "slices"]
    assert found["layer"].values.tolist() == layers["layer"].values.tolist()
    unfolded = found.sel(matrization="unfolded")
    squares = layers["singular_value"] ** 2
    np.testing.assert_allclose(unfolded["lambda_max"], squares.max("singular_vector"))
    np.testing.assert_allclose(10 ** unfolded["log_norm"], squares.sum("singular_vector"))
    np.testing.assert_array_equal(unfolded["values"], layers["rank"])
    for layer in ("conv1", "conv2"):
        W = TinyNetwork().get_submodule(layer).weight.detach().double().numpy()
        slices = np.linalg.svd(W, compute_uv=False)
        row = found.sel(layer=layer, matrization="slices")
        assert int(row["values"]) == slices.size
        np.testing.assert_allclose(float(row["lambda_max"]), slices.max() ** 2)
    np.testing.assert_allclose(found["alpha_hat"], found["capacity_term"].sum("layer"))
    assert "Capacity metric" in finished.report.read_text()


def test_a_capacity_metric_that_is_there_is_kept_and_one_that_is_lost_comes_back(copied):
    written = copied / "store.zarr/capacity/alpha/zarr.json"
    before = written.stat().st_mtime_ns
    run_pipeline(tiny_run(), copied)
    assert written.stat().st_mtime_ns == before
    alpha = stores.read(copied / "store.zarr", "capacity")["alpha"].load()
    shutil.rmtree(copied / "store.zarr/capacity")
    run_pipeline(tiny_run(), copied)
    again = stores.read(copied / "store.zarr", "capacity")["alpha"]
    np.testing.assert_array_equal(again, alpha)


def test_a_run_may_ask_for_w2_or_for_no_capacity_metric(tmp_path):
    outcome = run_pipeline(tiny_run(capacity=["unfolded", "toeplitz"]), tmp_path / "w2")
    found = stores.read(outcome.store, "capacity").load()
    # conv1 sees 8 x 8 images of two channels.
    assert int(found["values"].sel(layer="conv1", matrization="toeplitz")) == 2 * 64
    outcome = run_pipeline(tiny_run(capacity=[]), tmp_path / "none")
    assert "capacity" not in xr.open_datatree(outcome.store, engine="zarr").children
    assert "Capacity metric" not in outcome.report.read_text()


def test_a_second_run_writes_no_shard_and_changes_nothing(copied):
    before, written = cube(copied), shard_files(copied)
    run_pipeline(tiny_run(), copied)
    assert shard_files(copied) == written
    np.testing.assert_array_equal(cube(copied), before)


def test_a_half_written_shard_is_written_again_and_no_other(copied):
    before, written = cube(copied), shard_files(copied)
    shard = stores.shards(copied / "store.zarr")[2]
    group = stores._signals(copied / "store.zarr", mode="r+")
    group["complete"][shard.index] = 0
    group["signal"][shard.start : shard.start + 3] = 17.0
    damaged = shard_files(copied)
    run_pipeline(tiny_run(), copied)
    np.testing.assert_array_equal(cube(copied), before)
    after = shard_files(copied)
    assert {f for f in after if after[f] != damaged[f]} == {
        f for f in written if damaged[f] != written[f]
    }


def test_a_store_of_other_parameters_is_refused_and_left_alone(copied):
    before = cube(copied)
    with pytest.raises(RunError, match=r"significance.quantile is 0.8 there and 0.6 here"):
        run_pipeline(tiny_run(significance={"quantile": 0.6}), copied)
    # Only the weights differ: the store's own record is made to name the same kwargs.
    rename_kwargs(copied / "store.zarr", {"seed": 1})
    changed = tiny_run(model={"factory": tiny_run().model.factory, "kwargs": {"seed": 1}})
    with pytest.raises(RunError, match="weights differ"):
        run_pipeline(changed, copied)
    np.testing.assert_array_equal(cube(copied), before)


def rename_kwargs(path, kwargs):
    import zarr

    root = zarr.open_group(store=path, mode="r+", use_consolidated=False)
    identity = json.loads(root.attrs["identity"])
    identity["model"]["kwargs"] = kwargs
    root.attrs["identity"] = json.dumps(identity)


@pytest.mark.parametrize(
    "shards", [{"images": 30, "batch_size": 30}, {"images": 7, "batch_size": 2}]
)
def test_shard_and_batch_size_change_nothing(finished, tmp_path, shards):
    other = run_pipeline(tiny_run(shards=shards), tmp_path)
    first, second = cube(finished.store.parent), cube(tmp_path)
    largest = np.nanmax(np.abs(first), axis=(0, 2), keepdims=True)
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    # Batches of other sizes may add in another order: float32 rounding, far below the promise.
    assert np.nanmax(np.abs(first - second) / largest) < 1e-5
    assert other.summary.accuracy == finished.summary.accuracy


def test_one_worker_writes_the_same_cube_as_two(finished, tmp_path):
    cluster = tmp_path / "one-worker.yaml"
    cluster.write_text(
        "factory: distributed:LocalCluster\n"
        "kwargs: {n_workers: 1, threads_per_worker: 1, host: 127.0.0.1, dashboard_address: null}\n"
    )
    run_pipeline(tiny_run(cluster=str(cluster)), tmp_path / "out")
    np.testing.assert_array_equal(cube(tmp_path / "out"), cube(finished.store.parent))


def test_a_killed_worker_costs_only_its_shard(finished, tmp_path):
    flag = tmp_path / "killed"
    kwargs = {"flag": str(flag), "owner": os.getpid()}
    run_pipeline(tiny_run("KillsItsWorker", kwargs), tmp_path / "out")
    assert flag.exists()
    np.testing.assert_array_equal(cube(tmp_path / "out"), cube(finished.store.parent))


def test_a_failed_task_fails_the_flow_and_names_the_shard(tmp_path):
    said = r"shard 2 \(images 16 to 23\): 1 image cannot be read: 18 \(OSError: the disk is gone\)"
    with pytest.raises(RunError, match=said):
        run_pipeline(tiny_run("Unreadable", name="fails"), tmp_path)
    states = {r.name: r.state_type.value for r in flow_runs()}
    assert states["fails"] == "FAILED"
    missing = [shard.index for shard in stores.missing_shards(tmp_path / "store.zarr")]
    assert missing == [2]
    assert not (tmp_path / "report.html").exists()


def unreadable_run(broken, share, **changes):
    """The tiny run, some of whose images cannot be read; a share of them may."""
    run = tiny_run("Unreadable", {"broken": broken}, **changes)
    images = run.images.model_copy(update={"unreadable": share})
    return run.model_copy(update={"images": images})


def test_images_that_cannot_be_read_are_recorded_and_count_nowhere(finished, tmp_path):
    # Image 0 is what the run is prepared with; 8 to 15 are a whole shard.
    broken = [0, *range(8, 16), 18]
    outcome = run_pipeline(unreadable_run(broken, 0.4), tmp_path)
    readable = np.setdiff1d(np.arange(30), broken)
    assert set(outcome.summary.unreadable) == {f"{i:02}" for i in broken}
    assert outcome.summary.images == len(readable)
    tree = xr.open_datatree(outcome.store, engine="zarr")
    signals = tree["signals"].ds.load()
    assert np.isnan(signals["signal"].to_numpy()[broken]).all()
    whole = cube(finished.store.parent)
    largest = np.nanmax(np.abs(whole), axis=(0, 2), keepdims=True)
    difference = np.abs(signals["signal"].to_numpy() - whole)[readable]
    # Other batches than in the undisturbed run: float32 rounding.
    assert np.nanmax(difference / largest) < 1e-5
    assert (signals["predicted"].to_numpy()[broken] == -1).all()
    assert np.isnan(signals["confidence"].to_numpy()[broken]).all()
    error = signals["error"].to_numpy().astype(object)
    assert set(error[broken]) == {"OSError: the disk is gone"}
    assert set(error[readable]) == {""}

    significance = tree["significance"].ds.load()
    targets = np.arange(30)[readable] % 3
    assert significance["images"].to_numpy().tolist() == np.bincount(targets).tolist()
    of_layer = signals["signal"].sel(layer="conv2").to_numpy().astype(np.float64)[readable]
    of_layer = of_layer[:, ~np.isnan(of_layer).all(axis=0)]
    at = significance.sel(layer="conv2", quantile=0.8, direction="positive")
    assert float(at["threshold"]) == np.quantile(of_layer, 0.8)
    for c in range(3):
        share = (of_layer[targets == c] > float(at["threshold"])).mean(axis=0)
        stored = at["fraction"].to_numpy()[c, : len(share)]
        np.testing.assert_allclose(stored, share, rtol=1e-6)
    named = {*tree["exemplars/image"].to_numpy().ravel()}
    named |= {*tree["hierarchies/fc1/exemplar"].to_numpy().ravel()}
    assert named & {f"{i:02}" for i in broken} == set()

    page = outcome.report.read_text()
    assert "10\n  more images</a> could not be read" in page
    assert "<code>18</code>: OSError: the disk is gone" in page
    # Repaired, they are read: what the cube gave before goes with their rows.
    written = shard_files(tmp_path)
    repaired = run_pipeline(unreadable_run([18], 0.4), tmp_path)
    assert set(repaired.summary.unreadable) == {"18"}
    # Of three shards with such images one still has its own, which is tried and left alone.
    again = {Path(f).parts[4] for f, when in shard_files(tmp_path).items() if written[f] != when}
    assert again == {"0", "1"}
    np.testing.assert_array_equal(
        np.delete(cube(tmp_path), range(16, 24), 0), np.delete(whole, range(16, 24), 0)
    )
    significance = stores.read(outcome.store, "significance").load()
    assert significance["images"].to_numpy().tolist() == [9, 10, 10]


def test_a_run_with_too_many_unreadable_images_stops_and_goes_on_once_they_are_repaired(
    finished, tmp_path
):
    # Two in each shard, of which each alone may be: 8 of 30 are more than a tenth.
    broken = [1, 2, 9, 10, 17, 18, 25, 26]
    said = r"images cannot be read: .*more than images.unreadable = 0.1 of the run's 30 .*allows, 3"
    with pytest.raises(RunError, match=said):
        run_pipeline(unreadable_run(broken, 0.1), tmp_path)
    # Nothing that lacks an image counts as written, whatever was underway when the run stopped.
    with pytest.raises(RunError, match=said):
        run_pipeline(unreadable_run(broken, 0.1), tmp_path)
    run_pipeline(unreadable_run([], 0.1), tmp_path)
    np.testing.assert_array_equal(cube(tmp_path), cube(finished.store.parent))
    assert stores.unreadable_images(tmp_path / "store.zarr") == {}


def test_a_network_trained_on_the_spot_is_kept_and_used_again(tmp_path):
    model = {
        "factory": tiny_run().model.factory,
        "training": {"kwargs": {"images": 60, "seed": 1}, "epochs": 2, "batch_size": 10},
    }
    first = run_pipeline(tiny_run(model=model), tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["state_dict"]
    assert not torch.equal(state["fc2.weight"], TinyNetwork().state_dict()["fc2.weight"])
    second = run_pipeline(tiny_run(model=model), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
    assert first.summary == second.summary
    model["training"] = {**model["training"], "epochs": 3}
    shutil.rmtree(tmp_path / "store.zarr")
    with pytest.raises(RunError, match="comes from another training"):
        run_pipeline(tiny_run(model=model), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_a_folded_batch_norm_gives_the_signals_of_the_layer_it_makes(finished, tmp_path):
    run_pipeline(tiny_run(fold_batch_norm=True), tmp_path)
    tree = xr.open_datatree(tmp_path / "store.zarr", engine="zarr")
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
    np.testing.assert_array_equal(cube(tmp_path)[:, 1:], cube(finished.store.parent)[:, 1:])


def test_a_layer_of_zeros_is_left_out_by_name_and_no_other(finished, tmp_path):
    network = TinyNetwork()
    torch.nn.init.zeros_(network.conv2.weight)
    torch.save(network.state_dict(), tmp_path / "zeros.pt")
    model = {"factory": tiny_run().model.factory, "weights": str(tmp_path / "zeros.pt")}
    run_pipeline(tiny_run(model=model), tmp_path / "out")
    tree = xr.open_datatree(tmp_path / "out/store.zarr", engine="zarr")
    assert tree["signals"]["layer"].values.tolist() == ["conv1", "fc1", "fc2"]
    assert "zero throughout" in json.loads(tree.attrs["not_analysed"])["conv2"]
    np.testing.assert_array_equal(cube(tmp_path / "out")[:, 0], cube(finished.store.parent)[:, 0])


def test_a_run_in_which_nothing_is_significant_says_so(tmp_path):
    nothing = {"quantile": 0.99, "percentage": 100, "layers": {}}
    outcome = run_pipeline(tiny_run(significance=nothing), tmp_path)
    assert [layer.nodes for layer in outcome.summary.layers] == [0, 0, 0, 0]
    assert "no singular vector exceeds" in outcome.report.read_text().lower()
    assert json.loads((tmp_path / "hypergraphs/fc1.hif.json").read_text())["nodes"] == []


def test_the_prefect_ui_is_given_summary_tables_and_places(finished):
    by_key = {}
    for artifact in artifacts():
        by_key.setdefault(artifact.key, artifact)
    layers = {f"significance-{layer}" for layer in ("conv1", "conv2", "fc1", "fc2")}
    assert layers | {"summary", "report", "store", "hypergraph-files", "signals"} <= set(by_key)
    # Every run of this module has left one; that in which nothing is significant has no rows.
    tables = [json.loads(a.data) for a in artifacts() if a.key == "significance-fc1"]
    rows = max(tables, key=len)
    assert rows
    assert set(rows[0]) == {"singular vector", "singular value", "η²", "significant for"}
    assert "report.html" in by_key["report"].data
    assert "| conv2 | 6 × 5 × 3 × 3 | 6 |" in by_key["summary"].data
