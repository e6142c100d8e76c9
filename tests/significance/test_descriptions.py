"""Descriptions of vectors: areas by counting pairs, a planted set, and labels that mean nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from ddp_tasks.significance.concepts import class_concepts, column_concepts, joined
from ddp_tasks.significance.confidence_intervals import false_discovery_rates
from ddp_tasks.significance.descriptions import (
    area_interval,
    best_descriptions,
    chance_of_area,
    concept_aurocs,
)


def counted_area(signal, member, known):
    """Share of pairs, one image in and one out of the set, that the signal puts in order."""
    inside, outside = signal[member & known], signal[~member & known]
    won = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    return won / (len(inside) * len(outside))


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_areas_are_those_of_counted_pairs(seed, steps):
    rng = np.random.default_rng(seed)
    # Few steps give many equal signals.
    signals = (rng.integers(0, 2 + steps, (30, 3)) / steps).astype(np.float32)
    target = np.arange(30) % 3
    flags = pd.Series([None, True, False] * 10).sample(frac=1, random_state=seed)
    concepts = joined(
        [
            class_concepts(target, ["a", "b", "c"], {}),
            column_concepts("x", flags.reset_index(drop=True), target >= 0),
        ]
    )
    areas = concept_aurocs(signals, concepts)
    for c in range(len(concepts)):
        for v in range(3):
            expected = counted_area(signals[:, v], concepts.member[c], concepts.known[c])
            assert areas[c, v] == pytest.approx(expected, abs=1e-12)


def planted(rng, strength=2.0, images=400, vectors=6):
    """Signals of noise in which class 2 is high along v1 and class 0 low along v3."""
    target = np.arange(images) % 5
    signals = rng.normal(size=(images, vectors)).astype(np.float32)
    signals[target == 2, 1] += strength
    signals[target == 0, 3] -= strength
    choosing = rng.permutation(images) % 2 == 0
    return signals, target, choosing


def names(concepts, found):
    return [[concepts.names[c] for c in row] for row in found.concept.tolist()]


def test_a_planted_class_is_found_in_the_direction_in_which_it_is():
    signals, target, choosing = planted(np.random.default_rng(0))
    concepts = class_concepts(target, list("abcde"), {}).usable(choosing)
    found = best_descriptions(signals, concepts, choosing)
    described = names(concepts, found)
    assert described[1][0] == "c"
    assert described[3][1] == "a"
    for vector, side in ((1, 0), (3, 1)):
        # Two normal distributions two deviations apart: the area is the normal one of 2 / √2.
        assert found.estimation[vector, side] == pytest.approx(0.921, abs=0.04)
    # All else was chosen of noise, which other images do not repeat.
    others = [(v, s) for v in (0, 2, 4, 5) for s in (0, 1)]
    assert max(abs(found.estimation[at] - 0.5) for at in others) < 0.12
    assert min(found.selection[at] for at in others) > 0.5


def test_images_that_judge_choose_nothing():
    signals, target, choosing = planted(np.random.default_rng(1))
    concepts = class_concepts(target, list("abcde"), {})
    before = best_descriptions(signals, concepts, choosing)
    changed = signals.copy()
    changed[~choosing] = -changed[~choosing]
    after = best_descriptions(changed, concepts, choosing)
    np.testing.assert_array_equal(before.concept, after.concept)
    np.testing.assert_array_equal(before.selection, after.selection)
    np.testing.assert_allclose(before.estimation, 1 - after.estimation, atol=1e-12)


def test_permuted_labels_describe_nothing():
    discovered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        signals, target, choosing = planted(rng, strength=4.0)
        concepts = class_concepts(rng.permutation(target), list("abcde"), {}).usable(choosing)
        found = best_descriptions(signals, concepts, choosing)
        judged = concepts.of_images(~choosing)
        p = []
        for at in np.ndindex(found.concept.shape):
            inside = int(judged.member[found.concept[at]].sum())
            p.append(chance_of_area(found.estimation[at], inside, int((~choosing).sum()) - inside))
        discovered += bool((false_discovery_rates(np.array(p)) <= 0.05).any())
    # At most one in twenty families has a discovery: 7 or more of 60 have a chance of 2 %.
    assert discovered <= 6


def test_the_chance_of_an_area_is_that_of_the_rank_sum():
    rng = np.random.default_rng(3)
    signal, member = rng.normal(size=80), np.arange(80) < 25
    signal[member] += 0.4
    statistic, p = mannwhitneyu(
        signal[member], signal[~member], alternative="greater", method="asymptotic",
        use_continuity=False,
    )  # fmt: skip
    assert chance_of_area(statistic / (25 * 55), 25, 55) == pytest.approx(p, rel=1e-9)


def test_intervals_hold_the_true_area_as_often_as_they_say():
    rng, true, held = np.random.default_rng(4), 0.7602, 0
    member = np.arange(80) < 20
    for _ in range(400):
        signal = rng.normal(size=80)
        signal[member] += 1.0  # the normal distribution at 1 / √2
        interval = area_interval(signal, member, 0.9)
        held += interval.low <= true <= interval.high
    assert held / 400 == pytest.approx(0.9, abs=0.05)
