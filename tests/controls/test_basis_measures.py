from types import SimpleNamespace

import basis_reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from ddp_tasks.controls.basis_measures import (
    Asked,
    SortedSignals,
    chance_of,
    class_pairs,
    measures_of_bases,
    measures_of_permutations,
    percentile,
    quantiles_of_both,
)
from ddp_tasks.controls.layer_images import LayerImages, some_of_each
from ddp_tasks.significance.confidence_intervals import difference_intervals
from schemas.control_variables import MEASURES

CONFIDENCE = 0.9


def excludes(nodes):
    def of(one, other, images, other_images):
        if not images or not other_images:
            return False
        counts = np.array([one]), np.array([other])
        ends = difference_intervals(counts, (images, other_images), CONFIDENCE, nodes)
        (low,), (high,) = ends
        return low > 0 or high < 0

    return of


@st.composite
def layers(draw):
    """A layer's signals, some images of which are unreadable or do not reach it, and questions."""
    classes, vectors = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    images = draw(st.integers(4, 24))
    random = np.random.default_rng(draw(SEEDS))
    target = random.integers(0, classes, images)
    # Halves: exact as float32, and with ties.
    signals = random.integers(-6, 7, (images, vectors)) / 2 + (target % 2)[:, None]
    part = np.arange(images) % draw(st.integers(1, 2))
    unreadable = random.random(images) < draw(st.sampled_from([0.0, 0.2]))
    reaches = random.random(images) >= draw(st.sampled_from([0.0, 0.2]))
    target = np.where(unreadable, -1, target)
    # Of each part something must be left.
    for p in np.unique(part):
        first = int(np.flatnonzero(part == p)[0])
        target[first], reaches[first] = max(target[first], 0), True
    signals[~reaches | (target < 0)] = np.nan
    directions = draw(st.sampled_from([("positive",), ("negative",), ("positive", "negative")]))
    groups = draw(st.lists(st.sets(st.integers(0, classes - 1), min_size=1), max_size=2))
    return SimpleNamespace(
        signals=signals.astype(np.float32),
        target=target,
        part=part,
        classes=classes,
        quantile=draw(st.sampled_from([0.3, 0.5, 0.75, 0.9])),
        percentage=draw(st.sampled_from([20.0, 50.0, 75.0, 100.0])),
        directions=directions,
        groups=groups,
        seed=draw(SEEDS),
    )


def asked_of(layer):
    images = LayerImages.of(
        layer.target, layer.part, np.isfinite(layer.signals[:, 0]), layer.classes
    )
    groups = [[c in group for c in range(layer.classes)] for group in layer.groups]
    return Asked(
        images,
        layer.quantile,
        layer.percentage,
        layer.directions,
        np.array(groups, dtype=bool).reshape(len(groups), layer.classes),
        class_pairs(images.images[-1], 100, np.random.default_rng(0)),
        CONFIDENCE,
    )


def assert_measured(row, layer, signals, target=None):
    wanted = expected(layer, signals, target)
    for name, value in zip(MEASURES, row, strict=True):
        possible = wanted[name]
        nearest = min(
            possible if isinstance(possible, set) else {possible}, key=lambda p: abs(p - value)
        )
        assert value == pytest.approx(nearest, rel=1e-6, abs=1e-6, nan_ok=True), name


def expected(layer, signals, target):
    asked = asked_of(layer)
    return basis_reference.measures(
        signals,
        layer.target if target is None else target,
        layer.part,
        quantile=layer.quantile,
        percentage=layer.percentage,
        directions=layer.directions,
        classes=layer.classes,
        groups=layer.groups,
        pairs=asked.pairs.tolist(),
        excludes=excludes(signals.shape[1] * len(layer.directions)),
    )


