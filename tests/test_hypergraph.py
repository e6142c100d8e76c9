import json

import numpy as np
import pytest
import reference
import xgi
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LEVELS, cubes, incidence_tables

from ddp_tasks.hypergraph import hypergraph, to_hif, write_hif
from ddp_tasks.significance import fractions, significant, thresholds

NAMES = ("zero", "one", "two", "three", "four")
#: Singular values s_i = 10 - i.
VALUES = np.arange(10.0, 0.0, -1.0)


def _graph(table, layer="conv1"):
    # A fraction that names its class and vector: c + i / 16, exact in float32.
    classes, vectors = np.indices(table.shape)
    fraction = (classes + vectors / 16).astype(np.float32)
    return hypergraph(table, fraction, NAMES[: len(table)], VALUES[: table.shape[1]], layer)


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
    fraction, images = fractions(cube.parts, cube.ranks, threshold, cube.target_classes)

    def hyperedges(level, percentage):
        table = fraction[0, level, :, 0]
        graph = hypergraph(
            significant(table, images, percentage),
            table,
            NAMES[: cube.target_classes],
            VALUES[: table.shape[1]],
            "fc1",
        )
        return _hyperedges(graph)

    for level, percentage in np.ndindex(len(levels), 2):
        lower = hyperedges(level, (40, 75)[percentage])
        for raised in (
            hyperedges(min(level + 1, len(levels) - 1), (40, 75)[percentage]),
            hyperedges(level, (75, 100)[percentage]),
        ):
            assert all(nodes <= lower.get(edge, set()) for edge, nodes in raised.items())


def _assert_hif(content):
    """The rules of the HIF schema, version 0.1: its required and allowed keys and their types."""
    assert set(content) <= {"network-type", "metadata", "incidences", "nodes", "edges"}
    assert content["network-type"] in {"undirected", "directed", "asc"}
    assert isinstance(content["metadata"], dict)
    properties = {"weight": (int, float), "attrs": dict}
    rules = {
        "incidences": ({"edge": (str, int), "node": (str, int)}, properties),
        "nodes": ({"node": (str, int)}, properties),
        "edges": ({"edge": (str, int)}, properties),
    }
    for key, (required, optional) in rules.items():
        assert isinstance(content[key], list)
        for record in content[key]:
            assert set(required) <= set(record) <= set(required) | set(optional)
            for name, value in record.items():
                assert isinstance(value, (required | optional)[name])
                assert not isinstance(value, bool)
    for key in ("nodes", "edges"):
        identities = [record[key[:-1]] for record in content[key]]
        assert len(identities) == len(set(identities))
        # Every end of an incidence is declared.
        assert {record[key[:-1]] for record in content["incidences"]} == set(identities)
    pairs = [(record["edge"], record["node"]) for record in content["incidences"]]
    assert len(pairs) == len(set(pairs))


@given(incidence_tables())
def test_hif_follows_its_rules_and_reads_back(table):
    content = to_hif(_graph(table), {"quantile": 0.9})
    _assert_hif(content)
    # As another program gets it: through JSON, read by XGI.
    content = json.loads(json.dumps(content, allow_nan=False))
    read = xgi.from_hif_dict(content)
    assert read.edges.members(dtype=dict) == reference.hypergraph(table, NAMES)
    for node in read.nodes:
        assert read.nodes[node]["singular_value"] == VALUES[node]
    for record in content["incidences"]:
        c, i = NAMES.index(record["edge"]), record["node"]
        assert record["weight"] == c + i / 16
    assert content["metadata"] == {"name": "conv1", "quantile": 0.9}


def test_an_empty_hypergraph_is_still_hif():
    content = to_hif(_graph(np.zeros((2, 3), dtype=bool)), {})
    _assert_hif(content)
    assert content["incidences"] == []
    assert content["metadata"] == {"name": "conv1"}


def test_written_hif_is_whole(tmp_path):
    graph = _graph(np.ones((2, 3), dtype=bool), layer="features.0")
    path = tmp_path / "features.0.hif.json"
    write_hif(graph, {"percentage": 75}, path)
    assert json.loads(path.read_text()) == to_hif(graph, {"percentage": 75})
    assert list(tmp_path.iterdir()) == [path]


def test_metadata_that_is_no_json_leaves_the_file_as_it_was(tmp_path):
    graph = _graph(np.ones((2, 3), dtype=bool))
    path = tmp_path / "conv1.hif.json"
    write_hif(graph, {}, path)
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_hif(graph, {"threshold": float("nan")}, path)
    assert path.read_text() == before


@given(st.permutations(range(4)))
def test_vectors_keep_their_index_whatever_their_order_in_the_table(order):
    # Class c has exactly the vector order[c].
    table = np.zeros((4, 4), dtype=bool)
    table[np.arange(4), order] = True
    assert _hyperedges(_graph(table)) == {NAMES[c]: {order[c]} for c in range(4)}
