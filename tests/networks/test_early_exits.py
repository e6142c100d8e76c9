"""Networks whose path depends on the image, and layers that not all images reach."""

import numpy as np
import odd_networks
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shown_networks import names, pictures, ready, shown
from stored_cubes import stored
from strategies import LEVELS, cubes

from ddp_tasks.networks.forward_pass import ForwardPass, forward_pass
from ddp_tasks.networks.layers import PathError, unfolded_weight
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.signals.spatial_statistics import Thresholds, spatial_statistics
from ddp_tasks.significance import significance, stability
from ddp_tasks.significance.splits import Split
from ddp_tasks.store.cube import cube_size, layer_parts, layer_signals
from ddp_tasks.store.slabs import slabs
from ddp_tasks.visualization.exemplars import exemplars_of_sets
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.workers import reductions
from schemas.parameters import ExtractionParameters

CPU = torch.device("cpu")


def bright_and_dark():
    """Images of which 0, 1 and 4 are darker than one half, and the others brighter."""
    images = pictures(6) / 2
    images[[2, 3, 5]] += 0.5
    return images


def more(images):
    return lambda: images.split(1)


def test_layers_of_all_paths_are_found_and_images_that_miss_one_are_nan():
    images = bright_and_dark()
    model = ready(odd_networks.EarlyExit())
    # The first two images leave the exit out.
    found, signals = shown(model, images, batch=1, more=more(images))
    assert names(found) == ["conv1", "exit", "conv2", "fc"]
    assert found.not_analysed == {}
    missed = np.isnan(signals.signal[:, :, 0])
    assert missed[:, 0].tolist() == [False] * 6
    assert missed[:, 1].tolist() == [True, True, False, False, True, False]
    assert missed[:, 3].tolist() == [False, False, True, True, False, True]
    assert signals.reached.tolist() == [6, 3, 3, 3]
    # Those that reach a layer have its signals.
    dark = shown(ready(odd_networks.Plain()), images[[0, 1, 4]])[1]
    for layer, of_plain in ((0, 0), (2, 1), (3, 2)):
        np.testing.assert_allclose(
            signals.signal[[0, 1, 4], layer], dark.signal[:, of_plain], rtol=0, atol=1e-5
        )
    with torch.no_grad():
        expected = [int(model(image).argmax()) for image in images.split(1)]
    assert signals.predicted.tolist() == expected


def test_a_path_that_a_batch_takes_together_is_refused():
    images = bright_and_dark()
    with pytest.raises(UnsteadyNetworkError, match=r"only some images reach 'exit', 'conv2', 'fc'"):
        trace_layers(ready(odd_networks.EarlyExit()), images, more=more(images))
    # Two images that part at once.
    with pytest.raises(UnsteadyNetworkError, match=r"shards\.batch_size: 1"):
        trace_layers(ready(odd_networks.EarlyExit()), images[[0, 2]])


def test_a_batch_whose_path_was_not_tried_is_refused_where_it_comes():
    images = bright_and_dark()
    model = ready(odd_networks.EarlyExit())
    found = trace_layers(model, images)
    assert names(found) == ["conv1", "conv2", "fc"]
    assert "never calls" in found.not_analysed["exit"]
    U = {one.name: torch.eye(one.shape[0], dtype=torch.float64) for one in found.linear}
    forward = ForwardPass(model, found.linear, U, convention=found.convention)
    extract(forward, [images[:2]])
    with pytest.raises(PathError, match=r"layer conv2 is reached by 0 of the 2 images of a batch"):
        extract(forward, [images[:2], images[2:4]])


def test_experts_are_named_where_rows_cannot_be_told_apart_and_analysed_alone():
    images = bright_and_dark()
    model = ready(odd_networks.Routing())
    together = trace_layers(model, images[[0, 2]])
    assert names(together) == ["conv1", "conv2", "fc"]
    for expert in ("bright", "dark"):
        reason = together.not_analysed[expert]
        assert reason.startswith("Linear that only some of a batch's images pass through")
        assert "shards.batch_size: 1" in reason
    found, signals = shown(model, images, batch=1, more=more(images))
    assert names(found) == ["conv1", "conv2", "bright", "dark", "fc"]
    missed = np.isnan(signals.signal[:, :, 0]).sum(axis=0)
    assert missed.tolist() == [0, 0, 3, 3, 0]
    # Each image has the scores that it has among others.
    with torch.no_grad():
        assert signals.predicted.tolist() == model(images).argmax(dim=1).tolist()


