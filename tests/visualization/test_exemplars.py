import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import HALVES, cubes

from ddp_tasks.visualization.exemplars import (
    RunningExemplars,
    exemplars_of_sets,
    layer_exemplars,
)

NAN = np.nan


def test_exemplars_by_hand():
    # One vector, signals 1 3 3 2 of classes 0 1 0 0: images 1 and 2 tie, the earlier comes first.
    signals = np.array([[1], [3], [3], [2]], dtype=np.float32)
    targets = np.array([0, 1, 0, 0])
    parts = [(signals[:2], targets[:2]), (signals[2:], targets[2:])]
    overall, of_class = layer_exemplars(lambda: parts, 3, 3)
    assert overall.image.tolist() == [[[1, 2, 3]], [[0, 3, 1]]]
    assert overall.signal.tolist() == [[[3, 3, 2]], [[1, 2, 3]]]
    assert of_class.image.tolist() == [[[2, 1, -1]], [[0, 1, -1]]]
    np.testing.assert_array_equal(of_class.signal, [[[3, 3, NAN]], [[1, 3, NAN]]])


def test_a_zero_is_a_zero_whatever_its_sign():
    signals = np.array([[0.0], [-0.0], [-0.0], [0.0]], dtype=np.float32)
    overall, of_class = layer_exemplars(lambda: [(signals, np.zeros(4, dtype=int))], 4, 1)
    assert overall.image.tolist() == [[[0, 1, 2, 3]]] * 2
    assert of_class.image.tolist() == [[[0]]] * 2


def parts_of(cube, layer):
    return lambda: [(signals[:, layer], targets) for signals, targets in cube.parts()]


@given(cubes(unread=True), st.integers(1, 14))
def test_exemplars_are_a_stable_sort_for_any_split_into_parts(cube, places):
    for layer, rank in enumerate(cube.ranks):
        found = layer_exemplars(parts_of(cube, layer), places, cube.target_classes)
        check(found, cube.signals[:, layer], cube.targets, places, cube.target_classes)
        assert (found.overall.image[:, rank:] == -1).all()


def check(found, signals, targets, places, classes):
    shape = (2, signals.shape[1])
    assert found.overall.image.shape == (*shape, places)
    assert found.of_class.image.shape == (*shape, classes)
    for d, sign in enumerate((1, -1)):
        for i, column in enumerate(signals.T):
            expected = reference.strongest((sign * column).tolist(), places)
            image, signal = found.overall.image[d, i], found.overall.signal[d, i]
            assert image.tolist() == expected + [-1] * (places - len(expected))
            np.testing.assert_array_equal(signal[: len(expected)], column[expected])
            for c in range(classes):
                members = np.where(targets == c, sign * column, NAN)
                first = reference.strongest(members.tolist(), 1)
                assert found.of_class.image[d, i, c] == (first[0] if first else -1)
                expected_signal = column[first[0]] if first else NAN
                np.testing.assert_array_equal(found.of_class.signal[d, i, c], expected_signal)


@pytest.mark.parametrize("scale", [0, 1])
def test_exemplars_of_many_images_are_a_stable_sort(scale):
    # More than are looked at together at first; rounded, so that many tie.
    random = np.random.default_rng(scale)
    signals = random.normal(size=(500, 3)).round(scale).astype(np.float32)
    targets = random.integers(0, 4, 500)
    parts = [(signals[i : i + 77], targets[i : i + 77]) for i in range(0, 500, 77)]
    check(layer_exemplars(lambda: parts, 9, 5), signals, targets, 9, 5)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images"):
        layer_exemplars(lambda: [], 3, 1)


def test_no_vectors_have_no_exemplars():
    running = RunningExemplars(0, 3, 2)
    running.add(np.zeros((5, 0), dtype=np.float32), np.zeros(5, dtype=int), 0)
    assert running.found().overall.image.shape == (2, 0, 3)


def test_exemplars_of_sets_by_hand():
    # Sets {0} and {0, 1}; image 0 of class 0 and images 1, 2 of class 2; class 1 has none.
    # Sums: over {0}: 5, 1, 2; over {0, 1}: 6, 5, 2.
    signals = np.array([[5, 1], [1, 4], [2, 0]], dtype=np.float32)
    sets = [{0: 1}, {0: 1, 1: 1}]
    overall, of_class = exemplars_of_sets(lambda: [(signals, np.array([0, 2, 2]))], sets, 2, 3)
    assert overall.image.tolist() == [[[0, 2], [0, 1]], [[1, 2], [2, 1]]]
    assert of_class.image.tolist() == [[[0, -1, 2], [0, -1, 1]], [[0, -1, 1], [0, -1, 2]]]
    np.testing.assert_array_equal(of_class.signal[0], [[5, NAN, 2], [6, NAN, 5]])


def test_no_unreadable_image_is_an_exemplar():
    signals = np.array([[9], [1], [2]], dtype=np.float32)
    sets = [{0: 1}, {0: 1}]
    overall, of_class = exemplars_of_sets(lambda: [(signals, np.array([-1, 0, 1]))], sets, 2, 2)
    assert of_class.image.tolist() == [[[1, 2]] * 2] * 2
    assert overall.image.tolist() == [[[2, 1]] * 2, [[1, 2]] * 2]


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=HALVES),
    st.data(),
)
def test_exemplars_of_sets_are_those_of_their_sums(signals, data):
    # Halves sum exactly, so ties stay ties in any order.
    signs = st.dictionaries(st.integers(0, signals.shape[1] - 1), st.sampled_from([1, -1]))
    sets = data.draw(st.lists(signs, min_size=1, max_size=3))
    targets = data.draw(hnp.arrays(np.int64, len(signals), elements=st.integers(0, 2)))
    cut = data.draw(st.integers(0, len(signals)))
    parts = [(signals[:cut], targets[:cut]), (signals[cut:], targets[cut:])]
    zeros = np.zeros(len(signals), dtype=np.float32)
    sums = np.stack([sum((s * signals[:, i] for i, s in one.items()), zeros) for one in sets], 1)
    check(exemplars_of_sets(lambda: parts, sets, 5, 3), sums, targets, 5, 3)
