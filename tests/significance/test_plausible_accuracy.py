"""Accuracies that a person is warned of, and those that are nothing to warn of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddp_tasks.significance.plausible_accuracy import Accuracy, measured_accuracy


def test_chance_is_the_agreement_of_answers_that_do_not_depend_on_the_labels():
    target = np.array([0, 0, 0, 1])
    predicted = np.array([0, 1, 0, -1])
    # P(answer 0) P(label 0) + P(answer 1) P(label 1) = 2/4 · 3/4 + 1/4 · 1/4.
    assert measured_accuracy(predicted, target, 2).chance == pytest.approx(7 / 16)
    assert measured_accuracy(predicted, target, 2).correct == 2


def test_images_of_one_class_are_compared_with_guessing_among_all_classes():
    target = np.zeros(40, dtype=np.int64)
    assert measured_accuracy(target, target, 10).chance == 0.1
    assert measured_accuracy(target, target, 10).implausible == ""
    wrong = measured_accuracy(target + 3, target, 10)
    assert wrong.implausible == "no better than chance (10.0%)"


@given(
    counts=st.lists(st.integers(20, 200), min_size=2, max_size=6),
    answer=st.integers(0, 5),
)
def test_one_answer_for_all_images_is_chance_however_many_images_a_class_has(counts, answer):
    target = np.repeat(np.arange(len(counts)), counts)
    predicted = np.full(len(target), answer % len(counts))
    measured = measured_accuracy(predicted, target, len(counts))
    assert measured.chance == pytest.approx(measured.correct / measured.images)
    assert measured.implausible.startswith("no better than chance")


@given(images=st.integers(1, 2000), classes=st.integers(2, 50))
def test_a_network_that_is_always_right_is_never_doubted(images, classes):
    target = np.arange(images) % classes
    assert measured_accuracy(target, target, classes, stated=100).warning() == ""


def test_a_rare_class_that_is_recognised_is_better_than_chance():
    # 97 % of 95 and 5 % is little more than always giving the common answer, but it is not that.
    target = np.repeat([0, 1], [950, 50])
    predicted = target.copy()
    predicted[[*range(15), *range(950, 965)]] ^= 1
    assert measured_accuracy(predicted, target, 2).implausible == ""


@pytest.mark.parametrize(
    ("correct", "images", "stated", "warned"),
    [
        (70, 100, None, False),
        (70, 100, 95, True),
        (90, 100, 94, False),  # within 5 points
        (26, 30, 95, False),  # 8 points lower, which so few images explain
        (2600, 3000, 95, True),
        (2, 4, 95, False),
        (8, 100, None, True),
        (8, 100, 10, True),
        (1, 8, None, False),  # too few to tell chance from 65 %
        (0, 16, None, True),
        (0, 0, 90, False),
    ],
)
def test_what_sampling_explains_is_no_reason_to_warn(correct, images, stated, warned):
    accuracy = Accuracy(correct, images, 0.1, stated)
    assert bool(accuracy.warning()) == warned


def test_the_warning_says_what_was_seen_and_what_to_check():
    text = Accuracy(700, 1000, 0.1, 93.62).warning("a sample of the run")
    assert "70.0 % of 1,000 images of a sample of the run" in text
    assert "far below the 93.62 % that model.accuracy states" in text
    assert "images.transform" in text
