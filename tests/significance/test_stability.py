import tracemalloc

import numpy as np
import psutil
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import tiny_run
from scipy import stats
from strategies import LEVELS, cubes

from ddp_tasks.prepared_run import prepare
from ddp_tasks.significance.stability import (
    Hierarchy,
    bootstrap,
    bootstrap_bytes,
    indicators,
    resample_weights,
    sample_thresholds,
)
from schemas.parameters import RunError

PERCENTAGES = st.sampled_from([20.0, 50.0, 75.0, 100.0])
RESAMPLES = st.sampled_from([1, 7, 64, 70])


def layer_parts(cube, layer):
    rank = cube.ranks[layer]
    return [(signals[:, layer, :rank], target) for signals, target in cube.parts()]


def weights_by_image(cube, resamples):
    """How often each image of the run is drawn, shape (resample, image)."""
    weights = np.zeros((resamples, len(cube.targets)), dtype=int)
    for c in range(cube.target_classes):
        (members,) = np.nonzero(cube.targets == c)
        weights[:, members] = resample_weights(len(members), resamples, c)
    return weights


def hierarchy_of(table):
    """The reference's equivalence classes and edges, as the bootstrap takes them."""
    of = reference.memberships(reference.hypergraph(table, [str(c) for c in range(len(table))]))
    parts = sorted({tuple(sorted(v for v in of if of[v] == of[w])) for w in of})
    edges = sorted(
        reference.transitive_reduction(reference.strict_order([of[p[0]] for p in parts]))
    )
    general, specific = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))
    return Hierarchy(tuple(np.array(p) for p in parts), general, specific)


def brute_force(cube, layer, hierarchy, *, q, p, sign, resamples):
    """Shares of resamples by building every resample's table as sets."""
    rank, holds = cube.ranks[layer], []
    signals = cube.signals[:, layer, :rank]
    for weights in weights_by_image(cube, resamples).tolist():
        table = reference.resampled_table(
            signals, cube.targets, weights, q=q, p=p, sign=sign, classes=cube.target_classes
        )
        sets = [{c for c, row in enumerate(table) if row[i]} for i in range(rank)]
        holds.append(
            (
                table,
                [
                    bool(sets[m[0]]) and all(sets[v] == sets[m[0]] for v in m)
                    for m in hierarchy.members
                ],
                [
                    bool(sets[hierarchy.members[j][0]])
                    and sets[hierarchy.members[i][0]] > sets[hierarchy.members[j][0]]
                    for i, j in zip(hierarchy.general, hierarchy.specific, strict=True)
                ],
            )
        )
    return [np.mean([h[k] for h in holds], axis=0) for k in range(3)]


@settings(max_examples=40)
@given(cubes(), st.floats(0.05, 0.95), PERCENTAGES, RESAMPLES)
def test_the_bootstrap_equals_a_loop_over_resamples(cube, level, p, resamples):
    for layer, rank in enumerate(cube.ranks):
        q = [reference.threshold(cube.signals, layer, rank, level, sign) for sign in (1, -1)]
        for name, threshold, sign in zip(("positive", "negative"), q, (1, -1), strict=True):
            of_direction = indicators(
                lambda at=layer: layer_parts(cube, at), {name: threshold}, cube.target_classes
            )
            whole = reference.resampled_table(
                cube.signals[:, layer, :rank],
                cube.targets,
                [1] * len(cube.targets),
                q=threshold,
                p=p,
                sign=sign,
                classes=cube.target_classes,
            )
            hierarchy = hierarchy_of(whole)
            judged = bootstrap(of_direction, p, resamples, hierarchy)
            expected = brute_force(
                cube, layer, hierarchy, q=threshold, p=p, sign=sign, resamples=resamples
            )
            present = np.isin(np.arange(cube.target_classes), cube.targets)
            assert np.isnan(judged.incidence[~present]).all()
            # Shares are stored as float32.
            np.testing.assert_allclose(judged.incidence[present], expected[0][present], rtol=1e-6)
            np.testing.assert_allclose(judged.together, expected[1], rtol=1e-6)
            np.testing.assert_allclose(judged.inclusion, expected[2], rtol=1e-6)


@given(st.integers(0, 20), st.integers(1, 30), st.integers(0, 5))
def test_every_resample_has_as_many_images_and_the_draws_are_determined(images, resamples, c):
    weights = resample_weights(images, resamples, c)
    assert weights.shape == (resamples, images)
    assert (weights.sum(axis=1) == images).all()
    np.testing.assert_array_equal(weights, resample_weights(images, resamples, c))
    # More resamples go on where fewer ended.
    np.testing.assert_array_equal(weights, resample_weights(images, resamples + 5, c)[:resamples])


