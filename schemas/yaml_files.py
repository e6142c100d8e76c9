"""YAML as people write it, read strictly: ambiguous text is refused, with its line.

Scalars are those of YAML 1.2 (``1e-3`` is a number, ``2024-01-01`` and ``010`` are text), but
``yes``, ``no``, ``on`` and ``off`` stay truth values, as PyYAML reads them: a factory
that got them as text would take both for true.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from schemas.run_error import RunError
from schemas.shown import shown

#: Limits of a file that a person writes; a greater one is a mistake or an attack.
_MOST_BYTES = 2**19
_MOST_NODES = 50_000
_DEEPEST = 40

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)",
    "float": r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}
_TAGS = {_TAG + name for name in (*_SCALARS, "str", "seq", "map")}


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Parameters
    ----------
    what
        name of the file in refusals.

    Raises
    ------
    RunError
        If it cannot be read, is not UTF-8, is too large, or as for ``mapping``.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise RunError(f"{what} does not exist") from None
        raise RunError(f"{what} cannot be read: {_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe would wait, and reading a device might not end.
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, device or socket"
        raise RunError(f"{what} is {kind}, not a file")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise RunError(f"{what} cannot be read: {_reason(error)}") from None
    if len(content) > _MOST_BYTES:
        raise RunError(f"{what} is too large: more than {_MOST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RunError(
            f"{what} is not UTF-8 text: line {line} holds the byte 0x{content[error.start]:02x}"
        ) from None
    return mapping(text, what)


def mapping(text: str, what: str) -> dict[str, Any]:
    """The mapping that a text holds: text, numbers, truth values and null, lists and mappings.

    Raises
    ------
    RunError
        If it is not YAML or not a mapping, if a key is given twice or is not text, or if its values
        are of another kind, nested too deeply, or too many with aliases written out.
    """
    content = value(text, what)
    if not isinstance(content, dict):
        raise RunError(f"{what} must be a mapping of keys, not {_KINDS.get(type(content), 'text')}")
    return content


_KINDS = {
    type(None): "empty",
    list: "a list",
    int: "a number",
    float: "a number",
    bool: "a truth value",
}


def value(text: str, what: str) -> Any:
    """The value that a text holds, of any kind; refused as by ``mapping``."""
    try:
        # Not yaml.load: this loader is our own, and safe.
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise RunError(f"{what} is refused: {_explain(error)}") from None
    except RecursionError:
        raise RunError(f"{what} is refused: it is nested too deeply") from None


def _explain(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"it holds the character {chr(error.character)!r}, which YAML does not allow"
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    mark = error.problem_mark or error.context_mark
    context = f"{error.context}, " if error.context and error.problem_mark else ""
    problem = shown(f"{context}{error.problem or error.note or ''}", 200)
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Loader(yaml.SafeLoader):
    """Refuses deep, endless or ambiguous YAML while it reads."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as its base declares it

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        # For each node, the number of nodes and the depth, with aliases written out.
        self._extent: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        self._depth += 1
        self._nodes += 1
        _check_extent(self._nodes, self._depth, mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._extent:
                raise ComposerError(None, None, f"*{event.anchor} contains itself", mark)
            return node
        if node.tag not in _TAGS:
            tag = shown(node.tag.removeprefix(_TAG))
            raise ComposerError(None, None, f"the type {tag} is not allowed here", mark)
        self._extent[id(node)] = self._extent_of(node)
        return node

    def _extent_of(self, node: Any) -> tuple[int, int]:
        inner: list[Any] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
            inner = [part for pair in node.value for part in pair]
        extents = [self._extent[id(part)] for part in inner]
        nodes = 1 + sum(n for n, _ in extents)
        depth = 1 + max((d for _, d in extents), default=0)
        _check_extent(nodes, depth, node.start_mark)
        return nodes, depth

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            # The value does not fit its tag, or has more digits than Python reads.
            kind = node.tag.removeprefix(_TAG)
            problem = f"{shown(repr(node.value))} is not of the type {kind}"
            raise ConstructorError(None, None, problem, node.start_mark) from None
        if isinstance(made, str) and not _is_text(made):
            problem = f"{shown(repr(made))} holds half a character (a surrogate)"
            raise ConstructorError(None, None, problem, node.start_mark)
        return made


for _name, _pattern in _SCALARS.items():
    # For any first character: only a match of the whole scalar counts.
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), None)


def _check_extent(nodes: int, depth: int, mark: Any) -> None:
    if nodes > _MOST_NODES:
        problem = f"it holds more than {_MOST_NODES:,} values, with aliases written out"
        raise ComposerError(None, None, problem, mark)
    if depth > _DEEPEST:
        raise ComposerError(None, None, f"it nests more than {_DEEPEST} levels", mark)


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TAG + "str", _TAG + "merge"):
            problem = "a key must be text, not a list or mapping"
            if isinstance(key, yaml.ScalarNode):
                problem = f"the key {shown(key.value)} is not text; write it in quotes"
            raise ComposerError(None, None, problem, key.start_mark)
        line = key.start_mark.line + 1
        if key.value in lines:
            problem = (
                f"the key {shown(repr(key.value))} is given twice, first in line {lines[key.value]}"
            )
            raise ComposerError(None, None, problem, key.start_mark)
        lines[key.value] = line


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
