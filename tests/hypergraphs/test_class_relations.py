import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
import reference
import xarray as xr
from hypernetx.algorithms.metrics.s_centrality_measures import (
    s_betweenness_centrality,
    s_harmonic_centrality,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nodes import nodes
from strategies import incidence_tables

from ddp_tasks.hypergraphs import class_relations
from ddp_tasks.hypergraphs.class_relations import (
    Pairs,
    jaccard,
    relations_dataset,
    shared_vectors,
    walks,
)
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from schemas import validate

NAMES = ("a", "b", "c", "d", "e")


def _graph(table):
    values = np.arange(table.shape[1], 0, -1, dtype=float)
    return hypergraph(table, table.astype(np.float32), NAMES[: len(table)], nodes(values, "conv2"))


def _relations(table, empty=""):
    table = np.asarray(table, dtype=bool)
    return relations_dataset(table, _graph(table), NAMES[: len(table)], empty)


def test_by_hand():
    # a {0, 1, 2}, b {1, 2, 3}, c {3}, d none.
    found = validate(
        _relations([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]), "hypergraphs/conv2"
    )
    assert found["vectors"].to_numpy().tolist() == [3, 3, 1, 0]
    assert found["toplex"].to_numpy().tolist() == [True, True, False, False]
    assert found["shared"].to_numpy().tolist() == [
        [3, 2, 0, 0],
        [2, 3, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 0],
    ]
    similar = found["jaccard"].to_numpy()
    assert similar[0, 1] == 0.5
    assert similar[1, 2] == pytest.approx(1 / 3)
    assert (similar[0, 2], similar[0, 3]) == (0, 0)
    assert np.isnan(similar[3, 3])
    # a - b - c by steps that share one vector; by two, a - b alone, and c is too small.
    assert found["s"].to_numpy().tolist() == [1, 2]
    assert found["component"].to_numpy().tolist() == [[0, 0, 0, -1], [0, 0, -1, -1]]
    assert found["distance"].to_numpy()[0].tolist() == [
        [0, 1, 2, -1],
        [1, 0, 1, -1],
        [2, 1, 0, -1],
        [-1, -1, -1, -1],
    ]
    assert found["distance"].to_numpy()[1, 2].tolist() == [-1, -1, -1, -1]
    # b lies on the one shortest walk between a and c.
    np.testing.assert_array_equal(found["betweenness"].to_numpy()[0], [0, 1, 0, np.nan])
    np.testing.assert_array_equal(found["harmonic"].to_numpy()[0], [1.5, 2, 1.5, np.nan])


@given(incidence_tables())
def test_jaccard_is_that_of_sets(table):
    hyperedges = reference.hypergraph(table, NAMES)
    vectors = table.sum(axis=1)
    similar = jaccard(shared_vectors(table), vectors, vectors)
    for i, j in np.ndindex(similar.shape):
        one, other = (hyperedges.get(NAMES[c], set()) for c in (i, j))
        expected = len(one & other) / len(one | other) if one | other else np.nan
        np.testing.assert_equal(similar[i, j], expected)


@settings(max_examples=25)
@given(incidence_tables())
def test_toplexes_agree_with_hypernetx(table):
    assume(table.any())
    ours = {
        frozenset(np.flatnonzero(table[c]).tolist()) for c in np.flatnonzero(Pairs.of(table).toplex)
    }
    graph = _graph(table)
    assert ours == {frozenset(int(v) for v in graph.edges[edge]) for edge in graph.toplexes()}


@settings(max_examples=20)
@given(incidence_tables(), st.integers(1, 3))
def test_walks_agree_with_hypernetx(table, s):
    assume(table.any())
    names, graph = NAMES[: len(table)], _graph(table)
    found = walks(graph, s, names)
    betweenness = s_betweenness_centrality(graph, s=s)
    harmonic = s_harmonic_centrality(graph, s=s)
    components = [set(c) for c in graph.s_connected_components(s=s, return_singletons=True)]
    lines = graph.get_linegraph(s=s, edges=True)
    for i, name in enumerate(names):
        size = int(table[i].sum())
        if not size:
            assert np.isnan(found.betweenness[i])
            assert np.isnan(found.harmonic[i])
            assert found.component[i] == -1
            continue
        assert found.betweenness[i] == pytest.approx(betweenness[name])
        assert found.harmonic[i] == pytest.approx(harmonic[name])
        for j, other in enumerate(names):
            if size < s or not table[j].any() or not nx.has_path(lines, name, other):
                assert found.distance[i, j] == -1
            else:
                assert found.distance[i, j] == graph.edge_distance(name, other, s=s)
            if size >= s and table[j].sum() >= s:
                together = any({name, other} <= component for component in components)
                assert (found.component[i] == found.component[j]) == together
        assert (found.component[i] == -1) == (size < s)


def test_walks_are_followed_for_powers_of_two_while_classes_share_as_many():
    def widths(shared):
        table = np.zeros((2, 20), dtype=bool)
        table[0, :10] = True
        table[1, 10 - shared : 20 - shared] = True
        return Pairs.of(table).walk_widths()

    assert widths(9) == (1, 2, 4, 8)
    assert widths(8) == (1, 2, 4, 8)
    assert widths(7) == (1, 2, 4)
    assert widths(0) == (1,)
    assert Pairs.of(np.zeros((2, 3), dtype=bool)).walk_widths() == ()


@given(incidence_tables(), st.integers(1, 3))
def test_pairs_are_counted_whatever_the_rows_at_once(table, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_relations, "_BLOCK", rows)
        pairs = Pairs.of(table)
    shared = shared_vectors(table)
    for s in range(1, table.shape[1] + 2):
        assert pairs.share(s) == int((np.triu(shared, 1) >= s).sum())
    sets = [set(np.flatnonzero(row)) for row in table]
    assert pairs.toplex.tolist() == [bool(a) and not any(a < b for b in sets) for a in sets]


def test_past_a_number_of_classes_the_largest_are_related_to_and_no_walks_are_followed(monkeypatch):
    monkeypatch.setattr(class_relations, "_MOST_RELATED", 2)
    table = [[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    whole = _relations(table).sel(other_class=["a", "b"])
    found = validate(_relations(table), "hypergraphs/conv2")
    assert found["other_class"].to_numpy().tolist() == ["a", "b"]
    xr.testing.assert_identical(found, whole)
    monkeypatch.setattr(class_relations, "_MOST_HYPEREDGES", 2)
    found = _relations(table)
    for reason in found["left_out"].to_numpy():
        assert reason.startswith("3 classes have a significant singular vector; walks are followed")
    assert (found["distance"] == -1).all()
    assert np.isnan(found["harmonic"]).all()
    # All pairs are counted all the same.
    assert found["toplex"].to_numpy().tolist() == [True, True, False, False]


def test_too_many_walks_are_left_out_and_said_to_be(monkeypatch):
    monkeypatch.setattr(class_relations, "_MOST_WALKS", 3 * 2)
    # All three pairs share vector 0, one pair shares two.
    found = _relations([[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    one, two = found["left_out"].to_numpy()
    assert one.startswith("3 of 3 pairs of classes share 1 singular vectors or more")
    assert two == ""
    assert (found["distance"].to_numpy()[0] == -1).all()
    assert np.isnan(found["betweenness"].to_numpy()[0]).all()
    assert found["distance"].to_numpy()[1, 0, 1] == 1
    # What costs little is there all the same.
    assert found["jaccard"].to_numpy()[0, 1] == 1


def test_an_empty_hypergraph_has_no_walks_and_says_why():
    found = validate(_relations(np.zeros((3, 4)), empty="nothing exceeds q"), "hypergraphs/fc1")
    assert found["empty"].item() == "nothing exceeds q"
    assert found.sizes["s"] == 0
    assert not found["toplex"].any()
    assert np.isnan(found["jaccard"]).all()


IN_A_PROCESS = """
import hashlib
import numpy as np
from ddp_tasks.hypergraphs.class_relations import walks
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors

names = [f"class {i}" for i in range(16)]
table = np.random.default_rng(1).random((16, 14)) < 0.15
values = np.arange(14, 0, -1.0)
nodes = SignedVectors(LayerVectors("conv2", values, np.ones(14)), ("positive",))
graph = hypergraph(table, table.astype(np.float32), names, nodes)
for s in (1, 2):
    found = walks(graph, s, names)
    for values in (found.component, found.distance, found.betweenness, found.harmonic):
        print(hashlib.sha256(values.tobytes()).hexdigest())
"""


def test_every_process_computes_the_same_bits():
    printed = [
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    ]
    assert len(printed[0].split()) == 8
    assert len(set(printed)) == 1
