"""Run files and presets: YAML to run parameters, with errors that name key, value and bounds."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from schemas import yaml_files
from schemas.cluster_parameters import Certificates, ClusterParameters
from schemas.parameters import (
    ModelParameters,
    RunError,
    RunParameters,
    weights_file,
)
from schemas.paths import expanded
from schemas.shown import shown
from schemas.zoo import ZooModel, ZooParameters

Section = TypeVar("Section", bound=BaseModel)

_SUFFIXES = {".yaml", ".yml"}
_FILES = {"presets": "run", "zoos": "zoo"}

#: Most refused keys that one message lists.
_MOST_LINES = 10


def presets(kind: str = "presets") -> dict[str, str]:
    """Names of the files that come with the package, each with its first comment line.

    Parameters
    ----------
    kind
        presets (runs) or zoos (lists of models).
    """
    files = resources.files("schemas") / kind
    first_comments = {}
    for file in sorted(files.iterdir(), key=lambda f: f.name):
        path = Path(file.name)
        if path.suffix in _SUFFIXES:
            lines = file.read_text().splitlines()
            told = next(line for line in lines if not line.startswith("# yaml-language-server"))
            first_comments[path.stem] = told.lstrip("# ")
    return first_comments


def preset_of(run: RunParameters) -> str | None:
    """The preset that a run is, whatever else was changed; None if it is another run."""
    if run.name not in presets():
        return None
    content, folder = _content(run.name, "presets", ())
    preset = with_paths(check(RunParameters, content, run.name), folder)
    same = (preset.model.factory, preset.images.factory) == (run.model.factory, run.images.factory)
    return run.name if same else None


def load_run(source: str, overrides: Iterable[str] = ()) -> RunParameters:
    """Run parameters from a preset's name or a YAML file.

    Parameters
    ----------
    source
        A preset's name, or the path of a run file. Files that a run file names are looked up
        from the folder the run file lies in.
    overrides
        ``key=value`` texts; the key is dotted, the value is YAML.

    Raises
    ------
    RunError
        If there is no such preset or file, or anything in it is refused.
    """
    content, folder = _content(source, "presets", overrides)
    return with_paths(check(RunParameters, content, source), folder)


def load_zoo(source: str, overrides: Iterable[str] = ()) -> ZooParameters:
    """A list of models from the name of a list of the package, or a YAML file.

    Parameters
    ----------
    source, overrides
        as for ``load_run``; weights' files are looked up from the key ``folder``.

    Raises
    ------
    RunError
        If there is no such list, or anything in it is refused.
    """
    content, folder = _content(source, "zoos", overrides)
    return zoo_with_paths(check(ZooParameters, content, source), folder)


def zoo_with_paths(zoo: ZooParameters, folder: Path) -> ZooParameters:
    """Make paths that are relative to a folder absolute."""
    if zoo.folder is not None:
        folder = folder / expanded(zoo.folder)
    models = [model.model_copy(update=_model_paths(model, folder)) for model in zoo.models]
    update = {"folder": str(folder), "models": models, "cluster": _cluster(zoo.cluster, folder)}
    return zoo.model_copy(update=update)


def _content(source: str, kind: str, overrides: Iterable[str]) -> tuple[dict[str, Any], Path]:
    """The content of a file, the package's or a person's own, and its folder."""
    known = presets(kind)
    if source in known:
        text = (resources.files("schemas") / kind / f"{source}.yaml").read_text()
        content, folder, name = yaml_files.mapping(text, source), Path.cwd(), source
    else:
        path = expanded(source, f"{_FILES[kind]} file")
        if path.suffix not in _SUFFIXES and "/" not in source and not os.path.lexists(path):
            raise RunError(
                f"unknown {kind.removesuffix('s')} {shown(repr(source))}{nearest(source, known)}; "
                f"{kind}: {', '.join(known)}"
            )
        content = yaml_files.read_mapping(path, f"{_FILES[kind]} file {shown(repr(source), 300)}")
        folder, name = path.parent, path.stem
    content.setdefault("name", name)
    for override in overrides:
        _override(content, override)
    if kind == "presets":
        _read_superclasses(content, source, folder)
    return content, folder.resolve()


def recorded_run(text: str, overrides: Iterable[str] = (), source: str = "") -> RunParameters:
    """Run parameters as a store records them, with changes.

    Parameters
    ----------
    text
        the parameters as JSON.
    overrides
        as in ``load_run``; files that they name are looked up from the working folder.
    source
        name of the parameters in refusals.

    Raises
    ------
    RunError
        If anything is refused.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RunError(f"{source} is damaged: its run parameters are not JSON")
    for override in overrides:
        _override(content, override)
    return with_paths(check(RunParameters, content, source), Path.cwd())


def load_cluster(path: Path) -> ClusterParameters:
    """Cluster parameters from a YAML file.

    Raises
    ------
    RunError
        If the file does not exist or anything in it is refused.
    """
    if not os.path.lexists(path):
        raise RunError(
            f"cluster: {shown(repr(str(path)))} is not auto, local, cuda, a scheduler address "
            "(such as tcp://host:8786) or a cluster file that exists",
            change=("cluster",),
        )
    content = yaml_files.read_mapping(path, f"cluster: file {shown(repr(str(path)))}")
    parameters = check(ClusterParameters, content, str(path))
    if parameters.factory is not None:
        factory = _factory(parameters.factory, path.parent)
        parameters = parameters.model_copy(update={"factory": factory})
    if parameters.security is None or not parameters.security.files:
        return parameters
    named = parameters.security.files
    files = {key: str(path.parent / expanded(name)) for key, name in named.items()}
    return parameters.model_copy(update={"security": Certificates.model_validate(files)})