def test_with_q_fixed_the_share_tends_to_the_binomial_tail():
    # Of 20 images, 12 exceed q: a resample's count is binomial, so the tail is known.
    signals = np.where(np.arange(20) < 12, 1, -1).astype(np.float32)[:, None]
    found = indicators(lambda: [(signals, np.zeros(20, dtype=np.int64))], {"positive": 0.0}, 1)
    none = Hierarchy((), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    share = bootstrap(found, 50, 20_000, none).incidence.item()
    # Five standard errors of a share over 20,000 resamples.
    assert share == pytest.approx(stats.binom.sf(9, 20, 0.6), abs=5 * 0.5 / 20_000**0.5)


def test_images_that_could_not_be_read_count_nowhere():
    signals = np.array([[1.0, 1.0], [np.nan, np.nan], [1.0, -1.0]], dtype=np.float32)
    parts = [(signals, np.array([0, -1, 0]))]
    found = indicators(lambda: parts, {"positive": 0.0, "negative": 0.0}, 2)
    # Both directions of a vector stand together.
    assert found.of_class(0).tolist() == [[1, 0, 1, 0], [1, 0, 0, 1]]
    assert found.of_class(1).shape == (0, 4)
    assert sample_thresholds(lambda: parts, [0.5], [1, 9])[0, 0, 1] == 1
    nothing = [(np.full((2, 3), np.nan, dtype=np.float32), np.array([-1, -1]))]
    positive = indicators(lambda: nothing, {"positive": 0.0}, 1)
    none = Hierarchy((), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert np.isnan(bootstrap(positive, 50, 3, none).incidence).all()


def test_one_image_a_class_never_changes():
    signals = np.array([[1.0, -1.0], [1.0, 1.0]], dtype=np.float32)
    parts = [(signals, np.array([0, 1]))]
    positive = indicators(lambda: parts, {"positive": 0.0}, 2)
    hierarchy = Hierarchy((np.array([0]), np.array([1])), np.array([0]), np.array([1]))
    judged = bootstrap(positive, 100, 10, hierarchy)
    assert judged.incidence.tolist() == [[1, 0], [1, 1]]
    assert judged.together.tolist() == [1, 1]
    assert judged.inclusion.tolist() == [1]


@settings(max_examples=40)
@given(cubes(), LEVELS)
def test_a_sample_of_all_images_has_the_thresholds_of_all(cube, levels):
    for layer, rank in enumerate(cube.ranks):
        found = sample_thresholds(lambda at=layer: layer_parts(cube, at), levels, [1, 12])
        for direction, sign in enumerate((1, -1)):
            for number, level in enumerate(levels):
                q = reference.threshold(cube.signals, layer, rank, level, sign)
                assert found[direction, number, 1] == q
    # Of one image a class, the quantile lies between signals of images of different classes.
    assert np.isfinite(found).all()


def test_a_sample_takes_so_many_images_of_each_class_whatever_the_blocks():
    # Image k has signal k throughout, so the greatest of a sample tells which images it drew.
    signals = np.repeat(np.arange(30, dtype=np.float32)[:, None], 2, axis=1)
    target = np.arange(30) % 3
    whole = sample_thresholds(lambda: [(signals, target)], [0.5], [4])
    cut = sample_thresholds(
        lambda: [(signals[i : i + 7], target[i : i + 7]) for i in range(0, 30, 7)], [0.5], [4]
    )
    np.testing.assert_array_equal(whole, cut)
    # Samples are nested, and different sizes differ.
    several = sample_thresholds(lambda: [(signals, target)], [0.01], [1, 4, 10])[1, 0]
    assert several[2] == np.quantile(-signals, 0.01)
    assert list(several) == sorted(several, reverse=True)


def test_no_sizes_no_thresholds():
    parts = [(np.ones((2, 3), dtype=np.float32), np.array([0, 1]))]
    assert sample_thresholds(lambda: parts, [0.5, 0.9], []).shape == (2, 2, 0)


@pytest.mark.parametrize(("images", "vectors"), [(200, 10), (5, 300)])
def test_the_memory_asked_for_is_that_which_is_taken(images, vectors):
    resamples = 20_000
    signals = np.random.default_rng(0).normal(size=(images, vectors)).astype(np.float32)
    found = indicators(lambda: [(signals, np.zeros(images, dtype=np.int64))], {"positive": 0.0}, 1)
    nothing = np.empty(0, dtype=np.int64)
    tracemalloc.start()
    try:
        bootstrap(found, 75.0, resamples, Hierarchy((), nothing, nothing))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The estimate leaves out what does not grow with resamples, and what is held a moment longer.
    assert 0.5 < bootstrap_bytes(resamples, images, vectors) / peak < 2


def test_resamples_that_no_memory_holds_are_refused_before_work():
    prepare(tiny_run(significance={"resamples": 1000}))
    with pytest.raises(RunError, match=r"significance\.resamples: 1000000000 resamples of 10 ima"):
        prepare(tiny_run(significance={"resamples": 10**9}))
    assert bootstrap_bytes(10**9, 10, 7) > psutil.virtual_memory().total
