"""Run files and presets: YAML to run parameters, with errors that name key, value and bounds."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from schemas.parameters import (
    ClusterParameters,
    ModelParameters,
    RunError,
    RunParameters,
    weights_file,
)
from schemas.zoo import ZooModel, ZooParameters

Section = TypeVar("Section", bound=BaseModel)

_SUFFIXES = {".yaml", ".yml"}
_FILES = {"presets": "run", "zoos": "zoo"}


def presets(kind: str = "presets") -> dict[str, str]:
    """Names of the files that come with the package, each with its first comment line.

    Parameters
    ----------
    kind
        presets (runs) or zoos (lists of models).
    """
    files = resources.files("schemas") / kind
    found = {}
    for file in sorted(files.iterdir(), key=lambda f: f.name):
        path = Path(file.name)
        if path.suffix in _SUFFIXES:
            found[path.stem] = file.read_text().splitlines()[0].lstrip("# ")
    return found


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
    return _with_paths(check(RunParameters, content, source), folder)


def load_zoo(source: str, overrides: Iterable[str] = ()) -> ZooParameters:
    """A list of models from the name of one that comes with the package, or a YAML file.

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
    zoo = check(ZooParameters, content, source)
    if zoo.folder is not None:
        folder = folder / Path(zoo.folder).expanduser()
    models = [model.model_copy(update=_model_paths(model, folder)) for model in zoo.models]
    update = {"folder": str(folder), "models": models, "cluster": _cluster(zoo.cluster, folder)}
    return zoo.model_copy(update=update)


def _content(source: str, kind: str, overrides: Iterable[str]) -> tuple[dict[str, Any], Path]:
    """What a file that comes with the package or a person's own says, and the folder it is in."""
    path = Path(source).expanduser()
    known = presets(kind)
    if source in known:
        text = (resources.files("schemas") / kind / f"{source}.yaml").read_text()
        folder, name = Path.cwd(), source
    elif path.is_file():
        text, folder, name = path.read_text(), path.parent, path.stem
    elif path.suffix in _SUFFIXES or "/" in source:
        raise RunError(f"{_FILES[kind]} file {source!r} does not exist")
    else:
        near = nearest(source, known)
        raise RunError(
            f"unknown {kind.removesuffix('s')} {source!r}{near}; {kind}: {', '.join(known)}"
        )
    content = _mapping(text, source)
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
        what a refusal names.

    Raises
    ------
    RunError
        If anything is refused.
    """
    content = json.loads(text)
    for override in overrides:
        _override(content, override)
    _read_superclasses(content, source, Path.cwd())
    return _with_paths(check(RunParameters, content, source), Path.cwd())


def load_cluster(path: Path) -> ClusterParameters:
    """Cluster parameters from a YAML file.

    Raises
    ------
    RunError
        If the file does not exist or anything in it is refused.
    """
    if not path.is_file():
        raise RunError(
            f"cluster: {str(path)!r} is not auto, local, cuda, a scheduler address "
            "(such as tcp://host:8786) or a cluster file that exists"
        )
    return check(ClusterParameters, _mapping(path.read_text(), str(path)), str(path))


def check(section: type[Section], content: Mapping[str, Any], source: str) -> Section:
    """Validate a mapping read from a file.

    Raises
    ------
    RunError
        Naming each refused key, its value and what is allowed.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        lines = [_explain(section, dict(e)) for e in error.errors()]
        raise RunError(f"{source} is refused:\n" + "\n".join(f"  {x}" for x in lines)) from None


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"{source} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{source} must be a mapping of keys, not {type(content).__name__}")
    return content


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RunError(f"overrides: {override!r}: write key=value, such as images.per_class=50")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RunError(f"overrides: {override!r}: {text!r} is not a YAML value") from None
    *parents, last = key.strip().split(".")
    for parent in parents:
        inner = content.get(parent)
        if not isinstance(inner, dict):
            inner = content[parent] = {}
        content = inner
    content[last] = value


def _read_superclasses(content: Mapping[str, Any], source: str, folder: Path) -> None:
    """Put what a file of superclasses holds in place of its name: the store then records it."""
    significance = content.get("significance")
    if not isinstance(significance, dict) or not isinstance(significance.get("superclasses"), str):
        return
    named = significance["superclasses"]
    path = folder / Path(named).expanduser()
    if not path.is_file():
        raise RunError(
            f"{source} is refused:\n  significance.superclasses: file {named!r} does not exist"
        )
    significance["superclasses"] = _mapping(path.read_text(), named)


def _with_paths(parameters: RunParameters, folder: Path) -> RunParameters:
    """Make files named relative to the run file absolute: workers run in folders of their own."""
    images = parameters.images.model_copy(
        update={"factory": _factory(parameters.images.factory, folder)}
    )
    model = parameters.model.model_copy(update=_model_paths(parameters.model, folder))
    update = {"images": images, "model": model, "cluster": _cluster(parameters.cluster, folder)}
    return parameters.model_copy(update=update)


def _model_paths(model: ModelParameters | ZooModel, folder: Path) -> dict[str, str]:
    found = {"factory": _factory(model.factory, folder)}
    if file := weights_file(model.weights, folder):
        found["weights"] = str(file)
    return found


def _factory(text: str, folder: Path) -> str:
    place, _, attribute = text.rpartition(":")
    if not place.endswith(".py"):
        return text
    return f"{folder / Path(place).expanduser()}:{attribute}"


def _cluster(cluster: str, folder: Path) -> str:
    if Path(cluster).suffix in _SUFFIXES:
        return str(folder / Path(cluster).expanduser())
    return cluster


def _explain(section: type[BaseModel], error: dict[str, Any]) -> str:
    loc = [part for part in error["loc"] if not _is_union_branch(part)]
    key = ".".join(str(part) for part in loc) or "the file"
    value, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        allowed = _keys_at(section, loc[:-1])
        near = nearest(str(loc[-1]), allowed)
        return f"{key}: unknown key{near}; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: missing; it must be given"
    if kind == "value_error":
        return f"{key}: {error['ctx']['error']}"
    if kind == "string_pattern_mismatch" and loc[-1] == "factory":
        return f"{key}: {value!r} is refused; write module:callable or path/to/file.py:callable"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {value!r} is refused; {message.removeprefix('input ')}"


def _is_union_branch(part: object) -> bool:
    # pydantic puts the branch of a union it tried into the place of the error.
    return isinstance(part, str) and (
        part.startswith(("literal[", "list[", "constrained-")) or part == "none"
    )


def _keys_at(section: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    current: Any = section
    parts = iter(loc)
    for part in parts:
        annotation = current.model_fields[str(part)].annotation
        if get_origin(annotation) is dict:
            next(parts, None)  # a key of the person's own, such as a layer's name
        current = _inner_model(annotation)
    return list(current.model_fields)


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inner_model(argument) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)


def nearest(word: str, words: Iterable[str]) -> str:
    """What a refusal adds where one of the words is near the one that was meant."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
