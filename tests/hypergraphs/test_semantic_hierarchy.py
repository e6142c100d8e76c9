import networkx as nx
import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nodes import nodes
from strategies import incidence_tables

from ddp_tasks.hypergraphs import semantic_hierarchy as module
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.hypergraphs.semantic_hierarchy import (
    diagram,
    equivalence_classes,
    hierarchy_dataset,
    levels,
    lies_above,
    semantic_hierarchy,
    strict_order,
    transitive_reduction,
)
from ddp_tasks.visualization.exemplars import Exemplars, StrongestImages
from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors
from schemas import validate

NAMES = ("a", "b", "c", "d", "e")

#: Vectors 0 and 3 for all classes, 1 for a and b, 2 for b, 4 for c, 5 for none.
TABLE = np.array(
    [
        [1, 1, 0, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 0, 0, 1, 1, 0],
    ],
    dtype=bool,
)


def _vectors(hierarchy):
    return [set(np.flatnonzero(row).tolist()) for row in hierarchy.singular_vectors]


def _classes(hierarchy):
    return [frozenset(NAMES[c] for c in np.flatnonzero(row)) for row in hierarchy.target_classes]


def _pairs(matrix):
    return {(int(i), int(j)) for i, j in np.argwhere(matrix)}


def test_by_hand():
    hierarchy = semantic_hierarchy(TABLE)
    # Most general first; of equally general ones, the greater singular value first.
    assert _vectors(hierarchy) == [{0, 3}, {1}, {2}, {4}]
    assert _classes(hierarchy) == [
        frozenset("abc"),
        frozenset("ab"),
        frozenset("b"),
        frozenset("c"),
    ]
    # abc > ab > b and abc > c; abc > b follows, so it is not drawn.
    assert _pairs(hierarchy.covers) == {(0, 1), (1, 2), (0, 3)}
    assert hierarchy.level.tolist() == [0, 1, 2, 1]
    assert (len(hierarchy), hierarchy.depth) == (4, 3)


def test_an_empty_hypergraph_has_an_empty_hierarchy():
    hierarchy = semantic_hierarchy(np.zeros((3, 5), dtype=bool))
    assert (len(hierarchy), hierarchy.depth) == (0, 0)
    assert hierarchy.singular_vectors.shape == (0, 5)
    assert hierarchy.target_classes.shape == (0, 3)
    assert hierarchy.covers.shape == (0, 0)


@given(incidence_tables())
def test_equivalence_classes_partition_the_nodes(table):
    hyperedges = reference.hypergraph(table, NAMES)
    hierarchy = semantic_hierarchy(table)
    members = [v for part in _vectors(hierarchy) for v in part]
    assert sorted(members) == sorted(reference.memberships(hyperedges))
    assert set(map(frozenset, _vectors(hierarchy))) == reference.equivalence_classes(hyperedges)
    for vectors, classes in zip(_vectors(hierarchy), _classes(hierarchy), strict=True):
        assert all(reference.memberships(hyperedges)[v] == classes for v in vectors)
    order = [
        (-len(c), min(v)) for v, c in zip(_vectors(hierarchy), _classes(hierarchy), strict=True)
    ]
    assert order == sorted(order)


@settings(max_examples=25)
@given(incidence_tables())
def test_equivalence_classes_agree_with_hypernetx(table):
    assume(table.any())
    values = np.arange(table.shape[1], 0, -1, dtype=float)
    graph = hypergraph(table, table.astype(np.float32), NAMES[: len(table)], nodes(values, "conv2"))
    collapsed, members = graph.collapse_nodes(return_equivalence_classes=True)
    ours = set(map(frozenset, _vectors(semantic_hierarchy(table))))
    assert ours == {frozenset(int(v) for v in vectors) for vectors in members.values()}
    assert len(ours) == len(list(collapsed.nodes))


@given(incidence_tables())
def test_the_order_is_strict_and_transitive_and_its_edges_are_minimal(table):
    hierarchy = semantic_hierarchy(table)
    order = reference.strict_order(_classes(hierarchy))
    assert _pairs(strict_order(hierarchy.target_classes)) == order
    edges = _pairs(hierarchy.covers)
    assert edges == reference.transitive_reduction(order)
    # Everything that follows from the edges, and nothing else, is the order of Eq. 18.
    graph = nx.DiGraph(list(edges))
    graph.add_nodes_from(range(len(hierarchy)))
    ways = {(i, j) for i in graph for j in nx.descendants(graph, i)}
    assert ways == order
    assert all(i != j and (j, i) not in ways for i, j in ways)
    assert all((i, k) in ways for i, j in ways for between, k in ways if between == j)
    # Without any one edge something is lost.
    for edge in edges:
        less = graph.copy()
        less.remove_edge(*edge)
        assert edge[1] not in nx.descendants(less, edge[0])


