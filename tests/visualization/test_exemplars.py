import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import cubes

from ddp_tasks.visualization.exemplars import class_exemplars, strongest_images


def test_strongest_images_by_hand():
    # One vector, signals 1 3 3 2: images 1 and 2 tie, the earlier comes first.
    signals = np.array([1, 3, 3, 2], dtype=np.float32).reshape(4, 1, 1)
    targets = np.zeros(4, dtype=np.int64)
    found = strongest_images(lambda: [(signals[:2], targets[:2]), (signals[2:], targets[2:])], 3)
    assert found.image.tolist() == [[[1, 2, 3]]]
    assert found.signal.tolist() == [[[3, 3, 2]]]


@given(cubes(), st.integers(1, 14))
def test_strongest_images_are_a_stable_sort_for_any_split_into_parts(cube, places):
    found = strongest_images(cube.parts, places)
    kept = min(places, len(cube.targets))
    assert found.image.shape == (len(cube.ranks), max(cube.ranks), kept)
    for layer, i in np.ndindex(found.image.shape[:2]):
        column = cube.signals[:, layer, i]
        image, signal = found.image[layer, i], found.signal[layer, i]
        if i < cube.ranks[layer]:
            expected = reference.strongest(column.tolist(), places)
            assert image.tolist() == expected
            np.testing.assert_array_equal(signal, column[expected])
        else:
            assert (image == -1).all()
            assert np.isnan(signal).all()


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images"):
        strongest_images(lambda: [], 3)


def test_class_exemplars_by_hand():
    # Sets {0} and {0, 1}; image 0 of class 0 and images 1, 2 of class 2; class 1 has none.
    # Sums: over {0}: 5, 1, 2; over {0, 1}: 6, 5, 2.
    signals = np.array([[5, 1], [1, 4], [2, 0]], dtype=np.float32)
    sets = np.array([[True, False], [True, True]])
    found = class_exemplars(lambda: [(signals, np.array([0, 2, 2]))], sets, 3)
    assert found.image.tolist() == [[0, -1, 2], [0, -1, 1]]
    np.testing.assert_array_equal(found.signal, [[5, np.nan, 2], [6, np.nan, 5]])


def test_no_unreadable_image_is_an_exemplar_of_its_class():
    signals = np.array([[9], [1], [2]], dtype=np.float32)
    sets = np.array([[True], [True]])
    found = class_exemplars(lambda: [(signals, np.array([-1, 0, 1]))], sets, 2)
    assert found.image.tolist() == [[1, 2], [1, 2]]


@given(cubes(), st.data())
def test_class_exemplars_are_the_first_strongest_of_each_class(cube, data):
    # One layer, padding included: halves sum exactly, so ties stay ties in any order.
    layer, vectors = 0, cube.signals.shape[2]
    sets = data.draw(hnp.arrays(np.bool_, (data.draw(st.integers(1, 3)), vectors)))

    def parts():
        return [(signals[:, layer], targets) for signals, targets in cube.parts()]

    found = class_exemplars(parts, sets, cube.target_classes)
    for row, c in np.ndindex(found.image.shape):
        summed = [
            sum(float(x) for x, inside in zip(image, sets[row], strict=True) if inside)
            for image in np.nan_to_num(cube.signals[:, layer], nan=0)
        ]
        members = [i for i, target in enumerate(cube.targets) if target == c]
        if members:
            best = max(members, key=lambda i: (summed[i], -i))
            assert found.image[row, c] == best
            assert found.signal[row, c] == summed[best]
        else:
            assert found.image[row, c] == -1
            assert np.isnan(found.signal[row, c])
