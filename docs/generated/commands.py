"""Reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from docs.generated.markdown import code, escaped, table
from flows import cli


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_command(name, command) for name, command in _commands())


def names() -> dict[str, list[str]]:
    """Of each command, the arguments and options that it takes."""
    return {
        name: [shown for parameter in command.params for shown in _names(parameter)]
        for name, command in _commands()
    }


def _commands() -> Iterator[tuple[str, Any]]:
    yield from typer.main.get_command(cli.app).commands.items()  # type: ignore[attr-defined]


def _command(name: str, command: Any) -> str:
    words = inspect.cleandoc(command.help or "").split("\n\n")
    usage = " ".join(
        ["ddp", name, *(_argument(p) for p in command.params if _is_argument(p)), "[OPTIONS]"]
    )
    rows = [
        (", ".join(map(code, _names(p))), escaped(p.help or ""), _default(p))
        for p in command.params
    ]
    told = "\n\n".join(map(escaped, words))
    return f"## `ddp {name}`\n\n```text\n{usage}\n```\n\n{told}\n\n" + (
        table(["argument or option", "meaning", "if left out"], rows) if rows else ""
    )


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _names(parameter: Any) -> list[str]:
    if _is_argument(parameter):
        return [_metavar(parameter)]
    value = parameter.metavar or ""
    own = [f"{option} {value}".strip() for option in parameter.opts]
    return [*own, *parameter.secondary_opts]


def _metavar(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _argument(parameter: Any) -> str:
    return _metavar(parameter) if parameter.required else f"[{_metavar(parameter)}]"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    plain = parameter.default is not None and not callable(parameter.default)
    return code(str(parameter.default)) if plain and parameter.default not in (False, ()) else ""
