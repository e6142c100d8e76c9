"""What the figures of compared networks hold."""

import numpy as np
import pytest

from ddp_tasks.figures import comparison_figures as figures
from ddp_tasks.hypergraphs.survival import set_counts
from ddp_tasks.significance.vector_matching import Matching


def elements(overlay, group):
    return [e for e in overlay if e.group == group]


def test_a_matrix_has_a_cell_for_each_pair_of_layers_and_names_its_axes():
    cka = np.array([[0.9, 0.1, -0.02], [np.nan, 0.5, 1.0]])
    drawn = figures.cka_matrix(cka, (["a", "b"], ["x", "y", "z"]), ("one", "two"))
    (cells,) = elements(drawn, "Cells")
    np.testing.assert_array_equal(cells.dimension_values("cka"), cka.ravel())
    assert cells.dimension_values("shade").tolist() == [0.9, 0.1, 0, 0, 0.5, 1]
    assert cells.dimension_values("first").tolist() == ["a"] * 3 + ["b"] * 3
    (texts,) = elements(drawn, "Values")
    assert texts.dimension_values("text").tolist() == ["0.90", "0.10", "-0.02", "", "0.50", "1.00"]
    options = drawn.opts.get("plot").kwargs
    assert options["xticks"] == [(0, "x"), (1, "y"), (2, "z")]
    assert (options["xlabel"], options["ylabel"]) == ("two", "one")


def test_a_large_matrix_has_no_numbers_and_fewer_names():
    names = [f"layer{i}" for i in range(60)]
    drawn = figures.cka_matrix(np.zeros((60, 60)), (names, names), ("a", "b"))
    assert not elements(drawn, "Values")
    assert len(drawn.opts.get("plot").kwargs["xticks"]) < 60


def matching(agreement, seed):
    pairs = len(agreement)
    chance = np.random.default_rng(seed).random((3, 5, pairs))
    number = np.arange(pairs)
    return Matching(number, number, np.array(agreement), np.ones(pairs, dtype=int), *chance)


def test_correlations_descend_and_are_means_over_pairs_of_networks():
    both = [matching([0.2, 0.9, 0.5], 0), matching([0.7, 0.1, 0.4], 1)]
    drawn = figures.matched_correlations(both, "fc1")
    lines = {e.label: e.dimension_values("correlation") for e in elements(drawn, "Line")}
    assert set(lines) == set(figures.LINES.values())
    np.testing.assert_allclose(lines["singular vectors"], [0.8, 0.45, 0.15])
    permuted = np.concatenate([of.permuted for of in both]).mean(axis=0)
    np.testing.assert_allclose(lines["images permuted"], permuted)
    (spread,) = elements(drawn, "Range")
    np.testing.assert_allclose(spread.dimension_values("low"), [0.7, 0.4, 0.1])


@pytest.mark.parametrize("least", [1, 2])
def test_dots_count_sets_and_bars_the_draws(least):
    tables = [np.eye(3, dtype=bool), np.eye(3, 2, dtype=bool)]
    turned, varied = [[np.eye(3, 1, dtype=bool)] * 2] * 8, [[np.eye(3, 2, dtype=bool)] * 2] * 8
    counts = set_counts(tables, turned, varied)
    drawn = figures.surviving_sets({"fc1": counts, "fc2": counts}, least)
    (own,) = elements(drawn, "Own")
    assert own.dimension_values("sets").tolist() == [{1: 3, 2: 2}[least]] * 2
    _, bases, varied = elements(drawn, "Mean")
    assert (bases.label, varied.label) == ("random bases", "variances kept")
    assert bases.dimension_values("sets").tolist() == [1, 1]
    assert varied.dimension_values("sets").tolist() == [2, 2]