@settings(max_examples=60)
@given(layers())
def test_measures_are_those_of_the_definitions(layer):
    asked = asked_of(layer)
    rank = layer.signals.shape[1]
    # Whole numbers: the signals along every vector are exact in any order of the sums.
    random = np.random.default_rng(layer.seed)
    others = random.integers(-2, 3, (3, rank, rank + 1)).astype(float)
    sorted_signals = SortedSignals.of(layer.signals, asked.images)
    own = measures_of_bases(sorted_signals, np.eye(rank)[None], asked)
    assert_measured(own[0], layer, layer.signals)
    for measured, basis in zip(
        measures_of_bases(sorted_signals, others, asked), others, strict=True
    ):
        assert_measured(measured, layer, layer.signals.astype(np.float64) @ basis)


@given(layers())
def test_permuted_labels_give_the_measures_of_images_with_these_labels(layer):
    asked = asked_of(layer)
    permuted = asked.images.permutations(2, np.random.default_rng(layer.seed))
    sorted_signals = SortedSignals.of(layer.signals, asked.images)
    measured = measures_of_permutations(sorted_signals, asked, permuted)
    for of_draw, rows in zip(measured, permuted, strict=True):
        target = layer.target.copy()
        target[asked.images.order[rows]] = layer.target[asked.images.order]
        assert_measured(of_draw, layer, layer.signals, target)


@given(layers())
def test_permutations_stay_within_the_part(layer):
    images = asked_of(layer).images
    for rows in images.permutations(3, np.random.default_rng(layer.seed)):
        for part in range(images.parts):
            own = images.rows(part)
            assert sorted(rows[own]) == list(range(own.start, own.stop))


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_quantiles_are_those_of_numpy_to_the_bit(values, level):
    several = np.array([values, values[::-1]], dtype=np.float32)
    positive, negative = quantiles_of_both(several, level)
    exact = several.astype(np.float64)
    np.testing.assert_array_equal(positive, np.quantile(exact, level, axis=1))
    np.testing.assert_array_equal(negative, np.quantile(-exact, level, axis=1))