def test_folding_and_positions_of_layers_that_not_all_images_reach():
    images = bright_and_dark()
    model = ready(odd_networks.EarlyExit())
    found = trace_layers(model, images, alone=True, more=more(images))
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in found.linear}
    passes = [
        forward_pass(
            model,
            found.linear,
            U,
            found.images,
            options=ExtractionParameters(fast=fast),
            device=CPU,
            convention=found.convention,
        )
        for fast in (False, True)
    ]
    plain, fast = (extract(one, [images]) for one in passes)
    np.testing.assert_allclose(fast.signal, plain.signal, rtol=0, atol=1e-6)
    none = {one.name: Thresholds(0.0, 0.0) for one in found.linear}
    # A layer of one position has its signal for greatest and least.
    spatial = spatial_statistics(passes[0], none, [images])
    for layer in (1, 3):
        np.testing.assert_allclose(
            spatial.maximum[:, layer], plain.signal[:, layer], rtol=0, atol=1e-5
        )
    assert np.isnan(spatial.share_above[2, 2]).all()
    assert np.isfinite(spatial.share_above[0, 2, :5]).all()


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(cubes(unread=True, unreached=True), LEVELS, st.data())
def test_images_that_miss_a_layer_count_as_not_significant(tmp_path_factory, cube, levels, data):
    path = tmp_path_factory.mktemp("cube") / "store.zarr"
    stored(path, cube, block=data.draw(st.integers(1, 12)))
    pieces = slabs(cube_size(path))
    threshold = reductions.thresholds(path, pieces, levels, Split(None, 0), reductions.one_by_one)
    images = np.array([(cube.targets == c).sum() for c in range(cube.target_classes)])
    for slab in reductions.fraction_slabs(cube_size(path), len(levels), cube.target_classes, 1):
        layer = slab.layer
        rows = cube.signals[:, layer, : cube.ranks[layer]].astype(np.float64)
        there = ~np.isnan(rows[:, 0])
        for number, level in enumerate(levels):
            q = np.quantile(rows[there], level)
            assert threshold[0, number, layer] == q
        counts = reductions.significant_counts(
            path, threshold[:, :, layer], cube.target_classes, Split(None, 0), slab
        )
        np.testing.assert_array_equal(counts.images[0], images)
        for c in range(cube.target_classes):
            of_class = there & (cube.targets == c)
            assert counts.reached[0, c] == of_class.sum()
            for number in range(len(levels)):
                for direction, sign in enumerate((1, -1)):
                    above = sign * rows[of_class] > threshold[direction, number, layer]
                    expected = above.sum(axis=0)[slab.vectors]
                    np.testing.assert_array_equal(
                        counts.significant[0, direction, number, c], expected
                    )
        # The bootstrap judges the same indicators.
        q = dict(zip(("positive", "negative"), threshold[:, 0, layer].tolist(), strict=True))
        found = stability.indicators(
            lambda at=layer: layer_parts(path, at, cube.ranks[at]), q, cube.target_classes
        )
        assert np.diff(found.start).tolist() == images.tolist()
        for direction in (0, 1):
            judged = [found.of_class(c).sum(axis=0)[direction::2] for c in range(len(images))]
            np.testing.assert_array_equal(
                np.array(judged)[:, slab.vectors], counts.significant[0, direction, 0]
            )
        kept = layer_signals(path, f"layer {layer}")["image"].to_numpy().tolist()
        assert kept == [f"{i:06}" for i in np.flatnonzero(there)]


def test_exemplars_are_images_that_reach_the_layer():
    nan = np.nan
    signals = np.array([[nan, nan], [-2, -1], [nan, nan], [nan, nan]], dtype=np.float32)
    parts = lambda: [(signals, np.array([0, 0, 0, 1]))]  # noqa: E731
    overall, of_class = exemplars_of_sets(parts, [{0: 1, 1: 1}], 2, 2)
    # All sums of the first class are negative, and no image of the second reaches the layer.
    assert of_class.image.tolist() == [[[1, -1]], [[1, -1]]]
    assert overall.image.tolist() == [[[1, -1]], [[1, -1]]]
    assert of_class.signal[:, 0, 0].tolist() == [-3, -3]


def test_a_sample_no_image_of_which_reaches_the_layer_has_no_threshold():
    signals = np.full((20, 1), np.nan, dtype=np.float32)
    signals[3] = 2
    parts = lambda: [(signals, np.zeros(20, dtype=np.int64))]  # noqa: E731
    found = stability.sample_thresholds(parts, [0.5], [1, 20])
    assert np.isnan(found[:, 0, 0]).all()
    assert found[:, 0, 1].tolist() == [2, -2]


def test_no_image_that_reaches_a_layer_leaves_no_threshold():
    signals = np.full((2, 1, 1), np.nan, dtype=np.float32)
    with pytest.raises(ValueError, match="no values"):
        significance.thresholds(lambda: [(signals, np.zeros(2, dtype=np.int64))], [1], [0.5])
