import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

import hypernetx.hif
import numpy as np
import pytest
import reference
import xgi
from hypothesis import given, settings
from nodes import nodes
from strategies import incidence_tables

from ddp_tasks.hypergraphs.hif import from_hif, read_hif, to_hif, write_hif
from ddp_tasks.hypergraphs.hypergraph import hypergraph
from schemas.parameters import RunError

NAMES = ("zero", "one", "two", "three", "four")
#: Singular values s_i = 10 - i.
VALUES = np.arange(10.0, 0.0, -1.0)


def _graph(table, layer="conv1"):
    # A fraction that names its class and vector: c + i / 16, exact in float32.
    classes, vectors = np.indices(table.shape)
    fraction = (classes + vectors / 16).astype(np.float32)
    return hypergraph(
        table,
        fraction,
        NAMES[: len(table)],
        nodes(VALUES[: table.shape[1]], layer),
        node_properties={"relative_gap": VALUES[: table.shape[1]] / 100},
        edge_properties={"images": 50 + np.arange(len(table))},
    )


def _assert_hif(content):
    """The rules of HIF, version 0.1, in loops: required and allowed keys and their types."""
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


def _assert_incidences(content):
    for record in content["incidences"]:
        c, i = NAMES.index(record["edge"]), record["node"]
        assert record["weight"] == c + i / 16


@settings(max_examples=25)
@given(incidence_tables())
def test_hif_follows_its_rules_and_reads_back(table):
    content = to_hif(_graph(table), {"quantile": 0.9})
    _assert_hif(content)
    _assert_incidences(content)
    assert content["metadata"] == {"name": "conv1", "quantile": 0.9}
    # Through JSON, as from a file.
    graph, metadata = from_hif(json.loads(json.dumps(content, allow_nan=False)))
    assert metadata == content["metadata"]
    assert graph.name == "conv1"
    assert {
        edge: {int(node) for node in graph.edges[edge]} for edge in graph.edges
    } == reference.hypergraph(table, NAMES)
    for node in graph.nodes:
        assert graph.nodes[node].singular_value == VALUES[node]
        assert graph.nodes[node].relative_gap == VALUES[node] / 100
    for edge in graph.edges:
        assert graph.edges[edge].images == 50 + NAMES.index(edge)
    # Nothing is lost or added on the way there and back.
    assert to_hif(graph, {"quantile": 0.9}) == content


@settings(max_examples=25)
@given(incidence_tables())
def test_xgi_reads_it(table):
    content = to_hif(_graph(table), {"quantile": 0.9})
    read = xgi.from_hif_dict(json.loads(json.dumps(content)))
    assert read.edges.members(dtype=dict) == reference.hypergraph(table, NAMES)
    for node in read.nodes:
        assert read.nodes[node]["singular_value"] == VALUES[node]
    for edge in read.edges:
        assert read.edges[edge]["images"] == 50 + NAMES.index(edge)
    if table.any():
        # What XGI writes is read here: it tells of no weights.
        graph, metadata = from_hif(xgi.to_hif_dict(read))
        assert metadata["quantile"] == 0.9
        assert {e: set(graph.edges[e]) for e in graph.edges} == reference.hypergraph(table, NAMES)
        assert all(graph.nodes[v].singular_value == VALUES[v] for v in graph.nodes)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def schema_served():
    """HyperNetX asks for its schema by HTTP: here it gets ours, from this machine."""
    folder = str(files("ddp_tasks.hypergraphs"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = hypernetx.hif.schema_url
        hypernetx.hif.schema_url = f"http://127.0.0.1:{server.server_port}/hif_schema.json"
        yield
        hypernetx.hif.schema_url = address
        server.shutdown()
        thread.join()


def test_hypernetx_reads_it(schema_served, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    table = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=bool)
    path = tmp_path / "conv1.hif.json"
    write_hif(_graph(table), {"quantile": 0.9}, path)
    theirs = hypernetx.from_hif(json.loads(path.read_text()))
    ours, _ = read_hif(path)
    for read in (theirs, ours):
        assert read.name == "conv1"
        assert {e: set(read.edges[e]) for e in read.edges} == {"zero": {0, 2}, "two": {1, 2}}
        assert read.get_cell_properties("two", 1)["weight"] == 2 + 1 / 16
        assert read.nodes[2].singular_value == 8
        assert read.edges["two"].images == 52


def test_an_empty_hypergraph_is_still_hif():
    content = to_hif(_graph(np.zeros((2, 3), dtype=bool)), {})
    _assert_hif(content)
    assert content["incidences"] == []
    graph, metadata = from_hif(content)
    assert (len(graph.edges), metadata) == (0, {"name": "conv1"})


def test_what_is_not_finite_is_left_out():
    table = np.ones((1, 2), dtype=bool)
    gaps = np.array([np.inf, 0.5])
    graph = hypergraph(
        table,
        table.astype(np.float32),
        ["a"],
        nodes(VALUES[:2], "x"),
        node_properties={"gap": gaps},
    )
    first, second = to_hif(graph, {})["nodes"]
    assert first["attrs"] == {"direction": "positive", "singular_vector": 0, "singular_value": 10.0}
    assert second["attrs"] == {
        "direction": "positive",
        "singular_vector": 1,
        "singular_value": 9.0,
        "gap": 0.5,
    }


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


_ONE = '{"edge": "a", "node": 1}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        (
            '{"incidences": [{"edge": "a", "node": 1, "weight": NaN}]}',
            "NaN is not a number",
        ),
        ("[]", "HIF must be object"),
        ("{}", r"must contain \['incidences'\]"),
        ('{"incidences": [{"edge": "a"}]}', r"HIF.incidences\[0\] must contain \['node'\]"),
        (f'{{"incidences": [{_ONE}], "edgs": []}}', "must not contain {'edgs'}"),
        ('{"incidences": [{"edge": "a", "node": true}]}', "node must be string or integer"),
        (f'{{"incidences": [{_ONE}, {_ONE}]}}', r"incidences names \('a', 1\) more than once"),
        (f'{{"incidences": [{_ONE}], "nodes": [{{"node": 2}}]}}', "node 2 is in no incidence"),
        (f'{{"incidences": [{_ONE}], "edges": [{{"edge": "b"}}]}}', "edge 'b' is in no incidence"),
        (
            f'{{"incidences": [{_ONE}], "nodes": [{{"node": 1, "weight": "heavy"}}]}}',
            r"HIF.nodes\[0\].weight must be number",
        ),
        (f'{{"network-type": "directed", "incidences": [{_ONE}]}}', "network-type is directed"),
    ],
)
def test_broken_files_are_refused_by_name(text, complaint, tmp_path):
    path = tmp_path / "broken.hif.json"
    path.write_text(text)
    with pytest.raises(RunError, match=complaint) as refusal:
        read_hif(path)
    assert str(path) in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(RunError, match=r"none\.hif\.json cannot be read: No such file"):
        read_hif(tmp_path / "none.hif.json")


def test_weights_other_than_one_survive():
    content = to_hif(_graph(np.array([[1, 0, 1], [0, 1, 1]], dtype=bool)), {})
    for part in ("nodes", "edges"):
        for number, record in enumerate(content[part]):
            record["weight"] = number + 2.5
    graph, _ = from_hif(content)
    assert to_hif(graph, {}) == content
