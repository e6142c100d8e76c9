"""The flow whole, on a real Prefect server, a real Dask cluster and a real Zarr store."""

import base64
import io
import json
import logging
import re
import shutil
from urllib.parse import quote

import numpy as np
import prefect_runs
import pytest
import reference
import torch
import xarray as xr
from pages import without_data
from PIL import Image
from runs import HERE, Noise, TinyNetwork, tiny_run, unreadable_run

from ddp_tasks.queries.significance import open_significance
from ddp_tasks.queries.summary import significant_vectors
from ddp_tasks.stages.artifacts import as_text
from ddp_tasks.store import groups as stores
from ddp_tasks.store import shards, taken_back
from ddp_tasks.store.marks import set_root_mark
from flows.pipeline import run_pipeline, standing
from schemas.parameters import RunError

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.store.parent, tmp_path / "out")
    return tmp_path / "out"


def cube(path):
    return stores.read(path / "store.zarr", "signals")["signal"].to_numpy()


def shard_files(out):
    files = sorted((out / "store.zarr/signals/signal/c").rglob("*"))
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in files if f.is_file()}


def embedded_pictures(page):
    """The pictures of images that a page shows."""
    found = set(re.findall(r"data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/=]+)", page))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


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
        "controls",
        "exemplars",
        "pictures",
        "projections",
        "hierarchies",
        "hypergraphs",
        "capacity",
    } == set(tree.children)
    assert json.loads(tree.attrs["not_analysed"]) == {
        "norm": "BatchNorm2d scales each channel by itself, which is no linear layer of the paper"
    }
    assert (tree["signals"]["complete"].values > 0).tolist() == [True] * 4
    assert finished.summary.images == 30
    assert len(finished.summary.discriminating) == 5


def test_no_place_of_this_machine_is_in_what_a_run_leaves(finished):
    out = finished.store.parent
    places = [str(HERE.parent).encode(), str(out).encode(), quote(str(out)).encode()]
    files = [file for file in out.rglob("*") if file.is_file()]
    assert [f for f in files if any(place in f.read_bytes() for place in places)] == []


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


def test_thresholds_are_chosen_on_half_of_the_cube_and_fractions_told_on_both(finished):
    significance = stores.read(finished.store, "significance").load()
    signals = stores.read(finished.store, "signals").load()
    part, target = significance["part"].to_numpy(), signals["target"].to_numpy()
    assert [((part == 0) & (target == c)).sum() for c in range(3)] == [5, 5, 5]
    assert significance["images"].values.tolist() == [[5, 5, 5], [5, 5, 5]]
    assert {0.7, 0.8} <= set(significance["quantile"].values.tolist())
    for layer in significance["layer"].values.tolist():
        of_layer = signals["signal"].sel(layer=layer).to_numpy().astype(np.float64)
        of_layer = of_layer[:, ~np.isnan(of_layer).all(axis=0)]
        for level in significance["quantile"].values:
            at = significance.sel(layer=layer, quantile=level)
            for direction, sign in (("positive", 1), ("negative", -1)):
                q = float(at["threshold"].sel(direction=direction))
                assert q == np.quantile(sign * of_layer[part == 0], level)
                for split, c in np.ndindex(2, 3):
                    members = of_layer[(target == c) & (part == split)]
                    share = (sign * members > q).mean(axis=0)
                    stored = at["fraction"].sel(direction=direction).to_numpy()[split, c]
                    np.testing.assert_allclose(stored[: len(share)], share, rtol=1e-6)


def test_the_familys_map_and_the_stability_are_those_of_the_stored_hypergraphs(finished):
    family = stores.read(finished.store, "family").load()
    for summary in finished.summary.layers:
        at = family.sel(layer=summary.layer, direction="both", quantile=summary.quantile)
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


def test_exemplars_are_the_strongest_images(finished):
    exemplars = stores.read(finished.store, "exemplars").load()
    signals = stores.read(finished.store, "signals").load()
    ids, target = signals["image"].to_numpy(), signals["target"].to_numpy()
    for layer in exemplars["layer"].values:
        of_layer = signals["signal"].sel(layer=layer, singular_vector=0).to_numpy()
        for direction, sign in (("positive", 1), ("negative", -1)):
            at = exemplars.sel(layer=layer, direction=direction, singular_vector=0)
            order = np.argsort(-sign * of_layer)
            assert at["image"].values.tolist() == ids[order[:4]].tolist()
            np.testing.assert_array_equal(at["signal"], of_layer[order[:4]])
            firsts = [order[target[order] == c][0] for c in range(3)]
            assert at["class_image"].values.tolist() == firsts
            np.testing.assert_array_equal(at["class_signal"], of_layer[firsts])


