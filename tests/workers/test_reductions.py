"""Reductions over stored cubes, against the same mathematics over the cube in memory."""

import os
import signal
import tracemalloc
from functools import partial

import numpy as np
import pytest
import reference
import xarray as xr
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_cubes import stored
from strategies import LEVELS, Cube, cubes

from ddp_tasks.significance import significance
from ddp_tasks.significance.splits import Split
from ddp_tasks.stages.bounded_futures import OverWorkers
from ddp_tasks.store import groups
from ddp_tasks.store.cube import cube_size, layer_signals, slab_parts
from ddp_tasks.store.slabs import CubeSize, Slab, slabs
from ddp_tasks.visualization import exemplars
from ddp_tasks.workers import reductions

#: No split: all images choose and judge.
WHOLE = Split(None, 0)


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 20)),
    st.integers(1, 400),
)
def test_slabs_hold_every_signal_once(ranks, shards, chunk, widest, task_bytes):
    seen = set()
    for slab in slabs(CubeSize(ranks, shards, 3, chunk), widest, task_bytes):
        assert slab.width <= (widest or max(ranks))
        here = {
            (slab.layer, i, shard)
            for i in range(slab.first_vector, slab.last_vector)
            for shard in range(slab.first_shard, slab.last_shard)
        }
        assert here
        assert not here & seen
        seen |= here
    assert len(seen) == sum(ranks) * shards


def shuffled(seed):
    """Every slab in this process, the results in an order drawn by the seed."""

    def mapped(function, pieces):
        order = np.random.default_rng(seed).permutation(len(pieces))
        for i in order:
            yield pieces[i], function(pieces[i])

    return mapped


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(cubes(unread=True), LEVELS, st.data())
def test_any_cut_and_order_gives_what_the_loops_give(tmp_path_factory, cube, levels, data):
    path = tmp_path_factory.mktemp("cube") / "store.zarr"
    stored(path, cube, block=data.draw(st.integers(1, 5)))
    size = cube_size(path)
    task_bytes = data.draw(st.integers(1, 200))
    pieces = slabs(size, task_bytes=task_bytes)
    narrow = slabs(size, widest=data.draw(st.integers(1, 4)), task_bytes=None)
    mapped = shuffled(data.draw(st.integers(0, 99)))
    if (cube.targets < 0).all():
        with pytest.raises(ValueError, match="no values"):
            reductions.thresholds(path, pieces, levels, WHOLE, mapped)
        return

    threshold = reductions.thresholds(path, pieces, levels, WHOLE, mapped)
    read = cube.signals[cube.targets >= 0]
    for layer, rank in enumerate(cube.ranks):
        for number, level in enumerate(levels):
            for direction, sign in enumerate((1, -1)):
                q = reference.threshold(read, layer, rank, level, sign)
                assert threshold[direction, number, layer] == q

    unsplit = np.zeros(len(cube.targets), dtype=np.int8)
    expected = significance.fractions(
        cube.parts, cube.ranks, threshold, cube.target_classes, unsplit
    )
    fraction = np.full_like(expected.fraction, np.nan)
    for slab in narrow:
        counts = reductions.significant_counts(
            path, threshold[:, :, slab.layer], cube.target_classes, WHOLE, slab
        )
        np.testing.assert_array_equal(counts.images, expected.images)
        np.testing.assert_array_equal(counts.reached, expected.reached[:, :, slab.layer])
        of_signals = counts.eta_squared.astype(np.float32)
        np.testing.assert_array_equal(of_signals, expected.eta_squared[:, slab.layer, slab.vectors])
        share = significance.share(counts.significant[0], counts.images[0])
        fraction[0, :, :, :, slab.layer, slab.vectors] = share
    np.testing.assert_array_equal(fraction, expected.fraction)

    places = data.draw(st.integers(1, 14))
    for slab in narrow:
        found = reductions.exemplars_of_slab(path, places, cube.target_classes, slab)
        column = cube.signals[:, slab.layer, slab.vectors]
        check_exemplars(found, column, cube.targets, places, cube.target_classes)

    for layer, rank in enumerate(cube.ranks):
        sets = [dict.fromkeys(range(rank), 1), dict.fromkeys(range(0, rank, 2), -1), {}]
        slab = Slab(layer, 0, rank, 0, size.shards)
        found = reductions.exemplars_of_sets(path, sets, places, cube.target_classes, slab)
        # Halves sum exactly.
        signals = cube.signals[:, layer]
        zeros = np.zeros(len(signals), dtype=np.float32)
        sums = np.stack(
            [sum((s * signals[:, i] for i, s in one.items()), zeros) for one in sets], axis=1
        )
        sums[cube.targets < 0] = np.nan
        check_exemplars(found, sums, cube.targets, places, cube.target_classes)


