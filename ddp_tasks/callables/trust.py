"""Which code named by a store may be called: a store is data, and anybody may have written it.

Unless a person says that they trust it, a recorded run may call only factories that this project's
presets name, with harmless arguments: those of the presets, switches and small numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.object_paths import path_of
from schemas.parameters import RunError, RunParameters
from schemas.recording import not_recorded
from schemas.run_files import load_run, presets

#: Greatest number that a store may give as an argument, such as a network's depth.
_LARGEST = 1000

_WHOSE = (
    "a store is data, and nothing that it names is run unless you say so: trust it, or name "
    "the run file that it came from"
)

_NAME = "Name the run file that it came from, or give the value"


def check_trusted(run: RunParameters, own: Collection[str], folder: Path) -> None:
    """Refuse a recorded run that would call code that only its store names.

    Parameters
    ----------
    run
        as recorded, with the person's changes.
    own
        dotted keys that the person gave.
    folder
        of the store; a checkpoint in it may be read, since that runs no code.

    Raises
    ------
    RunError
        Naming the key, its value and what to do.
    """
    known = [load_run(name) for name in presets()]
    for section in ("model", "images"):
        parameters = getattr(run, section)
        same = [
            getattr(p, section) for p in known if getattr(p, section).factory == parameters.factory
        ]
        if not same and not _given(f"{section}.factory", own):
            raise RunError(
                f"{section}.factory: the store names {parameters.factory!r}; {_WHOSE}",
                change=("trust",),
            )
        for key, value in parameters.kwargs.items():
            name = f"{section}.kwargs.{key}"
            if not (_given(name, own) or _harmless(value) or _of_preset(key, value, same)):
                raise RunError(
                    f"{name}: the store names {value!r}; {_WHOSE}", change=("trust", name)
                )
    weights = run.model.weights
    of_preset = any(
        p.model.weights == weights and p.model.factory == run.model.factory for p in known
    )
    beside = weights is not None and path_of(weights).resolve().parent == folder.resolve()
    if not (weights is None or of_preset or beside or _given("model.weights", own)):
        raise RunError(
            f"model.weights: the store names {weights!r}; {_WHOSE}",
            change=("trust", "model.weights"),
        )


def check_given(run: RunParameters) -> None:
    """Refuse a recorded run without the values that stores do not record: paths and secrets.

    Raises
    ------
    RunError
        Naming the key and what to do.
    """
    for section in ("model", "images"):
        parameters = getattr(run, section)
        place = parameters.factory.rpartition(":")[0]
        if place.endswith(".py") and not Path(place).expanduser().is_file():
            raise RunError(
                f"{section}.factory: the store was made with code in {Path(place).name!r}, "
                f"whose folder is not recorded; {place!r} does not exist. {_NAME}",
                change=("run", f"{section}.factory"),
            )
        for key, what in not_recorded(parameters.kwargs):
            name = f"{section}.kwargs.{key}"
            raise RunError(
                f"{name}: the store has {what!r} in its place. {_NAME}", change=("run", name)
            )


def keys_of(overrides: Sequence[str]) -> set[str]:
    """The dotted keys of ``key=value`` texts."""
    return {text.partition("=")[0].strip() for text in overrides}


def _given(name: str, own: Collection[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in own)


def _harmless(value: Any) -> bool:
    return value is None or (isinstance(value, bool | int) and abs(value) <= _LARGEST)


def _of_preset(key: str, value: Any, same: Sequence[Any]) -> bool:
    kwargs: list[Mapping[str, Any]] = [section.kwargs for section in same]
    return any(key in given and given[key] == value for given in kwargs)