def test_exemplars_of_equivalence_classes_are_those_of_their_summed_signals(finished):
    signals = stores.read(finished.store, "signals").load()
    ids, target = signals["image"].to_numpy(), signals["target"].to_numpy()
    for layer in ("conv1", "conv2", "fc1", "fc2"):
        hierarchy = stores.read(finished.store, f"hierarchies/{layer}").load()
        of_layer = signals["signal"].sel(layer=layer).to_numpy().astype(np.float64)
        for number, members in enumerate(hierarchy["singular_vectors"].to_numpy()):
            # Each vector in its direction; both cancel each other.
            sign = members[:, 0].astype(int) - members[:, 1]
            if not sign.any():
                sign = members[:, 0].astype(int)
            summed = np.nan_to_num(of_layer[:, : len(members)]) @ sign
            at = hierarchy.isel(equivalence_class=number)
            order = np.argsort(-summed)
            assert at["strongest"].values.tolist() == ids[order[:4]].tolist()
            np.testing.assert_allclose(at["strongest_signal"], summed[order[:4]], rtol=1e-6)
            for c in np.flatnonzero(at["target_classes"].to_numpy()):
                assert at["exemplar"].values[c] == ids[order[target[order] == c][0]]


def test_the_capacity_metric_is_that_of_the_weights_decomposed(finished):
    found = stores.read(finished.store, "capacity").load()
    layers = stores.read(finished.store, "layers").load()
    assert found["matrization"].values.tolist() == ["unfolded", "slices", "channels"]
    assert found["layer"].values.tolist() == layers["layer"].values.tolist()
    unfolded = found.sel(matrization="unfolded")
    squares = layers["singular_value"] ** 2
    np.testing.assert_allclose(unfolded["lambda_max"], squares.max("singular_vector"))
    np.testing.assert_allclose(10 ** unfolded["log_norm"], squares.sum("singular_vector"))
    np.testing.assert_array_equal(unfolded["values"], layers["rank"])
    for layer in ("conv1", "conv2"):
        W = TinyNetwork().get_submodule(layer).weight.detach().double().numpy()
        for matrization, matrices in (("slices", W.transpose(2, 3, 0, 1)), ("channels", W)):
            S = np.linalg.svd(matrices, compute_uv=False)
            row = found.sel(layer=layer, matrization=matrization)
            assert int(row["values"]) == S.size
            np.testing.assert_allclose(float(row["lambda_max"]), S.max() ** 2)
    for layer in ("fc1", "fc2"):
        own = found.sel(layer=layer)
        for name in ("values", "lambda_max", "alpha"):
            np.testing.assert_array_equal(own[name], np.full(3, own[name][0]))
    np.testing.assert_allclose(found["alpha_hat"], found["capacity_term"].sum("layer"))
    assert "Capacity metric" in finished.report.read_text()


def test_a_second_run_writes_no_shard_and_changes_nothing(copied, address, client):
    before, written = cube(copied), shard_files(copied)
    run_pipeline(tiny_run(cluster=address), copied)
    # Shards are read and their images compared, and the page names another cluster; all other
    # stages are idle, and no task runs.
    tasks = prefect_runs.edges(client, prefect_runs.run_in(client, copied))
    assert set(tasks) == {"signals", "report"}
    assert shard_files(copied) == written
    np.testing.assert_array_equal(cube(copied), before)


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
    set_root_mark(path)


