"""Reference of the rooms' public surfaces: what other code may import, with its docstrings."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from docs.generated.markdown import escaped

_ROOT = Path(__file__).resolve().parents[2]

#: What notebooks use stands first.
_FIRST = ("queries", "figures")


def surfaces() -> dict[str, list[str]]:
    """Of each room that lists public names, these names."""
    rooms = sorted(file.parent.name for file in (_ROOT / "ddp_tasks").glob("*/__init__.py"))
    order = [*_FIRST, *(room for room in rooms if room not in _FIRST)]
    listed = {
        room: getattr(importlib.import_module(f"ddp_tasks.{room}"), "__all__", ()) for room in order
    }
    return {room: sorted(names) for room, names in listed.items() if names}


def rooms() -> str:
    """One section for each room, which Sphinx fills from the docstrings."""
    return "\n".join(_room(room, names) for room, names in surfaces().items())


def _room(room: str, names: list[str]) -> str:
    module = importlib.import_module(f"ddp_tasks.{room}")
    first = (module.__doc__ or "").partition("\n")[0]
    blocks = "\n".join(_entry(module, name) for name in names)
    return f"## `ddp_tasks.{room}`\n\n{escaped(first)}\n\n```{{eval-rst}}\n{blocks}```\n"


def _entry(module: object, name: str) -> str:
    value = getattr(module, name)
    address = f"{module.__name__}.{name}"  # type: ignore[attr-defined]
    if inspect.isclass(value):
        return f".. autoclass:: {address}\n   :members:\n"
    if callable(value):
        return f".. autofunction:: {address}\n"
    return f".. autodata:: {address}\n   :no-value:\n"
