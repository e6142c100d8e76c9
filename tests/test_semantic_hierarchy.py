import networkx as nx
import numpy as np
import reference
from hypothesis import assume, given
from strategies import incidence_tables

from ddp_tasks.hypergraph import hypergraph
from ddp_tasks.semantic_hierarchy import (
    EquivalenceClass,
    equivalence_classes,
    levels,
    semantic_hierarchy,
)

NAMES = ("a", "b", "c", "d", "e")


def _graph(table):
    table = np.asarray(table, dtype=bool)
    values = np.arange(table.shape[1], 0, -1, dtype=float)
    return hypergraph(table, table.astype(np.float32), NAMES[: len(table)], values, "conv2")


#: Vectors 0 and 3 for all classes, 1 for a and b, 2 for b, 4 for c, 5 for none.
TABLE = [
    [1, 1, 0, 1, 0, 0],
    [1, 1, 1, 1, 0, 0],
    [1, 0, 0, 1, 1, 0],
]


def test_equivalence_classes_by_hand():
    classes = equivalence_classes(_graph(TABLE))
    # Most general first; of equally general ones, the greater singular value first.
    assert classes == [
        EquivalenceClass((0, 3), frozenset("abc")),
        EquivalenceClass((1,), frozenset("ab")),
        EquivalenceClass((2,), frozenset("b")),
        EquivalenceClass((4,), frozenset("c")),
    ]
    assert [c.representative for c in classes] == [0, 1, 2, 4]


def test_semantic_hierarchy_by_hand():
    # abc > ab > b and abc > c; abc > b follows, so it is not drawn.
    diagram = semantic_hierarchy(equivalence_classes(_graph(TABLE)))
    assert set(diagram.edges) == {(0, 1), (1, 2), (0, 3)}
    assert diagram.nodes[1]["equivalence_class"].target_classes == frozenset("ab")
    assert levels(nx.to_numpy_array(diagram).astype(bool)).tolist() == [0, 1, 2, 1]


def test_an_empty_hypergraph_has_an_empty_hierarchy():
    classes = equivalence_classes(_graph(np.zeros((3, 3))))
    assert classes == []
    assert len(semantic_hierarchy(classes)) == 0
    assert levels(np.zeros((0, 0), dtype=bool)).tolist() == []


@given(incidence_tables())
def test_equivalence_classes_partition_the_nodes(table):
    hyperedges = reference.hypergraph(table, NAMES)
    classes = equivalence_classes(_graph(table))
    members = [v for c in classes for v in c.singular_vectors]
    assert sorted(members) == sorted(reference.memberships(hyperedges))
    assert {frozenset(c.singular_vectors) for c in classes} == reference.equivalence_classes(
        hyperedges
    )
    for c in classes:
        assert list(c.singular_vectors) == sorted(c.singular_vectors)
        for v in c.singular_vectors:
            assert reference.memberships(hyperedges)[v] == c.target_classes
    sizes = [len(c.target_classes) for c in classes]
    assert sizes == sorted(sizes, reverse=True)


@given(incidence_tables())
def test_equivalence_classes_agree_with_hypernetx(table):
    assume(table.any())
    graph = _graph(table)
    collapsed, members = graph.collapse_nodes(return_equivalence_classes=True)
    ours = {frozenset(c.singular_vectors) for c in equivalence_classes(graph)}
    assert ours == {frozenset(int(v) for v in vectors) for vectors in members.values()}
    assert len(ours) == len(list(collapsed.nodes))


@given(incidence_tables())
def test_the_order_is_strict_and_transitive_and_its_edges_are_minimal(table):
    classes = equivalence_classes(_graph(table))
    order = reference.strict_order([c.target_classes for c in classes])
    diagram = semantic_hierarchy(classes)
    assert set(diagram.edges) == reference.transitive_reduction(order)
    # Everything that follows from the edges, and nothing else, is the order of Eq. 18.
    ways = {(i, j) for i in diagram for j in nx.descendants(diagram, i)}
    assert ways == order
    assert all(i != j and (j, i) not in ways for i, j in ways)
    assert all((i, k) in ways for i, j in ways for between, k in ways if between == j)
    # Without any one edge something is lost.
    for edge in list(diagram.edges):
        less = diagram.copy()
        less.remove_edge(*edge)
        assert edge[1] not in nx.descendants(less, edge[0])
    assert [diagram.nodes[i]["equivalence_class"] for i in range(len(classes))] == classes


@given(incidence_tables())
def test_levels_are_the_longest_way_down_from_a_top(table):
    diagram = semantic_hierarchy(equivalence_classes(_graph(table)))
    covers = np.zeros((len(diagram), len(diagram)), dtype=bool)
    for i, j in diagram.edges:
        covers[i, j] = True
    level = levels(covers)

    def longest(node):
        return max((longest(above) + 1 for above in diagram.predecessors(node)), default=0)

    assert level.tolist() == [longest(node) for node in range(len(diagram))]
