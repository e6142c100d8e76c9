"""Optimised images of a run, on real Prefect, Dask and store: made, kept, continued, refused."""

import shutil
import time

import numpy as np
import pytest
import torch
from prefect import flow
from runs import tiny_run

from ddp_tasks.queries.visualization_targets import Wanted, wanted_by_run
from ddp_tasks.queries.visualizations import layer_visualizations, open_visualizations
from ddp_tasks.stages.visualizations import visualize_run
from ddp_tasks.store import groups
from ddp_tasks.weights.signed_vectors import SignedVector, signs
from ddp_tasks.workers import kept, visualizations
from ddp_tasks.workers.stored_run import StoredRun
from ddp_tasks.workers.stored_visualizations import Batch
from schemas.parameters import RunError

pytestmark = pytest.mark.usefixtures("prefect_server")

FEW_STEPS = {"steps": 12, "seconds": None}


def run_with(**options):
    return tiny_run(visualizations={**FEW_STEPS, **options})


@flow
def after(stage, *arguments):
    return stage(*arguments)


@pytest.fixture
def path(finished, tmp_path):
    """A copy of the finished tiny run, which has no optimised images."""
    copied = tmp_path / "store.zarr"
    shutil.copytree(finished.store, copied)
    return copied


@pytest.fixture(scope="module")
def visualized(finished, address, tmp_path_factory):
    """The same with the optimised images of all equivalence classes."""
    copied = tmp_path_factory.mktemp("visualized") / "store.zarr"
    shutil.copytree(finished.store, copied)
    after(visualize_run, run_with(), copied, address)
    return copied


def asked(path, run=None):
    wanted = wanted_by_run(run or run_with(), path)
    return {layer: list(map(vectors_of, of_layer)) for layer, of_layer in wanted.items()}


def vectors_of(wanted):
    """The singular vectors that take part in a target's sum."""
    return tuple(signs(wanted.members))


def pictures(path, layer):
    stored = layer_visualizations(path, layer)
    return (
        {}
        if stored is None
        else dict(
            zip(stored["target"].to_numpy().tolist(), stored["picture"].to_numpy(), strict=True)
        )
    )


def written(path):
    return {
        file: file.stat().st_mtime_ns
        for file in (path / "visualizations").rglob("*")
        if file.is_file()
    }


def test_every_equivalence_class_gets_its_picture_and_its_measures(visualized) -> None:
    layers = asked(visualized)
    assert sum(map(len, layers.values())) > 3
    for layer, members in layers.items():
        if not members:
            assert layer_visualizations(visualized, layer) is None
            continue
        stored = layer_visualizations(visualized, layer).load()
        of_store = [tuple(np.flatnonzero(row)) for row in stored["member"].to_numpy()]
        assert sorted(of_store) == sorted(members)
        assert stored["picture"].shape[1:] == (8, 8, 2)
        assert stored["picture"].dtype == np.uint8
        assert (stored["seeds"] == 2).all()
        for name in ("excess", "excess_unseen", "path_similarity", "noise_similarity"):
            assert np.isfinite(stored[name]).all(), name
        failed = stored["failed"].to_numpy() != ""
        assert failed[stored["excess"].to_numpy() <= 1].all()
    counts = groups.read(visualized, "visualized")
    assert counts["asked"].to_numpy().tolist() == [len(members) for members in layers.values()]
    assert counts["made"].equals(counts["asked"])
    assert not (visualized / "visualization_parts").exists()


def test_the_stored_signal_and_excess_are_those_of_the_stored_picture(visualized, finished) -> None:
    from runs import Noise, TinyNetwork

    images = Noise().images
    low, high = images.amin(dim=(0, 2, 3)), images.amax(dim=(0, 2, 3))
    network = TinyNetwork().double().eval()
    stored = layer_visualizations(visualized, "conv1").load()
    pixels = torch.from_numpy(stored["picture"].to_numpy()).permute(0, 3, 1, 2).double() / 255
    with torch.no_grad():
        output = torch.nn.functional.conv2d(
            pixels * (high - low)[:, None, None] + low[:, None, None],
            network.conv1.weight,
            padding=1,
        )
    U = groups.read(visualized, "decomposition/conv1")["U"].to_numpy()
    signals = output.mean(dim=(2, 3)).numpy() @ U
    weight = stored["weight"].to_numpy()
    np.testing.assert_allclose(stored["signal"], (signals * weight).sum(axis=1), rtol=1e-6)
    cube = groups.read(visualized, "signals")["signal"].sel(layer="conv1").to_numpy()
    sums = cube[:, : U.shape[1]].astype(np.float64) @ weight.T
    sign = np.where(stored["direction"].to_numpy() == "positive", 1, -1)
    strongest = (sign * sums).argmax(axis=0)
    mean, best = sums.mean(axis=0), sums[strongest, np.arange(len(sign))]
    excess = (stored["signal"].to_numpy() - mean) / (best - mean)
    np.testing.assert_allclose(stored["excess"], excess, rtol=1e-5)
    ids = groups.read(visualized, "signals")["image"].to_numpy()
    assert (stored["best_natural_image"].to_numpy() == ids[strongest]).all()


