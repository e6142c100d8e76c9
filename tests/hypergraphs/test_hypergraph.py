import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import nodes
from strategies import LEVELS, cubes, incidence_tables

from ddp_tasks.hypergraphs.family import why_empty
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from ddp_tasks.significance.layer_table import LayerTable
from ddp_tasks.significance.significance import fractions, significant, thresholds

NAMES = ("zero", "one", "two", "three", "four")
#: Singular values s_i = 10 - i.
VALUES = np.arange(10.0, 0.0, -1.0)


def _graph(table, layer="conv1"):
    # A fraction that names its class and vector: c + i / 16, exact in float32.
    classes, vectors = np.indices(table.shape)
    fraction = (classes + vectors / 16).astype(np.float32)
    return hypergraph(table, fraction, NAMES[: len(table)], nodes(VALUES[: table.shape[1]], layer))


def _hyperedges(graph):
    return {edge: {int(node) for node in graph.edges[edge]} for edge in graph.edges}


def test_by_hand():
    # Vectors 0 and 2 for class zero, vector 2 for class two; none for class one, vector 1 unused.
    table = np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=bool)
    graph = _graph(table)
    assert graph.name == "conv1"
    assert _hyperedges(graph) == {"zero": {0, 2}, "two": {2}}
    assert {int(node) for node in graph.nodes} == {0, 2}
    assert graph.nodes[2].singular_value == 8
    assert graph.get_cell_properties("two", 2)["weight"] == 2 + 2 / 16


@given(incidence_tables())
def test_equals_the_dictionary_of_sets(table):
    graph = _graph(table)
    expected = reference.hypergraph(table, NAMES)
    assert _hyperedges(graph) == expected
    # Empty hyperedges and unused nodes are gone, all others are there.
    assert all(expected.values())
    assert {int(node) for node in graph.nodes} == set(reference.memberships(expected))


@settings(max_examples=25)
@given(cubes(), LEVELS)
def test_raising_q_or_p_never_adds_a_node_to_a_hyperedge(cube, levels):
    threshold = thresholds(cube.parts, cube.ranks, levels)
    shares = fractions(
        cube.parts, cube.ranks, threshold, cube.target_classes, np.zeros(len(cube.targets), np.int8)
    )
    fraction, images = shares.fraction[0], shares.images[0]

    def hyperedges(level, percentage):
        table = fraction[0, level, :, 0]
        graph = hypergraph(
            significant(table, images, percentage),
            table,
            NAMES[: cube.target_classes],
            nodes(VALUES[: table.shape[1]], "fc1"),
        )
        return _hyperedges(graph)

    for level, percentage in np.ndindex(len(levels), 2):
        lower = hyperedges(level, (40, 75)[percentage])
        for raised in (
            hyperedges(min(level + 1, len(levels) - 1), (40, 75)[percentage]),
            hyperedges(level, (75, 100)[percentage]),
        ):
            assert all(nodes <= lower.get(edge, set()) for edge, nodes in raised.items())


def _why(fraction, percentage=75):
    fraction = np.asarray(fraction, dtype=np.float32)
    table = LayerTable(
        layer="fc1",
        directions=("positive",),
        quantile=0.9,
        percentage=percentage,
        thresholds=(1.5,),
        target_classes=tuple(NAMES),
        images=np.full(len(fraction), 10),
        fraction=fraction,
        selection_images=np.full(len(fraction), 10),
        selection_fraction=fraction,
        significant=fraction * 100 >= percentage,
    )
    return why_empty(table)


def test_an_empty_hypergraph_says_what_empties_it():
    assert _why([[0.8, 0.1]]) == ""
    assert _why([[0.1, 0.2], [0.6, 0.3]]) == (
        "No singular vector exceeds q = 1.5, the layer's quantile at level 0.9, in at least 75 % "
        "of any class. The greatest share is 60 %, of one for v0⁺: lower p to that, or the "
        "quantile level."
    )
    # Constant signals: none lies above its own quantile.
    assert _why([[0, 0], [0, np.nan]]).startswith("No signal exceeds q = 1.5")
    assert _why([[np.nan, np.nan]]) == "No class has an image with signals."


def test_nodes_and_hyperedges_carry_properties():
    table = np.array([[1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=bool)
    graph = hypergraph(
        table,
        table.astype(np.float32),
        NAMES[:3],
        nodes(VALUES[:3], "conv1"),
        node_properties={"relative_gap": np.array([0.1, 0.2, 0.3])},
        edge_properties={"images": np.array([50, 40, 30])},
    )
    assert graph.nodes[2].relative_gap == 0.3
    assert graph.edges["two"].images == 30
    assert graph.edges["zero"].singular_vectors == 2


@given(st.permutations(range(4)))
def test_vectors_keep_their_index_whatever_their_order_in_the_table(order):
    # Class c has exactly the vector order[c].
    table = np.zeros((4, 4), dtype=bool)
    table[np.arange(4), order] = True
    assert _hyperedges(_graph(table)) == {NAMES[c]: {order[c]} for c in range(4)}
