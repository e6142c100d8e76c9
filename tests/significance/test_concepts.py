"""Sets of images by hand: of classes, of groups, of columns of attributes."""

import numpy as np
import pandas as pd
import pytest

from ddp_tasks.significance.concepts import (
    ATTRIBUTE,
    CLASS,
    GROUP,
    LEAST,
    MOST_OF_PAIRS,
    PAIR,
    class_concepts,
    column_concepts,
    group_concepts,
    joined,
)


def sets(concepts):
    return {
        name: np.flatnonzero(row).tolist()
        for name, row in zip(concepts.names, concepts.member, strict=True)
    }


def test_classes_groups_and_pairs_are_sets():
    target = np.array([0, 1, 3, 0, -1, 1])
    found = class_concepts(target, ["a", "b", "c", "d"], {"ab": ["a", "b"], "cd": ["c", "d"]})
    assert sets(found) == {
        "a": [0, 3], "b": [1, 5], "d": [2],
        "ab": [0, 1, 3, 5], "cd": [2],
        "a or b": [0, 1, 3, 5], "a or d": [0, 2, 3], "b or d": [1, 2, 5],
    }  # fmt: skip
    assert found.kinds == (CLASS,) * 3 + (GROUP,) * 2 + (PAIR,) * 3
    assert (found.known == (target >= 0)).all()


def test_labels_beside_the_class_make_groups_and_images_without_one_are_in_none():
    labels = ["n1", None, "n2", "n3", "n1"]
    found = group_concepts(labels, {"dogs": ["n1", "n2"], "birds": ["n9"]})
    assert sets(found) == {"dogs": [0, 2, 4], "birds": []}
    assert found.known.tolist() == [[True, False, True, True, True]] * 2
    assert set(found.kinds) == {GROUP}


def test_of_many_classes_two_make_no_set():
    names = [f"c{i}" for i in range(MOST_OF_PAIRS + 1)]
    target = np.arange(MOST_OF_PAIRS + 1)
    assert set(class_concepts(target, names, {}).kinds) == {CLASS}
    assert set(class_concepts(target[1:], names, {}).kinds) == {CLASS, PAIR}


def test_small_sets_and_repeated_ones_are_not_used():
    choosing = np.arange(4 * LEAST) % 2 == 0
    target = np.repeat([0, 1], 2 * LEAST)
    # "both" leaves out nobody, "also a" repeats a, and "b" is too small where it has one less.
    whole = class_concepts(target, ["a", "b"], {"also a": ["a"], "both": ["a", "b"]})
    assert whole.usable(choosing).names == ("a", "b")
    fewer = np.where(np.arange(len(target)) == len(target) - 1, -1, target)
    assert class_concepts(fewer, ["a", "b"], {}).usable(choosing).names == ()


@pytest.mark.parametrize(
    "values",
    [[True, False, None, True], [1, 0, np.nan, 1], pd.array([1, 0, None, 1], dtype="Int64")],
)
def test_yes_and_no_make_two_sets_and_what_is_not_known_is_in_neither(values):
    found = column_concepts("hairy", pd.Series(values), np.ones(4, dtype=bool))
    assert sets(found) == {"hairy": [0, 3], "not hairy": [1]}
    assert found.known.tolist() == [[True, True, False, True]] * 2
    assert found.kinds == (ATTRIBUTE,) * 2


def test_numbers_are_cut_at_the_quartiles_of_the_images_that_choose():
    values = pd.Series([0.0, 1, 2, 3, 4, 100, np.nan, -100])
    choosing = np.array([True] * 5 + [False] * 3)
    found = column_concepts("size", values, choosing)
    assert sets(found) == {
        "size ≥ 2": [2, 3, 4, 5],
        "size < 2": [0, 1, 7],
        "size ≥ 3": [3, 4, 5],
        "size < 1": [0, 7],
    }


def test_infinite_numbers_are_above_or_below_all_others():
    values = pd.Series([-np.inf, -np.inf, 0.0, 1.0, np.inf, np.inf])
    found = column_concepts("size", values, np.ones(6, dtype=bool))
    assert sets(found)["size ≥ 0"] == [2, 3, 4, 5]
    assert sets(found)["size ≥ inf"] == [4, 5]


def test_words_make_a_set_for_each_that_is_frequent_enough():
    words = ["red"] * 2 * LEAST + ["blue"] * 2 * LEAST + ["rare", None]
    found = column_concepts("colour", pd.Series(words), np.ones(len(words), dtype=bool))
    assert found.names == ("colour = blue", "colour = red")
    assert found.member.sum(axis=1).tolist() == [2 * LEAST] * 2
    assert not found.known[:, -1].any()


@pytest.mark.parametrize(
    ("values", "message"),
    [([3, 3, 3], "has the value 3 alone"), ([None, None], "has no value"),
     (["x", None], "has the value x alone"), ([[1], [2]], "holds lists in place of values")],
)  # fmt: skip
def test_a_column_of_one_value_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        column_concepts("c", pd.Series(values), np.ones(len(values), dtype=bool))


def test_joined_sets_keep_their_order():
    target = np.array([0, 1, 0])
    one = class_concepts(target, ["a", "b"], {})
    other = column_concepts("x", pd.Series([True, False, None]), target == 0)
    both = joined([one, other])
    assert both.names == (*one.names, "x", "not x")
    assert both.of_images(np.array([2, 0])).member[:, 1].tolist() == both.member[:, 0].tolist()
