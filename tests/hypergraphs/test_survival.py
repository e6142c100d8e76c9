"""Which findings survive: by hand, and beside names that are permuted."""

import numpy as np
import pytest

from ddp_tasks.hypergraphs import survival


def table(*sets, classes=4):
    return np.array([[c in of for of in sets] for c in range(classes)], dtype=bool)


def test_sets_are_read_and_written_as_classes():
    sets = survival.class_sets(table({0, 2}, set(), {3}, {0, 2}))
    assert [survival.classes_of(of) for of in sets] == [[0, 2], [3], [0, 2]]
    wide = np.zeros((1000, 1), dtype=bool)
    wide[[0, 998]] = True
    assert survival.classes_of(survival.class_sets(wide)[0]) == [0, 998]


def test_the_share_that_survives_counts_nodes_of_both():
    a, b = (survival.class_sets(t) for t in (table({0}, {0}, {1, 2}), table({0}, {3})))
    assert survival.share_surviving(a, b) == pytest.approx(3 / 5)
    assert survival.share_surviving(a, a) == 1
    assert np.isnan(survival.share_surviving([], []))


def test_drift_of_hierarchies_counts_sets_and_edges():
    a = table({0, 1, 2}, {0, 1}, {2}, {3})
    b = table({0, 1, 2}, {0, 1}, {0}, {3})
    sets, edges = survival.hierarchy_drift(a, b)
    assert sets == pytest.approx(3 / 5)
    # a: 012-01, 012-2; b: 012-01, 01-0.
    assert edges == pytest.approx(1 / 3)
    assert survival.hierarchy_drift(a, a) == (1, 1)
    assert np.isnan(survival.hierarchy_drift(table(set()), table(set()))).all()


def test_incidences_kept_are_those_of_both_among_those_of_either():
    assert survival.incidences_kept(table({0, 1}, {2}), table({0}, {2, 3})) == pytest.approx(2 / 4)
    assert np.isnan(survival.incidences_kept(table(set()), table(set())))


def test_sets_are_counted_over_networks_the_most_stable_and_least_likely_first():
    tables = [
        table({0, 1}, {2}, {0, 1, 2, 3}),
        table({0, 1}, {3}, {0, 1, 2, 3}),
        table({0, 1}, {2}, {0, 1, 2, 3}),
    ]
    bases = [[table({2}), table({2}), table({2})]] * 40
    varied = [[table({3}), table({0, 1}), table({3})]] * 40
    counts = survival.set_counts(tables, bases, varied)
    assert [survival.classes_of(of) for of in counts.sets] == [[0, 1], [0, 1, 2, 3], [2], [3]]
    assert counts.found.sum(axis=1).tolist() == [3, 3, 2, 1]
    assert counts.stable.tolist() == [4, 3, 2]
    np.testing.assert_array_equal(counts.stable_turned, [[1, 1, 1]] * 40)
    np.testing.assert_allclose(counts.turned, [0, 0, 3, 0])
    np.testing.assert_array_equal(counts.stable_varied, [[2, 1, 0]] * 40)
    np.testing.assert_allclose(counts.varied, [1, 0, 0, 2])
    # A set of all classes keeps under any names; one of two pairs in six is {0, 1}.
    assert counts.renamed[1] == 3
    assert counts.renamed[0] == pytest.approx(3 / 6, abs=0.35)
    # Permuted names keep how many sets a network has.
    assert (counts.stable_renamed[:, 0] >= 3).all()


def test_networks_without_findings_or_draws_are_counted_too():
    counts = survival.set_counts([table(set()), table(set())], [], [])
    assert counts.sets == []
    assert counts.found.shape == (0, 2)
    assert counts.stable.tolist() == [0, 0]
    assert counts.stable_renamed.shape == (0, 2)