def test_a_network_with_other_weights_in_every_worker_is_refused_before_any_work(tmp_path):
    model = {"factory": tiny_run().model.factory.replace("TinyNetwork", "UnseededNetwork")}
    with pytest.raises(RunError, match="gives other weights at every call"):
        run_pipeline(tiny_run(model=model), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_task_fails_the_flow_and_names_the_shard(tmp_path, address, client):
    why = "shard 2 (images 16 to 23): 1 image cannot be read: 18 (OSError: the disk is gone)"
    with pytest.raises(RunError, match=re.escape(why)):
        run_pipeline(tiny_run("Unreadable", name="fails", cluster=address), tmp_path)
    missing = [shard.index for shard in shards.missing_shards(tmp_path / "store.zarr")]
    assert missing == [2]
    assert not (tmp_path / "report.html").exists()
    # In Prefect's UI it is read without a log.
    run = prefect_runs.run_in(client, tmp_path)
    assert run.state_type.value == "FAILED"
    assert why in run.state.message
    failure = prefect_runs.artifacts_of(client, run)["failure-fails-tinynetwork"].data
    assert failure.startswith("# signals failed")
    assert as_text(why, 1000) in failure
    assert "3 of 4 shards are written" in failure


def test_images_that_cannot_be_read_are_recorded_and_count_nowhere(finished, tmp_path, address):
    # Image 0 is what the run is prepared with; 8 to 15 are a whole shard.
    broken = [0, *range(8, 16), 18]
    outcome = run_pipeline(unreadable_run(broken, 0.4, cluster=address), tmp_path)
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
    targets, part = np.arange(30)[readable] % 3, significance["part"].to_numpy()[readable]
    for split, images in enumerate(significance["images"].to_numpy()):
        assert images.tolist() == np.bincount(targets[part == split], minlength=3).tolist()
    of_layer = signals["signal"].sel(layer="conv2").to_numpy().astype(np.float64)[readable]
    of_layer = of_layer[:, ~np.isnan(of_layer).all(axis=0)]
    at = significance.sel(layer="conv2", quantile=0.8, direction="positive")
    assert float(at["threshold"]) == np.quantile(of_layer[part == 0], 0.8)
    for split, c in np.ndindex(2, 3):
        members = of_layer[(targets == c) & (part == split)]
        share = (members > float(at["threshold"])).mean(axis=0)
        stored = at["fraction"].to_numpy()[split, c, : len(share)]
        np.testing.assert_allclose(stored, share, rtol=1e-6)
    named = {*tree["exemplars/image"].to_numpy().ravel()}
    named |= {*tree["hierarchies/fc1/exemplar"].to_numpy().ravel()}
    assert named & {f"{i:02}" for i in broken} == set()

    page = outcome.report.read_text()
    assert "10\n  more images</a> could not be read" in page
    assert "<code>18</code>: OSError: the disk is gone" in page


@pytest.mark.parametrize(
    "case",
    [
        ("Series", (3, 20), ["conv", "fc"]),
        ("Vectors", (7,), ["0", "2"]),
        ("Volumes", (1, 5, 6, 7), ["conv1", "conv2", "fc"]),
    ],
)
def test_inputs_that_are_no_pictures_end_in_a_report_that_draws_them(
    case, tmp_path, address, caplog
):
    network, shape, layers = case
    nan = [7]
    run = tiny_run(
        images={
            "factory": "image_sets:Shaped",
            "kwargs": {"shape": list(shape), "nan": nan},
            "unreadable": 0.1,
        },
        model={"factory": f"odd_networks:{network}"},
        significance={"quantile": 0.6, "percentage": 50, "resamples": 0},
        capacity=[],
        visualizations={"steps": 4},
        cluster=address,
    )
    # Dask keeps what is less than a warning from handlers while its cluster is up.
    with caplog.at_level(logging.INFO):
        outcome = run_pipeline(run, tmp_path)
    assert [layer.layer for layer in outcome.summary.layers] == layers
    # Nothing can be optimised for them.
    assert not stores.read(outcome.store, "visualized")["asked"].any()
    assert f"inputs of shape {shape}" in caplog.text
    signals = stores.read(outcome.store, "signals").load()
    assert signals["signal"].shape[:2] == (12, len(layers))
    assert signals["error"].values.tolist() == [
        "it holds NaN or infinity" if i in nan else "" for i in range(12)
    ]
    assert np.isnan(signals["signal"].values).all(axis=(1, 2)).tolist() == [
        i in nan for i in range(12)
    ]
    pictures = embedded_pictures(outcome.report.read_text())
    assert len(pictures) > 1
    assert all(len(np.unique(picture)) > 1 for picture in pictures)


def test_a_run_in_which_nothing_is_significant_says_so(tmp_path, address):
    nothing = {"quantile": 0.99, "percentage": 100, "layers": {}}
    run = tiny_run(significance=nothing, capacity=[], cluster=address)
    outcome = run_pipeline(run, tmp_path)
    assert [layer.nodes for layer in outcome.summary.layers] == [0, 0, 0, 0]
    assert "no singular vector exceeds" in without_data(outcome.report.read_text()).lower()
    assert json.loads((tmp_path / "hypergraphs/fc1.hif.json").read_text())["nodes"] == []
    # Nor does it ask for the capacity metric.
    assert "capacity" not in xr.open_datatree(outcome.store, engine="zarr").children
    assert "Capacity metric" not in outcome.report.read_text()


def test_a_layers_significant_vectors_are_those_of_the_table_most_telling_first(finished):
    vectors = significant_vectors(tiny_run(), finished.store, "fc1")
    ranked = open_significance(finished.store.parent).ranked("fc1")
    expected = ranked[ranked["classes"] > 0]
    assert [v.singular_vector.vector for v in vectors] == expected["singular_vector"].tolist()
    assert [v.singular_vector.direction for v in vectors] == expected["direction"].tolist()
    assert [v.eta_squared for v in vectors] == expected["eta_squared"].tolist()
    shares = [[share for _, share in vector.by_fraction()] for vector in vectors]
    # Told on other images than those that chose, a class that was not chosen may have more.
    assert all(of[0] <= most for of, most in zip(shares, expected["most"], strict=True))
    assert shares == [sorted(one, reverse=True) for one in shares]


def test_a_stopped_run_says_how_many_shards_are_written(finished, copied, tmp_path):
    assert "; 4 of 4 shards are written. " in standing(finished.store.parent)
    taken_back.forget(copied / "store.zarr", shards.shards(copied / "store.zarr")[1:3])
    assert "; 2 of 4 shards are written. " in standing(copied)
    assert "nothing of the store is written yet" in standing(tmp_path / "none")
