"""Callables that a run file names as ``module:callable`` or ``path/to/file.py:callable``."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ddp_tasks.callables.file_modules import file_module
from ddp_tasks.callables.source_code import source_files
from schemas.parameters import RunError
from schemas.shown import error_shown

#: Modules that are different in each process.
_OF_THE_SESSION = ("__main__", "__mp_main__")


def resolve(factory: str) -> Callable[..., Any]:
    """The callable behind a factory's name.

    Raises
    ------
    RunError
        If the module or file does not import, or has no such callable.
    """
    place, _, attribute = factory.rpartition(":")
    module = _module(place, factory)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise RunError(f"factory {factory!r}: {place} has no {part!r}{hint}")
        value = getattr(value, part)
    if not callable(value):
        raise RunError(f"factory {factory!r} is a {type(value).__name__}, not a callable")
    return value


def call(factory: str, kwargs: Mapping[str, Any]) -> Any:
    """Call a factory with keyword arguments; a leading ``~/`` in them means the home folder.

    Raises
    ------
    RunError
        If the factory does not resolve or its call fails; its own ``RunError`` if it raises one.
    """
    function = resolve(factory)
    expanded = {key: _expanded(value) for key, value in kwargs.items()}
    try:
        return function(**expanded)
    except (RunError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the person's own code may raise anything
        # Only the names, since values may be keys and passwords.
        arguments = ", ".join(expanded)
        raise RunError(
            f"factory {factory!r} called with ({arguments}) failed: {error_shown(error)}"
        ) from error


def _expanded(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("~/"):
        return str(Path(value).expanduser())
    return value


def _module(place: str, factory: str) -> ModuleType:
    if place.partition(".")[0] in _OF_THE_SESSION:
        raise RunError(
            f"factory {factory!r}: Dask workers cannot see what a notebook or a script defines; "
            "put it in a file of its own and write path/to/file.py:callable"
        )
    try:
        if not place.endswith(".py"):
            module = importlib.import_module(place)
        else:
            path = Path(place).expanduser().resolve()
            if not path.is_file():
                raise RunError(f"factory {factory!r}: file {str(path)!r} does not exist")
            module = file_module(path)
    except (RunError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a module's own code may raise anything
        reason = error_shown(error)
        if isinstance(error, ModuleNotFoundError) and error.name == place.partition(".")[0]:
            reason += f"; write path/to/{error.name}.py:callable, or name its folder in PYTHONPATH"
        raise RunError(f"factory {factory!r} does not import: {reason}") from error
    _refuse_changed(place, factory)
    return module


#: Digests of files that this process cannot import anew, as they were at their import.
_IMPORTED: dict[Path, str] = {}


def _refuse_changed(place: str, factory: str) -> None:
    """Refuse code that changed after this process imported it, if it cannot be imported anew."""
    for file in source_files(factory):
        if place.endswith(".py") and file.is_relative_to(Path(place).expanduser().resolve().parent):
            continue  # ``file_module`` reads these anew
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if _IMPORTED.setdefault(file, digest) != digest:
            raise RunError(
                f"factory {factory!r}: {str(file)!r} has changed since a process on "
                f"{socket.gethostname()} imported it; start that process (a Dask worker, a "
                "notebook) again, or write path/to/file.py:callable, which is read again each time"
            )
