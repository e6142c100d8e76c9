"""Hierarchies without a look at the signals: as the exact ones wherever a vector stands alone."""

import numpy as np
import pytest

from ddp_tasks.explorer.opened_runs import open_runs
from ddp_tasks.explorer.quick_hierarchy import quick_hierarchy
from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.weights.signed_vectors import SignedVectors


@pytest.mark.parametrize("groups", [None, {"sides": ["left", "right"], "both": ["both"]}])
def test_exemplars_are_those_of_the_first_vector(finished, groups):
    (run,) = open_runs([finished.report.parent])
    alone = 0
    for layer in run.layers:
        levels = run.levels(layer)
        table = levels.at(0.7, 50, classes=groups)
        nodes = SignedVectors(levels.vectors, table.directions)
        quick, exact = quick_hierarchy(run, nodes, table, groups), levels.hierarchy(table, groups)
        for name in ("singular_vectors", "target_classes", "covers", "level"):
            np.testing.assert_array_equal(quick[name], exact[name])
        assert ((quick["exemplar"] != "") == exact["target_classes"]).all()
        for number, members in enumerate(members_of(exact)):
            if len(members) == 1:
                alone += 1
                at = {"equivalence_class": number}
                assert (quick["exemplar"][at] == exact["exemplar"][at]).all()
    assert alone


def test_an_empty_hypergraph_has_an_empty_hierarchy(finished):
    (run,) = open_runs([finished.report.parent])
    levels = run.levels("fc2")
    table = levels.at(0.999, 100)
    assert not table.significant.any()
    nodes = SignedVectors(levels.vectors, table.directions)
    assert quick_hierarchy(run, nodes, table, None).sizes["equivalence_class"] == 0


def test_past_those_that_a_diagram_has_room_for_there_are_no_exemplars(finished, monkeypatch):
    (run,) = open_runs([finished.report.parent])
    levels = run.levels("conv1")
    table = levels.at(0.7, 50)
    nodes = SignedVectors(levels.vectors, table.directions)
    whole = quick_hierarchy(run, nodes, table, None)
    monkeypatch.setattr("ddp_tasks.explorer.quick_hierarchy.MOST_BOXES", 1)
    cut = quick_hierarchy(run, nodes, table, None)
    assert whole.sizes["equivalence_class"] > 1
    np.testing.assert_array_equal(cut["exemplar"][0], whole["exemplar"][0])
    assert (cut["exemplar"][1:] == "").all()
    assert np.isnan(cut["exemplar_signal"][1:]).all()
    np.testing.assert_array_equal(cut["covers"], whole["covers"])