def check_exemplars(found, signals, targets, places, classes):
    """Against a sort of each column, shape (image, vector), and of each class's part of it."""
    for d, sign in enumerate((1, -1)):
        for i, column in enumerate((sign * signals).T):
            order = reference.strongest(column.tolist(), places)
            image, signal = found.overall.image[d, i], found.overall.signal[d, i]
            assert image.tolist() == order + [-1] * (places - len(order))
            np.testing.assert_array_equal(signal[: len(order)], signals[order, i])
            assert np.isnan(signal[len(order) :]).all()
            for c in range(classes):
                of_class = np.where(targets == c, column, np.nan)
                (first,) = reference.strongest(of_class.tolist(), 1) or [-1]
                assert found.of_class.image[d, i, c] == first
                expected = signals[first, i] if first >= 0 else np.nan
                np.testing.assert_array_equal(found.of_class.signal[d, i, c], expected)


def test_sums_over_vector_sets_do_not_depend_on_the_part():
    # Noise, whose sums round: a matrix product of another number of rows would differ.
    signals = np.random.default_rng(0).normal(size=(64, 300)).astype(np.float32)
    members = [dict.fromkeys(range(300), 1), dict.fromkeys(range(1, 300, 7), -1), {}]
    whole = exemplars.summed(signals, members)
    alone = [exemplars.summed(signals[i : i + 1], members) for i in range(64)]
    np.testing.assert_array_equal(np.concatenate(alone), whole)
    assert (whole[:, 2] == 0).all()


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_constant_signals_are_significant_for_nothing(tmp_path, value):
    signals = np.full((6, 1, 3), value, dtype=np.float32)
    cube = cubes_of(signals, [0, 0, 1, 1, -1, 0], (3,), classes=3)
    path = tmp_path / "store.zarr"
    stored(path, cube, block=2)
    pieces = slabs(cube_size(path))
    threshold = reductions.thresholds(path, pieces, [0.5, 0.9], WHOLE, reductions.one_by_one)
    assert threshold[:, :, 0].tolist() == [[value, value], [-value, -value]]
    counts = reductions.significant_counts(path, threshold[:, :, 0], 3, WHOLE, Slab(0, 0, 3, 0, 3))
    assert not counts.significant.any()
    # The last class has no images, and the image that could not be read counts for none.
    assert counts.images.tolist() == [[3, 2, 0]]
    assert np.isnan(significance.share(counts.significant[0], counts.images[0])[:, :, 2]).all()


