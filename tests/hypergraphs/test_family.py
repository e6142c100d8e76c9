from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_cubes import significance_of
from strategies import LEVELS, cubes, incidence_tables

from ddp_tasks.hypergraphs import sizes as hierarchy_depth
from ddp_tasks.hypergraphs.family import Family, family_dataset, why_empty
from ddp_tasks.hypergraphs.semantic_hierarchy import semantic_hierarchy
from ddp_tasks.hypergraphs.sizes import distinct_sets, inclusions, sizes
from ddp_tasks.queries.slices import slice_findings
from flows.texts.significance import hypergraph_lines
from schemas.parameters import RunError
from schemas.variables import validate

PERCENTAGES = (20.0, 50.0, 75.0, 100.0)


def sets_of(table):
    """The sets of classes of a table's equivalence classes, by slow sets."""
    names = [str(c) for c in range(len(table))]
    of = reference.memberships(reference.hypergraph(table, names))
    return sorted(set(of.values()), key=sorted)


@given(incidence_tables())
def test_sizes_are_those_of_the_sets(table):
    hyperedges = reference.hypergraph(table, [str(c) for c in range(len(table))])
    found, sets = sizes(table), sets_of(table)
    assert found.nodes == len(set().union(*hyperedges.values()))
    assert found.hyperedges == len(hyperedges)
    assert found.incidences == sum(map(len, hyperedges.values()))
    assert found.equivalence_classes == len(reference.equivalence_classes(hyperedges))
    assert found.depth == reference.superset_chain(sets)