def test_a_finished_stage_is_kept_and_other_options_make_what_is_missing(
    visualized, address, tmp_path
) -> None:
    path = tmp_path / "store.zarr"
    shutil.copytree(visualized, path)
    before = written(path)
    after(visualize_run, run_with(), path, address)
    assert written(path) == before
    both = run_with(objectives=["mean", "density"])
    assert not kept.is_visualized(both, path)
    first = {layer: pictures(path, layer) for layer in asked(path)}
    after(visualize_run, both, path, address)
    assert kept.is_visualized(both, path)
    for layer, members in asked(path).items():
        now = pictures(path, layer)
        assert len(now) == 2 * len(members)
        for target, picture in first[layer].items():
            np.testing.assert_array_equal(now[target], picture)


def test_images_within_a_budget_are_of_the_statements_and_then_the_most_telling(
    path, address
) -> None:
    after(visualize_run, run_with(images=3), path, address)
    layers = wanted_by_run(run_with(), path)
    best = sorted(
        (
            (one.rank, -one.eta_squared, layer, one.members, vectors_of(one))
            for layer, w in layers.items()
            for one in w
        )
    )[:3]
    made = [
        (layer, tuple(np.flatnonzero(row)))
        for layer in layers
        if (stored := layer_visualizations(path, layer)) is not None
        for row in stored["member"].to_numpy()
    ]
    assert sorted(made) == sorted((layer, vectors) for *_, layer, _, vectors in best)


def test_without_time_nothing_is_made_and_more_time_continues(path, address, caplog) -> None:
    short = run_with(seconds=1e-6)
    after(visualize_run, short, path, address)
    total = sum(map(len, asked(path).values()))
    assert f"0 of {total} optimised images were made" in caplog.text
    assert kept.is_visualized(short, path)
    assert int(groups.read(path, "visualized")["made"].sum()) == 0
    assert not kept.is_visualized(run_with(), path)
    after(visualize_run, run_with(), path, address)
    assert int(groups.read(path, "visualized")["made"].sum()) == total


def test_a_batch_that_a_killed_run_left_is_gathered_and_not_made_again(path, address) -> None:
    run = run_with()
    (layer, (one, *_)) = next((k, v) for k, v in wanted_by_run(run, path).items() if v)
    batch = Batch(layer, tuple(one.targets(run.visualizations)))
    made = visualizations.visualize(StoredRun.of(path, run), run.visualizations, None, batch)
    assert made.images == 1
    (part,) = groups.names_below(path, "visualization_parts")
    picture = groups.read(path, f"visualization_parts/{part}")["picture"].to_numpy()[0]
    assert not kept.is_visualized(run, path)
    after(visualize_run, run, path, address)
    np.testing.assert_array_equal(pictures(path, layer)[batch.targets[0].key], picture)
    assert not (path / "visualization_parts").exists()


def test_a_damaged_group_is_removed_and_made_again(visualized, address, tmp_path, caplog) -> None:
    path = tmp_path / "store.zarr"
    shutil.copytree(visualized, path)
    file = next(f for f in (path / "visualizations" / "fc1" / "picture").rglob("*") if f.is_file())
    file.write_bytes(file.read_bytes()[:-3])
    assert not kept.is_visualized(run_with(), path)
    after(visualize_run, run_with(), path, address)
    assert "the optimised images of fc1 are removed" in caplog.text
    assert kept.is_visualized(run_with(), path)
    assert len(pictures(path, "fc1")) == len(asked(path)["fc1"])


def test_a_batch_too_long_for_its_time_makes_as_many_as_it_can(path, monkeypatch) -> None:
    run = run_with()
    wanted = [Wanted((SignedVector(i, 1),)) for i in range(5)]
    batch = Batch("fc1", tuple(t for one in wanted for t in one.targets(run.visualizations)))
    make = visualizations._made

    def slow(stored, options, deadline, batch):
        """Ten seconds for each target, as far as is known after some steps."""
        if len(batch) > 2:
            raise visualizations._TooLateError(10.0 * len(batch))
        return make(stored, options, deadline, batch)

    monkeypatch.setattr(visualizations, "_made", slow)
    stored = StoredRun.of(path, run)
    made = visualizations.visualize(stored, run.visualizations, time.time() + 28, batch)
    assert made.images == 2
    assert made.needed == 50
    nothing = visualizations.visualize(stored, run.visualizations, time.time() + 9, batch)
    assert nothing == visualizations.Made(needed=50)


def test_a_clock_ends_a_batch_once_it_cannot_be_finished() -> None:
    clock = visualizations._Clock(time.time() + 60, 10**12)
    for _ in range(7):
        clock.advanced(1)
    with pytest.raises(visualizations._TooLateError):
        clock.advanced(1)
    for deadline in (None, time.time() + 1e6):
        clock = visualizations._Clock(deadline, 8)
        for _ in range(8):
            clock.advanced(1)


def test_a_query_names_what_there_is(visualized, finished) -> None:
    folder = visualized.parent
    assert open_visualizations(folder, "fc1").sizes["target"] == len(asked(visualized)["fc1"])
    with pytest.raises(RunError, match=r"layer 'fc3' is not in .* \(did you mean 'fc"):
        open_visualizations(folder, "fc3")
    with pytest.raises(RunError, match="has no optimised images yet; ddp visualize makes them"):
        open_visualizations(finished.store.parent, "fc1")