def test_a_block_of_bases_changes_nothing(monkeypatch):
    random = np.random.default_rng(0)
    target = np.arange(40) % 4
    images = LayerImages.of(target, (np.arange(40) // 4) % 2, np.ones(40, dtype=bool), 4)
    asked = Asked(
        images, 0.8, 60.0, ("positive", "negative"), np.zeros((0, 4), dtype=bool),
        class_pairs(images.images[-1], 100, random), CONFIDENCE,
    )  # fmt: skip
    signals = SortedSignals.of(random.normal(size=(40, 5)).astype(np.float32), images)
    bases = random.normal(size=(7, 5, 5))
    permuted = images.permutations(7, random)
    whole = (
        measures_of_bases(signals, bases, asked),
        measures_of_permutations(signals, asked, permuted),
    )
    monkeypatch.setattr("ddp_tasks.controls.basis_measures._BYTES", 1)
    np.testing.assert_array_equal(measures_of_bases(signals, bases, asked), whole[0])
    np.testing.assert_array_equal(measures_of_permutations(signals, asked, permuted), whole[1])


def test_intervals_of_large_classes_are_computed_and_not_looked_up(monkeypatch):
    random = np.random.default_rng(0)
    target = np.arange(60) % 3
    images = LayerImages.of(target, np.zeros(60, dtype=int), np.ones(60, dtype=bool), 3)
    asked = Asked(
        images, 0.7, 60.0, ("positive",), np.zeros((0, 3), dtype=bool),
        class_pairs(images.images[0], 100, random), CONFIDENCE,
    )  # fmt: skip
    values = random.normal(size=(60, 4)) + target[:, None]
    signals = SortedSignals.of(values.astype(np.float32), images)
    looked_up = measures_of_bases(signals, np.eye(4)[None], asked)
    assert looked_up[0, list(MEASURES).index("distinguishing")] > 0
    monkeypatch.setattr("ddp_tasks.controls.basis_measures._LOOKED_UP", 0)
    np.testing.assert_array_equal(measures_of_bases(signals, np.eye(4)[None], asked), looked_up)


def test_pairs_are_all_or_as_many_as_asked_for():
    random = np.random.default_rng(0)
    assert class_pairs(np.array([3, 0, 2, 1]), 10, random).tolist() == [[0, 2], [0, 3], [2, 3]]
    drawn = class_pairs(np.ones(30, dtype=int), 100, random)
    assert len({tuple(pair) for pair in drawn.tolist()}) == 100
    assert (drawn[:, 0] < drawn[:, 1]).all()
    assert class_pairs(np.array([5]), 100, random).shape == (0, 2)


def test_percentiles_count_equal_draws_half():
    draws = np.array([[1.0, 2.0, 2.0, 3.0, np.nan], [np.nan] * 5])
    np.testing.assert_array_equal(percentile(np.array([2.0, 1.0]), draws), [50, np.nan])
    assert percentile(np.array([9.0]), draws[:1])[0] == 100
    assert np.isnan(percentile(np.array([np.nan]), draws[:1])[0])


def test_chance_is_never_zero():
    permutations = np.array([[1.0, 2.0, 3.0]])
    assert chance_of(np.array([4.0]), permutations)[0] == 1 / 4
    assert chance_of(np.array([2.0]), permutations)[0] == 3 / 4
    assert np.isnan(chance_of(np.array([2.0]), permutations[:, :0])[0])


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(1, 40), SEEDS)
def test_some_images_of_each_class_and_part_stay(target, most, seed):
    target = np.array(target)
    part = np.random.default_rng(seed).integers(0, 2, len(target))
    kept = some_of_each(target, part, most)
    assert ((kept == target) | (kept == -1)).all()
    segments = {(p, c) for p, c in zip(part, target, strict=True) if c >= 0}
    assert segments == {(p, c) for p, c in zip(part, kept, strict=True) if c >= 0}
    assert (kept >= 0).sum() <= max(most, len(segments))
    if (target >= 0).sum() <= most:
        np.testing.assert_array_equal(kept, target)


def test_one_class_alone_has_no_pairs_and_no_eta_squared():
    images = LayerImages.of(np.zeros(12, dtype=int), np.arange(12) % 2, np.ones(12, dtype=bool), 1)
    asked = Asked(
        images, 0.5, 40.0, ("positive",), np.zeros((0, 1), dtype=bool),
        class_pairs(images.images[-1], 100, np.random.default_rng(0)), CONFIDENCE,
    )  # fmt: skip
    signals = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    (row,) = measures_of_bases(SortedSignals.of(signals, images), np.eye(3)[None], asked)
    measured = dict(zip(MEASURES, row, strict=True))
    assert measured["nodes"] == measured["exclusive"] > 0
    assert np.isnan(measured["distinguishing"])
    assert measured["eta_squared_best"] == measured["eta_squared_signals_best"] == 0


def test_a_layer_that_no_image_reaches_has_nothing():
    images = LayerImages.of(np.arange(6) % 2, np.arange(6) // 4, np.zeros(6, dtype=bool), 2)
    asked = Asked(
        images, 0.5, 40.0, ("positive", "negative"), np.zeros((0, 2), dtype=bool),
        class_pairs(images.images[-1], 100, np.random.default_rng(0)), CONFIDENCE,
    )  # fmt: skip
    signals = np.full((6, 3), np.nan, dtype=np.float32)
    (row,) = measures_of_bases(SortedSignals.of(signals, images), np.eye(3)[None], asked)
    measured = dict(zip(MEASURES, row, strict=True))
    assert np.isnan(measured.pop("parted_groups"))
    assert set(measured.values()) == {0.0}


@pytest.mark.parametrize("images", [3000, 8])
def test_sums_of_classes_are_exact(images):
    target = np.arange(images) % 2
    sorted_images = LayerImages.of(target, np.zeros(images, dtype=int), np.ones(images, bool), 3)
    ones = np.ones((1, images, 2), dtype=np.uint8)
    (sums,) = sorted_images.sums(ones, np.int32)
    assert sums[0].tolist() == [[images // 2] * 2, [images // 2] * 2, [0, 0]]