@given(incidence_tables())
def test_levels_are_the_longest_way_down_from_a_top(table):
    hierarchy = semantic_hierarchy(table)
    above = {j: [i for i, k in _pairs(hierarchy.covers) if k == j] for j in range(len(hierarchy))}

    def longest(node):
        return max((longest(i) + 1 for i in above[node]), default=0)

    assert hierarchy.level.tolist() == [longest(node) for node in range(len(hierarchy))]
    # The order itself has the same levels as its reduction.
    order = strict_order(hierarchy.target_classes)
    assert levels(order).tolist() == hierarchy.level.tolist()


@given(incidence_tables(), st.integers(1, 4))
def test_blocks_of_any_size_give_the_same(table, block):
    expected = semantic_hierarchy(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = semantic_hierarchy(table)
    np.testing.assert_array_equal(found.covers, expected.covers)


def test_many_classes_agree_with_networkx():
    # 300 sets over 40 classes, nested by chance; more than 512 would take networkx seconds.
    random = np.random.default_rng(0)
    table = random.random((40, 300)) < random.random(300) ** 3
    _, classes = equivalence_classes(table)
    assert len(classes) > 100
    order = strict_order(classes)
    expected = nx.transitive_reduction(nx.from_numpy_array(order, create_using=nx.DiGraph))
    assert _pairs(transitive_reduction(order)) == set(expected.edges)


def _stored(table):
    vectors = LayerVectors(
        layer="conv2",
        # The first two singular values are one to float32.
        singular_values=np.array([5.0, 5.0, 3.0, 2.0, 1.0, 0.5]),
        relative_gaps=np.array([1e-9, 1e-9, 0.2, 0.2, 0.1, 0.1]),
    )
    hierarchy = semantic_hierarchy(table)
    shape = hierarchy.target_classes.shape
    # Image 1 in the positive direction, image 0 in the negative.
    position = np.array([1, 0])[:, None, None]
    found = [
        StrongestImages(
            np.broadcast_to(position, (2, len(hierarchy), last)),
            np.full((2, len(hierarchy), last), 2.5, dtype=np.float32),
        )
        for last in (1, shape[1])
    ]
    return hierarchy_dataset(
        hierarchy,
        SignedVectors(vectors, ("positive",)),
        NAMES[: len(table)],
        Exemplars(*found),
        ["x", "y"],
    )


def test_the_stored_hierarchy_tells_of_singular_values_and_arbitrary_vectors():
    stored = validate(_stored(TABLE), "hierarchies/conv2")
    # Parts {0, 3}, {1}, {2}, {4}.
    assert stored["summed_singular_value"].to_numpy().tolist() == [7, 5, 3, 1]
    assert stored["greatest_singular_value"].to_numpy().tolist() == [5, 5, 3, 1]
    assert stored["arbitrary"].to_numpy().tolist() == [1, 1, 0, 0]
    assert stored["level"].to_numpy().tolist() == [0, 1, 2, 1]
    assert stored["exemplar"].to_numpy()[1].tolist() == ["y", "y", ""]
    assert stored["strongest"].to_numpy()[1].tolist() == ["y"]


def test_the_diagram_is_a_graph_for_networkx():
    graph = diagram(_stored(TABLE))
    assert set(graph.edges) == {(0, 1), (1, 2), (0, 3)}
    assert graph.graph["depth"] == 3
    assert graph.nodes[0] == {
        "singular_vectors": ("v0⁺", "v3⁺"),
        "target_classes": ("a", "b", "c"),
        "level": 0,
        "summed_singular_value": 7.0,
        "greatest_singular_value": 5.0,
        "arbitrary": 1,
        "exemplars": {"a": "y", "b": "y", "c": "y"},
    }


def test_an_empty_hierarchy_is_stored_and_has_an_empty_diagram():
    stored = validate(_stored(np.zeros((2, 6), dtype=bool)), "hierarchies/conv2")
    graph = diagram(stored)
    assert (len(graph), graph.graph["depth"]) == (0, 0)


@given(incidence_tables())
def test_rows_of_the_order_are_those_of_the_whole(significant):
    _, target_classes = equivalence_classes(significant)
    order = strict_order(target_classes)
    for first in range(len(order) + 1):
        np.testing.assert_array_equal(lies_above(target_classes, first), order[:first])