def check(section: type[Section], content: Mapping[str, Any], source: str) -> Section:
    """Validate a mapping read from a file.

    Raises
    ------
    RunError
        If a key is refused; the message names each, its value and what is allowed.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        # pydantic gives an error for each branch of a union, with the same key and value.
        reasons: dict[str, list[str]] = {}
        for detail in error.errors():
            head, reason = _explain(section, dict(detail))
            reasons.setdefault(head, []).append(reason)
        lines = [f"  {head}{', or '.join(dict.fromkeys(why))}" for head, why in reasons.items()]
        if more := len(lines) - _MOST_LINES:
            lines = [*lines[:_MOST_LINES], *([f"  and {more:,} more"] if more > 0 else [])]
        raise RunError("\n".join([f"{shown(source, 300)} is refused:", *lines])) from None


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    written = f"overrides: {shown(repr(override))}"
    *parents, last = parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise RunError(f"{written}: write key=value, such as images.per_class=50")
    value = yaml_files.value(text, f"{written}: the value")
    for depth, parent in enumerate(parents, start=1):
        inner = content.get(parent)
        if inner is None:
            inner = content[parent] = {}
        elif not isinstance(inner, dict):
            raise RunError(
                f"{written}: {'.'.join(parts[:depth])} is {shown(repr(inner))}, which has no keys; "
                "replace it as a whole"
            )
        content = inner
    content[last] = value


def _read_superclasses(content: Mapping[str, Any], source: str, folder: Path) -> None:
    """Replace the name of a file of superclasses by its content, so that the store records it."""
    significance = content.get("significance")
    if not isinstance(significance, dict) or not isinstance(significance.get("superclasses"), str):
        return
    named = significance["superclasses"]
    key = "significance.superclasses"
    path = folder / expanded(named, f"{source}: {key}")
    content_of_file = yaml_files.read_mapping(
        path, f"{source}: {key}: file {shown(repr(named), 300)}"
    )
    significance["superclasses"] = content_of_file


def with_paths(parameters: RunParameters, folder: Path) -> RunParameters:
    """Make paths that are relative to a folder absolute: workers run in other folders."""
    images = parameters.images.model_copy(
        update={"factory": _factory(parameters.images.factory, folder)}
    )
    model = parameters.model.model_copy(update=_model_paths(parameters.model, folder))
    update = {"images": images, "model": model, "cluster": _cluster(parameters.cluster, folder)}
    return parameters.model_copy(update=update)


def _model_paths(model: ModelParameters | ZooModel, folder: Path) -> dict[str, str]:
    paths = {"factory": _factory(model.factory, folder)}
    if file := weights_file(model.weights, folder):
        paths["weights"] = str(file)
    return paths


def _factory(text: str, folder: Path) -> str:
    place, _, attribute = text.rpartition(":")
    if not place.endswith(".py"):
        return text
    return f"{folder / expanded(place)}:{attribute}"


def _cluster(cluster: str, folder: Path) -> str:
    if Path(cluster).suffix in _SUFFIXES:
        return str(folder / expanded(cluster))
    return cluster


def _explain(section: type[BaseModel], error: dict[str, Any]) -> tuple[str, str]:
    """The key, with its value if that is refused, and the reason."""
    kind, place = error["type"], error["loc"]
    # An unknown key may have the name of a branch.
    last = [place[-1]] if kind == "extra_forbidden" else []
    loc = [part for part in place[: len(place) - len(last)] if not _is_union_branch(part)] + last
    key = shown(".".join(str(part) for part in loc), 200) or "the file"
    if kind == "extra_forbidden":
        allowed = _keys_at(section, loc[:-1])
        near = nearest(str(loc[-1]), allowed)
        return f"{key}: unknown key{near}; ", f"allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: ", "missing; it must be given"
    if kind == "value_error":
        return f"{key}: ", str(error["ctx"]["error"])
    head = f"{key}: {shown(repr(error['input']))} is refused; "
    if kind == "string_pattern_mismatch" and loc[-1] == "factory":
        return head, "write module:callable or path/to/file.py:callable"
    if kind == "string_pattern_mismatch" and loc[-1] == "address":
        return head, "write protocol://host:port, such as tcp://host:8786"
    message = error["msg"][0].lower() + error["msg"][1:]
    return head, message.removeprefix("input ")


def _is_union_branch(part: object) -> bool:
    # pydantic puts the branch of a union into the location of the error.
    return isinstance(part, str) and (
        part.startswith(("literal[", "list[", "constrained-", "function-")) or part == "none"
    )


def _keys_at(section: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    current: Any = section
    parts = iter(loc)
    for part in parts:
        if isinstance(part, int):
            continue  # a position in a list of sections
        annotation = _fields(current)[str(part)].annotation
        if get_origin(annotation) is dict:
            next(parts, None)  # a key that the person chose, such as a layer's name
        current = _inner_model(annotation)
    return list(_fields(current))


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by their keys in a run file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inner_model(argument) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)


def nearest(word: str, words: Iterable[str]) -> str:
    """The hint that a refusal adds if one of the words resembles the given one."""
    by_folded = {known.casefold(): known for known in words}
    near = difflib.get_close_matches(word[:200].casefold(), by_folded, n=1)
    return f" (did you mean {by_folded[near[0]]!r}?)" if near else ""
