"""Reference of run files, lists of models and cluster files, from the models in schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from docutils.nodes import make_id
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.generated.markdown import code, escaped, table
from schemas.cluster_parameters import ClusterParameters
from schemas.parameters import RunParameters
from schemas.run_files import presets
from schemas.zoo import ZooParameters


def run_file() -> str:
    """All keys of a run file, section by section."""
    return _sections(RunParameters)


def zoo_file() -> str:
    """All keys of a list of models."""
    return _sections(ZooParameters)


def cluster_file() -> str:
    """All keys of a cluster file."""
    return _sections(ClusterParameters)


def preset_list() -> str:
    """The presets, and the lists of models that come with the package."""
    rows = [
        (code(name), escaped(what))
        for kind in ("presets", "zoos")
        for name, what in presets(kind).items()
    ]
    return table(["name", "what it is"], rows)


def keys(model: type[BaseModel]) -> list[str]:
    """Keys of a file and of all its sections, dotted, as ``--set`` takes them."""
    return [key for _, _, rows in _walk(model) for key, *_ in rows]


def _sections(model: type[BaseModel]) -> str:
    blocks = []
    for title, meaning, rows in _walk(model):
        heading = f"## `{title}`\n\n" if title else ""
        shown = [
            (f"[{code(key)}]{{#{make_id(key)}}}", allowed, default, escaped(what))
            for key, allowed, default, what in rows
        ]
        blocks.append(
            f"{heading}{escaped(meaning)}\n\n"
            + table(["key", "allowed", "if left out", "meaning"], shown)
        )
    return "\n".join(blocks)


def _walk(model: type[BaseModel]) -> Iterator[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """Each section: where it stands, what it is, and its keys."""
    schema = model.model_json_schema(by_alias=True)
    yield from _section("", model, schema, schema.get("$defs", {}))


def _section(
    place: str, model: type[BaseModel], schema: Mapping[str, Any], below: Mapping[str, Any]
) -> Iterator[tuple[str, str, list[tuple[str, str, str, str]]]]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    rows, inner = [], []
    for name, declared in schema["properties"].items():
        key = f"{place}.{name}" if place else name
        field = fields[name]
        section = _section_of(field.annotation)
        what = declared.get("description") or (_first_line(section) if section else "")
        rows.append((key, _allowed(declared, below), _default(field), what))
        if section is not None:
            inner.append((key + _item(declared), section))
    yield place, _first_line(model), rows
    for key, section in inner:
        yield from _section(key, section, below[section.__name__], below)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section behind an annotation such as ``dict[str, Section]`` or ``Section | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (section := _section_of(argument)) is not None:
            return section
    return None


def _item(declared: Mapping[str, Any]) -> str:
    """What stands between a key and the keys of its section: a name, or a place in a list."""
    return {"object": ".NAME", "array": ".N"}.get(declared.get("type", ""), "")


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _default(field: FieldInfo) -> str:
    """The value that a key has where it is left out, as YAML."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "as below"
    shown = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n")
    return code(shown.strip())


def _allowed(declared: Mapping[str, Any], below: Mapping[str, Any]) -> str:
    """Type and bounds in words."""
    if "anyOf" in declared:
        return ", ".join(dict.fromkeys(_allowed(one, below) for one in declared["anyOf"]))
    if "$ref" in declared:
        return "a section"
    if "const" in declared or "enum" in declared:
        return ", ".join(code(str(v)) for v in declared.get("enum", [declared.get("const")]))
    kind = declared["type"]
    if kind == "array":
        least = "one or more" if declared.get("minItems") else "a list"
        allowed = f"{least} of: {_allowed(declared['items'], below)}"
    elif kind == "object":
        inner = declared.get("additionalProperties")
        of = _allowed(inner, below) if isinstance(inner, dict) and inner else "anything"
        allowed = f"a mapping to {of}"
    elif kind in ("integer", "number"):
        allowed = ("a whole number" if kind == "integer" else "a number") + _bounds(declared)
    else:
        allowed = {"null": "`null`", "string": "text", "boolean": "`true`, `false`"}[kind]
    return allowed


def _bounds(declared: Mapping[str, Any]) -> str:
    """Of a number; a bound that only keeps numbers exact in JSON is not told."""
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    told = [
        f"{word} {json.dumps(declared[bound])}"
        for bound, word in words.items()
        if bound in declared and abs(declared[bound]) < 2**53
    ]
    return f" {' and '.join(told)}" if told else ""