@given(incidence_tables(), st.integers(1, 3), st.integers(1, 90))
def test_inclusions_are_the_strict_order_whatever_the_blocks(table, block, empty):
    # Empty classes besides: more than one word of bits, and words without a bit.
    wide = np.concatenate([table, np.zeros((empty, table.shape[1]), dtype=bool), table])
    sets = distinct_sets(wide)
    before, hierarchy_depth._BLOCK = hierarchy_depth._BLOCK, block
    try:
        general, specific = inclusions(sets)
    finally:
        hierarchy_depth._BLOCK = before
    as_sets = [frozenset(str(c) for c in np.flatnonzero(row)) for row in sets]
    found = list(zip(general.tolist(), specific.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == reference.strict_order(as_sets)


def test_a_long_chain_and_more_sets_than_the_depth_is_computed_for(monkeypatch):
    nested = np.tril(np.ones((130, 130), dtype=bool))
    assert sizes(nested).depth == 130
    monkeypatch.setattr(hierarchy_depth, "MOST_FOR_DEPTH", 129)
    assert sizes(nested).depth == -1
    assert sizes(nested).equivalence_classes == 130


@settings(max_examples=25)
@given(cubes(), LEVELS, st.sampled_from(PERCENTAGES))
def test_slices_and_highest_levels_equal_the_loops_over_images(cube, levels, p):
    significance = significance_of(cube, levels)
    for layer, rank in enumerate(cube.ranks):
        family = Family.of(significance, f"layer{layer}")
        for direction, sign in (("positive", 1), ("negative", -1)):
            counts = np.zeros((len(levels), cube.target_classes, rank), dtype=int)
            for number, level in enumerate(levels):
                q = reference.threshold(cube.signals, layer, rank, level, sign)
                found = family.at(level, p, (direction,))
                assert found.thresholds == (q,)
                for c, i in np.ndindex(cube.target_classes, rank):
                    counts[number, c, i] = reference.significant_images(
                        cube.signals, cube.targets, layer, i, target_class=c, q=q, sign=sign
                    )
                    assert found.significant[c, i] == reference.significant_for_class(
                        counts[number, c, i], found.images[c], p
                    )
            highest_level = family.highest_level(p, (direction,))
            for c, i in np.ndindex(cube.target_classes, rank):
                images = int((cube.targets == c).sum())
                expected = reference.greatest_level(counts[:, c, i], levels, images, p)
                np.testing.assert_equal(highest_level[c, i], expected)


@settings(max_examples=10)
@given(cubes(), LEVELS)
def test_the_map_holds_every_slice_and_raising_q_or_p_never_adds(cube, levels):
    significance = significance_of(cube, levels)
    family = validate(family_dataset(significance, PERCENTAGES), "family")
    for layer in family["layer"].to_numpy():
        of_layer = Family.of(significance, layer)
        for direction in ("positive", "negative"):
            for level in levels:
                place = {"layer": layer, "quantile": level, "direction": direction}
                for p in PERCENTAGES:
                    at = of_layer.at(level, p, (direction,))
                    stored = family.sel(place).sel(percentage=p)
                    for name, value in vars(sizes(at.significant)).items():
                        assert stored[name] == value
                    hierarchy = semantic_hierarchy(at.significant)
                    assert len(hierarchy) == stored["equivalence_classes"]
                    assert hierarchy.depth == stored["depth"]
                higher = [of_layer.at(level, p, (direction,)).significant for p in PERCENTAGES]
                assert not any((more & ~less).any() for less, more in pairwise(higher))
            for p in PERCENTAGES:
                higher = [of_layer.at(level, p, (direction,)).significant for level in levels]
                assert not any((more & ~less).any() for less, more in pairwise(higher))


def _constant(signal, classes=2, targets=(0, 0, 1)):
    signals = np.full((len(targets), 1, 3), signal, dtype=np.float32)

    class Cube:
        ranks, target_classes = (3,), classes

        @staticmethod
        def parts():
            return [(signals, np.array(targets))]

    return significance_of(Cube, (0.5, 0.9))


def test_a_constant_signal_leaves_nothing_and_says_so():
    found = Family.of(_constant(1.5), "layer0").at(0.9, 50)
    assert set(vars(sizes(found.significant)).values()) == {0}
    assert why_empty(found).startswith("No signal exceeds q = 1.5, the layer's quantile at")


def test_an_empty_hypergraph_is_told_without_a_table():
    at = Family.of(_constant(1.5), "layer0").at(0.9, 50)
    findings = slice_findings(at, np.ones(3), "target_class")
    first, second = hypergraph_lines(findings).splitlines()
    assert first.endswith("(q = 1.5, -1.5), p = 50 %: the hypergraph is empty")
    assert second == why_empty(at)


def test_a_p_that_leaves_nothing_says_what_to_change():
    signals = np.array([[0, 3], [3, 0], [1, 1], [3, 1]], dtype=np.float32)[:, None]

    class Cube:
        ranks, target_classes = (2,), 1

        @staticmethod
        def parts():
            return [(signals, np.zeros(4, dtype=np.int64))]

    family = Family.of(significance_of(Cube, (0.5,)), "layer0")
    assert why_empty(family.at(0.5, 50, ("positive",))) == ""
    assert why_empty(family.at(0.5, 75, ("positive",))) == (
        "No singular vector exceeds q = 1, the layer's quantile at level 0.5, in at least 75 % of "
        "any class. The greatest share is 50 %, of class 0 for v0⁺: lower p to that, or the "
        "quantile level."
    )


def test_a_class_without_images_and_one_image_a_class():
    found = Family.of(_constant(0.0, classes=3, targets=(0, 1)), "layer0").at(0.5, 100)
    assert found.images.tolist() == [1, 1, 0]
    assert not found.significant.any()
    assert np.isnan(found.fraction[2]).all()
    signals = np.array([[0], [2]], dtype=np.float32)[:, None]

    class Cube:
        ranks, target_classes = (1,), 3

        @staticmethod
        def parts():
            return [(signals, np.array([0, 1]))]

    one = Family.of(significance_of(Cube, (0.5,)), "layer0").at(0.5, 100, ("positive",))
    assert one.significant.tolist() == [[False], [True], [False]]


def test_what_is_not_stored_is_refused():
    family = Family.of(_constant(0.0), "layer0")
    with pytest.raises(RunError, match=r"quantile level 0.7 is not stored; stored: 0.5, 0.9"):
        family.at(0.7, 50)
    with pytest.raises(RunError, match="percentage: 0 is refused; above 0 and at most 100"):
        family.at(0.5, 0)
    with pytest.raises(RunError, match=r"there is no layer 'layer' \(did you mean 'layer0'\?\)"):
        Family.of(_constant(0.0), "layer")
