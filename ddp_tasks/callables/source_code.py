"""A person's own Python files behind a factory, and digests of their content.

The files are found by following import statements, also those inside functions, without running
anything. So the result is the same in every process, whatever was imported before.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

#: Packages of this project; a run's identity has its format version instead of their code.
OWN_PACKAGES = ("schemas", "ddp_tasks", "flows")

#: Attempts to parse a source while another thread parses too.
_TRIES = 5


def code_digests(factory: str) -> dict[str, str]:
    """SHA-256 of each of a person's own files behind a factory, by its path below their folder.

    Parameters
    ----------
    factory
        ``module:callable`` or ``path/to/file.py:callable``.

    Returns
    -------
    empty if the code belongs to Python, an installed package or this project, or does not exist
    """
    digests: dict[str, str] = {}
    for file, root in source_files(factory).items():
        name = file.relative_to(root).as_posix()
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digests[name] = content if name not in digests else min(content, digests[name])
    return dict(sorted(digests.items()))


def source_files(factory: str) -> dict[Path, Path]:
    """A person's own files behind a factory, each with the folder that its imports start from."""
    start = _start(factory.rpartition(":")[0])
    if start is None:
        return {}
    roots: dict[Path, Path] = {}
    waiting = [start]
    while waiting:
        file, root = waiting.pop()
        if file not in roots:
            roots[file] = root
            waiting += _imported(file, root)
    return roots


def is_own(path: Path) -> bool:
    """Whether a file is neither Python's, nor of an installed package, nor of this project."""
    return not any(path.is_relative_to(folder) for folder in _others())


def _start(place: str) -> tuple[Path, Path] | None:
    if place.endswith(".py"):
        path = Path(place).expanduser().resolve()
        return (path, path.parent) if path.is_file() else None
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError, AttributeError, TypeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin).resolve()
    depth = place.count(".") + (path.name == "__init__.py")
    return (path, path.parents[depth]) if is_own(path) else None


def _imported(file: Path, root: Path) -> Iterator[tuple[Path, Path]]:
    try:
        stated = _imports(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return  # the import itself reports this
    for name, level in stated:
        if not level:
            yield from _absolute(name, root)
        elif len(file.parents) >= level:
            yield from ((module, root) for module in _modules(file.parents[level - 1], name))


@lru_cache(maxsize=256)
def _imports(source: bytes) -> tuple[tuple[str, int], ...]:
    """The imports in a source: dotted names, and how many folders up each starts."""
    imports: dict[tuple[str, int], None] = {}
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            imports |= {(alias.name, 0): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module or ''}.{a.name}" for a in node.names)]
            imports |= {(name, node.level): None for name in names}
    return tuple(imports)


def _absolute(name: str, root: Path) -> Iterator[tuple[Path, Path]]:
    if name.partition(".")[0] in OWN_PACKAGES:
        return
    for folder in dict.fromkeys((root, *map(_resolved, sys.path))):
        files = list(_modules(folder, name))
        if files:
            yield from ((file, folder) for file in files if is_own(file))
            return


def _resolved(folder: str) -> Path:
    # A relative path depends on the current folder.
    return _resolved_once(folder) if Path(folder).is_absolute() else Path(folder).resolve()


@lru_cache(maxsize=256)
def _resolved_once(folder: str) -> Path:
    return Path(folder).resolve()


def _modules(folder: Path, name: str) -> Iterator[Path]:
    """The files that the import of a dotted name runs, looked up in a folder."""
    for part in filter(None, name.split(".")):
        if (package := folder / part / "__init__.py").is_file():
            yield package
        elif (module := folder / f"{part}.py").is_file():
            yield module
        elif not (folder / part).is_dir():
            return
        folder /= part


@lru_cache(maxsize=1)
def _others() -> tuple[Path, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    installed = [Path(path).resolve() for path in paths if path]
    here = Path(__file__).resolve().parents[2]
    return tuple(dict.fromkeys([*installed, *(here / name for name in OWN_PACKAGES)]))


def _parsed(source: bytes) -> ast.Module:
    """The syntax tree of a source."""
    for _ in range(_TRIES):
        try:
            return ast.parse(source)
        except SystemError:
            # Python 3.11 adds up the depths of the trees that two threads parse; try again.
            continue
    return ast.parse(source)
