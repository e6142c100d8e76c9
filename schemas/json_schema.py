"""The JSON Schema of run files, lists of models and cluster files, by which editors check them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.cluster_parameters import ClusterParameters
from schemas.parameters import RunParameters
from schemas.zoo import ZooParameters

#: The files that are described, and what describes them.
SECTIONS: dict[str, type[BaseModel]] = {
    "run": RunParameters,
    "zoo": ZooParameters,
    "cluster": ClusterParameters,
}

#: What the comment begins with by which a YAML file names its schema.
MODELINE = "# yaml-language-server: $schema="


def schema_path(kind: str) -> Path:
    """The schema's file in the package, which ``schema_text`` keeps true."""
    return Path(str(resources.files("schemas"))) / f"{kind}.schema.json"


def schema_text(kind: str) -> str:
    """The JSON Schema of a kind of file.

    Parameters
    ----------
    kind
        one of ``SECTIONS``.
    """
    schema = SECTIONS[kind].model_json_schema()
    if kind == "run":
        of_significance = schema["$defs"]["SignificanceParameters"]["properties"]
        of_significance["superclasses"] = _or_file(of_significance["superclasses"])
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_titles(schema)}
    return (
        json.dumps({**whole, "title": f"{kind} file of ddp"}, indent=1, ensure_ascii=False) + "\n"
    )


def _or_file(groups: dict[str, Any]) -> dict[str, Any]:
    """A mapping that a run file may also name a YAML file for."""
    described = {key: groups.pop(key) for key in ("description",) if key in groups}
    return {"anyOf": [groups, {"type": "string"}], **described}


def _without_titles(schema: Any) -> Any:
    """The schema without the titles that pydantic makes of names, which editors would show."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(part)
        for key, part in schema.items()
        if not (key == "title" and isinstance(part, str))
    }


def main() -> None:
    """Write the files of the package."""
    for kind in SECTIONS:
        schema_path(kind).write_text(schema_text(kind), "utf-8")


if __name__ == "__main__":
    main()
