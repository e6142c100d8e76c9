"""Descriptions beside those of random directions: what stands out, and what does not."""

import numpy as np
import pytest

from ddp_tasks.controls import described_directions
from ddp_tasks.controls.basis_measures import percentile
from ddp_tasks.controls.described_directions import (
    BASES,
    DIRECTIONS,
    MOST_DIRECTIONS,
    described_layer,
    percentile_among,
    share_at_or_above,
)
from ddp_tasks.significance.concepts import class_concepts
from ddp_tasks.significance.descriptions import concept_aurocs

VECTORS = 8


def outputs(seed, strength=0.0):
    """Signals whose class 1 is high along v2 alone; equal variances otherwise."""
    rng = np.random.default_rng(seed)
    target = np.arange(300) % 4
    signals = rng.normal(size=(300, VECTORS)).astype(np.float32)
    signals[target == 1, 2] += strength
    choosing = rng.permutation(300) % 2 == 0
    return signals, class_concepts(target, list("abcd"), {}).usable(choosing), choosing


def test_a_planted_vector_stands_above_random_directions():
    signals, concepts, choosing = outputs(0, strength=3.0)
    layer = described_layer("fc", signals, concepts, choosing, 0)
    above = percentile_among(layer.found.estimation, layer.random.ravel())
    assert above[2, 0] > 99.9
    # Of few that do as well more are drawn, or its p would be no smaller than one in a few.
    assert len(layer.random) == MOST_DIRECTIONS // VECTORS
    assert share_at_or_above(layer.found.estimation, layer.random.ravel())[2, 0] < 0.001
    assert concepts.names[layer.found.concept[2, 0]] == "b"


def test_a_layer_turned_at_random_does_not_stand_out():
    """Vectors that are random directions themselves are spread evenly among them."""
    shares = []
    for seed in range(12):
        signals, concepts, choosing = outputs(seed, strength=3.0)
        turn = np.linalg.qr(np.random.default_rng(100 + seed).normal(size=(VECTORS, VECTORS)))[0]
        turned = (signals @ turn).astype(np.float32)
        layer = described_layer("fc", turned, concepts, choosing, seed)
        p = share_at_or_above(layer.found.estimation, layer.random.ravel())
        shares.append((p <= 0.05).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.05)


def test_enough_directions_are_drawn_and_the_same_ones_again():
    signals, concepts, choosing = outputs(1)
    one, again = (described_layer("fc", signals, concepts, choosing, 5) for _ in range(2))
    other = described_layer("conv", signals, concepts, choosing, 5)
    assert one.random.shape == (DIRECTIONS // VECTORS, VECTORS, 2)
    assert one.varied.shape == one.random.shape
    np.testing.assert_array_equal(one.random, again.random)
    assert not np.array_equal(one.random, other.random)


def test_scores_of_random_directions_are_those_of_the_same_search():
    signals, concepts, choosing = outputs(2, strength=1.0)
    layer = described_layer("fc", signals, concepts, choosing, 0)
    drawn = described_directions.Drawn(0, 0, (), 0).random("fc", 0)
    basis = described_directions.haar_rotations(VECTORS, 1, drawn)[0]
    along = signals @ basis.astype(np.float32)
    chosen, judged = (
        concept_aurocs(along[part], concepts.of_images(part)) for part in (choosing, ~choosing)
    )
    best = chosen.argmax(axis=0)
    np.testing.assert_allclose(layer.random[0, :, 0], judged[best, np.arange(VECTORS)])
    worst = chosen.argmin(axis=0)
    np.testing.assert_allclose(layer.random[0, :, 1], 1 - judged[worst, np.arange(VECTORS)])


def test_wide_layers_draw_fewer_bases_and_one_vector_none():
    signals, concepts, choosing = outputs(3)
    single = described_layer("fc", signals[:, :1], concepts, choosing, 0)
    assert single.random.shape == single.varied.shape == (0, 1, 2)
    assert np.isnan(percentile_among(single.found.estimation, single.random.ravel())).all()
    assert np.isnan(share_at_or_above(single.found.estimation, single.random.ravel())).all()
    assert described_directions._draws((5000, 64), 60, 2, 0.0) == (BASES, MOST_DIRECTIONS // 64)
    assert described_directions._draws((5000, 4096), 60, 2, 2.5e-10 * 4096**3) == (2, 2)


def test_percentiles_are_those_of_the_other_controls():
    rng = np.random.default_rng(0)
    drawn, value = rng.integers(0, 6, 50) / 5, np.array([[0.0, 0.2, 0.41], [1.0, 2.0, -1.0]])
    expected = percentile(value, np.broadcast_to(drawn, (2, 3, 50)))
    np.testing.assert_allclose(percentile_among(value, drawn), expected)
    assert share_at_or_above(value, drawn)[1, 1] == 1 / 51
    assert share_at_or_above(value, drawn)[1, 2] == 1
