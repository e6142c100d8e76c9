"""Callables that a run file names as ``module:callable`` or ``path/to/file.py:callable``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas.parameters import RunError


def resolve(factory: str) -> Callable[..., Any]:
    """The callable behind a factory's name.

    Raises
    ------
    RunError
        If the module or file does not import, or has no such callable.
    """
    place, _, attribute = factory.rpartition(":")
    module = _module(place, factory)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise RunError(f"factory {factory!r}: {place} has no {part!r}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise RunError(f"factory {factory!r} is a {type(found).__name__}, not a callable")
    return found


def call(factory: str, kwargs: Mapping[str, Any]) -> Any:
    """Call a factory with keyword arguments, in which a leading ``~/`` is the home folder.

    Raises
    ------
    RunError
        If the factory does not resolve or refuses its arguments; its own where it raises one.
    """
    function = resolve(factory)
    expanded = {key: _expanded(value) for key, value in kwargs.items()}
    try:
        return function(**expanded)
    except RunError:
        raise
    except Exception as error:  # the person's own code: whatever it raises is the answer
        arguments = ", ".join(f"{key}={value!r}" for key, value in expanded.items())
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"factory {factory!r} called with ({arguments}) failed: {reason}") from error


def _expanded(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("~/"):
        return str(Path(value).expanduser())
    return value


def _module(place: str, factory: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except Exception as error:  # a module's own code may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise RunError(f"factory {factory!r} does not import: {reason}") from error
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise RunError(f"factory {factory!r}: file {str(path)!r} does not exist")
    # A name of the file's own, so that two files of one name do not meet in sys.modules.
    name = f"ddp_factory_{path.stem}_{abs(hash(str(path)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RunError(f"factory {factory!r}: {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"factory {factory!r} does not import: {reason}") from error
    return module
