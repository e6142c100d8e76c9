import numpy as np

from ddp_tasks.interventions.removal_sets import ClassSets, judging_images, own_and_others


def test_equal_sets_of_a_grid_are_one():
    significant = np.zeros((2, 3, 4), dtype=bool)
    significant[0, 0, [1, 3]] = True
    significant[0, 1, 3] = True
    significant[1, 0, [1, 3]] = True
    sets = ClassSets.of(significant)
    assert sets.members == ((1, 3), (3,))
    np.testing.assert_array_equal(sets.number, [[0, 1, -1], [0, -1, -1]])


def test_images_of_a_class_are_drawn_whatever_other_classes_hold():
    target = np.array([0, 1, 0, -1, 1, 0, 0, 2])
    drawn = judging_images(target, 2, seed=5)
    assert [len(rows) for rows in drawn] == [2, 2, 1]
    for c, rows in enumerate(drawn):
        assert (target[rows] == c).all()
    other = judging_images(np.where(target == 1, -1, target), 2, seed=5)
    np.testing.assert_array_equal(other[0], drawn[0])
    assert len(other[1]) == 0


def test_a_class_is_judged_beside_as_many_images_of_each_other():
    drawn = tuple(np.arange(10) + 10 * c for c in range(4))
    rows = own_and_others(drawn, 2, 6)
    assert rows.tolist() == [0, 1, 10, 11, *range(20, 30), 30, 31]
    # One image of each class at least.
    assert len(own_and_others(drawn, 0, 1)) == 13
