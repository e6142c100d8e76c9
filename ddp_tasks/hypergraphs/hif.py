"""Hypergraphs to and from JSON in the Hypergraph Interchange Format (HIF), without a network.

HyperNetX's own export and import fetch the format's JSON schema from the network at every call,
and fail without one. The schema used here lies beside this file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import fastjsonschema
import hypernetx as hnx
import numpy as np
import pandas as pd

from ddp_tasks.files.whole import write_whole
from schemas.parameters import RunError

#: Property in which HyperNetX notes where it last looked an item up.
_BOOKKEEPING = "_level"


def to_hif(graph: hnx.Hypergraph, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The hypergraph as a dictionary in the Hypergraph Interchange Format.

    Properties of nodes, hyperedges and incidences other than their weight become ``attrs``;
    numbers that are not finite, which JSON cannot hold, are left out.

    Parameters
    ----------
    metadata
        about the hypergraph as a whole; values of JSON.
    """
    content: dict[str, Any] = {
        "network-type": "undirected",
        "metadata": {"name": graph.name, **metadata},
    }
    for part, keys in (("edges", ["edge"]), ("nodes", ["node"]), ("incidences", ["edge", "node"])):
        view = getattr(graph, part)
        content[part] = _records(view.to_dataframe, keys) if len(view) else []
    return content


def _records(table: pd.DataFrame, keys: list[str]) -> list[dict[str, Any]]:
    """Records of HIF from a table of HyperNetX."""
    identities = [table.index.get_level_values(level).tolist() for level in range(len(keys))]
    weights, misc = table["weight"].tolist(), table["misc_properties"].tolist()
    others = {
        str(name): table[name].tolist()
        for name in table.columns
        if name not in ("weight", "misc_properties")
    }
    records = []
    for row, identity in enumerate(zip(*identities, strict=True)):
        record: dict[str, Any] = {
            key: int(i) if isinstance(i, np.integer) else i
            for key, i in zip(keys, identity, strict=True)
        }
        attrs = {name: column[row] for name, column in others.items()} | misc[row]
        attrs = {k: v for k, v in attrs.items() if k != _BOOKKEEPING and _finite(v)}
        # HIF reads a missing weight as 1.
        if len(keys) == 2 or weights[row] != 1:
            record["weight"] = weights[row]
        if attrs:
            record["attrs"] = attrs
        records.append(record)
    return records


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or bool(np.isfinite(value))


def hif_text(graph: hnx.Hypergraph, metadata: Mapping[str, Any]) -> str:
    """A hypergraph as HIF JSON."""
    return json.dumps(to_hif(graph, metadata), indent=1, allow_nan=False)


def write_hif(graph: hnx.Hypergraph, metadata: Mapping[str, Any], path: Path) -> None:
    """Write a hypergraph as HIF JSON, whole or not at all."""
    write_whole(path, hif_text(graph, metadata))


def read_hif(path: Path) -> tuple[hnx.Hypergraph, dict[str, Any]]:
    """A hypergraph and its metadata from any file of HIF JSON.

    Raises
    ------
    RunError
        Naming the file and what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(), parse_constant=_refuse_constant)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}") from None
    try:
        return from_hif(content)
    except RunError as error:
        raise RunError(f"{path} is not a hypergraph that ddp can read: {error}") from None


def from_hif(content: Any) -> tuple[hnx.Hypergraph, dict[str, Any]]:
    """A hypergraph and its metadata from a dictionary in the Hypergraph Interchange Format.

    Raises
    ------
    RunError
        If the dictionary breaks the format's rules, is directed or a simplicial complex, lists
        the same item twice, or has nodes or hyperedges without an incidence, which HyperNetX
        would drop.
    """
    try:
        _validator()(content)
    except fastjsonschema.JsonSchemaValueException as error:
        raise RunError(error.message.replace("data", "HIF", 1)) from None
    kind = content.get("network-type", "undirected")
    if kind != "undirected":
        raise RunError(f"its network-type is {kind}; only undirected is read")
    metadata: dict[str, Any] = content.get("metadata", {})
    incidences = content["incidences"]
    _refuse_repeated("incidences", [(r["edge"], r["node"]) for r in incidences])
    properties = {}
    for part, key in (("nodes", "node"), ("edges", "edge")):
        records = content.get(part, [])
        _refuse_repeated(part, [record[key] for record in records])
        used = {record[key] for record in incidences}
        if unused := [record[key] for record in records if record[key] not in used]:
            raise RunError(f"{key} {unused[0]!r} is in no incidence")
        properties[part] = _frame(records, [key]) if records else None
    name = metadata.get("name")
    if not incidences:
        return hnx.Hypergraph({}, name=name), metadata
    graph = hnx.Hypergraph(
        _frame(incidences, ["edge", "node"]),
        cell_weight_col="weight",
        misc_cell_properties_col="attrs",
        node_properties=properties["nodes"],
        edge_properties=properties["edges"],
        misc_properties_col="attrs",
        name=name,
    )
    return graph, metadata


def _frame(records: list[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    """A table for HyperNetX from records of HIF."""
    columns: dict[str, Any] = {
        key: pd.Series([record[key] for record in records], dtype=object) for key in keys
    }
    columns["weight"] = [record.get("weight", 1) for record in records]
    columns["attrs"] = [dict(record.get("attrs", {})) for record in records]
    return pd.DataFrame(columns)


def _refuse_repeated(part: str, identities: list[Any]) -> None:
    repeated = [identity for identity, times in Counter(identities).items() if times > 1]
    if repeated:
        raise RunError(f"{part} names {repeated[0]!r} more than once")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


@cache
def _validator() -> Callable[[Any], Any]:
    schema = json.loads(files("ddp_tasks.hypergraphs").joinpath("hif_schema.json").read_text())
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return compiled