def cubes_of(signals, targets, ranks, classes):
    signals = signals.copy()
    signals[np.array(targets) < 0] = np.nan
    return Cube(signals, np.array(targets), ranks, classes, ())


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A stored cube of noise, classes scattered over the images, and one image not read."""
    random = np.random.default_rng(0)
    signals = random.normal(size=(50, 2, 20)).astype(np.float32)
    signals[:, 1, 7:] = np.nan
    targets = random.integers(0, 3, 50)
    targets[17] = -1
    path = tmp_path_factory.mktemp("noise") / "store.zarr"
    cube = cubes_of(signals, targets, (20, 7), classes=3)
    stored(path, cube, block=8)
    return path, cube


@pytest.mark.parametrize("name", [None, "class 1"])
@pytest.mark.parametrize("layer", ["layer 0", "layer 1"])
def test_one_layer_and_one_class_read_back_as_plain_xarray_has_them(noise, layer, name):
    path, _ = noise
    found = layer_signals(path, layer, name)
    tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    signals, of_layers = tree["signals"].ds, tree["layers"].ds
    rank = int(of_layers["rank"].sel(layer=layer))
    wanted = signals["predicted"] >= 0
    if name is not None:
        target = signals["target_class"].values.tolist().index(name)
        wanted = wanted & (signals["target"] == target)
    expected = signals["signal"].sel(layer=layer)[:, :rank][wanted.values]
    np.testing.assert_array_equal(found, expected)
    assert found["image"].values.tolist() == expected["image"].values.tolist()


def test_a_layer_or_class_that_is_not_there_is_named(noise):
    with pytest.raises(ValueError, match="nothing"):
        layer_signals(noise[0], "nothing")
    with pytest.raises(ValueError, match="nobody"):
        layer_signals(noise[0], "layer 0", "nobody")


@pytest.fixture(scope="module")
def client():
    """Two worker processes, so that one of them may die."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def die_once(flag, path, slab):
    """Counts a slab; the first process that comes to the fourth shard is killed there."""
    if slab.first_shard == 3 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return reductions.upper_counts(path, WHOLE, slab)


def test_a_worker_killed_in_a_reduction_costs_nothing_but_time(noise, client, tmp_path):
    path, _ = noise
    pieces = slabs(cube_size(path), task_bytes=1)
    flag = tmp_path / "killed"
    mapped = OverWorkers(client, patience=60)
    survived = mapped(partial(die_once, flag, path), pieces)
    total = sum(counts.whole() for _, counts in survived)
    assert flag.exists()
    whole = reductions.one_by_one(partial(reductions.upper_counts, path, WHOLE), pieces)
    np.testing.assert_array_equal(total, sum(counts.whole() for _, counts in whole))


def test_thresholds_on_workers_are_those_of_one_process(noise, client):
    path, _ = noise
    pieces = slabs(cube_size(path), task_bytes=1)
    assert len(pieces) == 14
    mapped = OverWorkers(client, patience=60, retries=0)
    levels = (0.5, 0.9)
    found = reductions.thresholds(path, pieces, levels, WHOLE, mapped)
    whole = reductions.thresholds(
        path, slabs(cube_size(path)), levels, WHOLE, reductions.one_by_one
    )
    np.testing.assert_array_equal(found, whole)


@pytest.mark.slow
def test_memory_of_thresholds_does_not_grow_with_the_layers(tmp_path):
    def peak(layers):
        signals = np.random.default_rng(0).normal(size=(30, layers, 4)).astype(np.float32)
        path = tmp_path / f"{layers}.zarr"
        stored(path, cubes_of(signals, [0] * 30, (4,) * layers, classes=1), block=30)
        pieces = slabs(cube_size(path))
        tracemalloc.start()
        reductions.thresholds(path, pieces, [0.5, 0.9], WHOLE, reductions.one_by_one)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The counts of one layer take half a megabyte and more.
    assert peak(24) < peak(4) + 2**19


def test_a_slab_past_the_end_of_the_images_has_the_last_block_short(noise):
    path, cube = noise
    *_, (start, signals, target) = slab_parts(path, Slab(1, 2, 5, 5, 7))
    assert start == 48
    np.testing.assert_array_equal(signals, cube.signals[48:, 1, 2:5])
    np.testing.assert_array_equal(target, cube.targets[48:])


def test_an_unfinished_group_is_told_from_a_finished_one(noise):
    path, _ = noise
    finished = {"finished": "yes"}
    assert not groups.is_recorded(path, "layers", finished)
    assert not groups.is_recorded(path, "significance", finished)
    groups.record(path, "layers", finished)
    assert groups.is_recorded(path, "layers", finished)
