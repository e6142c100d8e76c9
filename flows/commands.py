"""How the commands of ``ddp`` are called: their paths, and how they end.

Little is imported here: see ``flows.cli``.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands whose usage errors are refusals like all others.

    Code that a person named cannot end them, not even by ``sys.exit``.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """As in Typer, which would show five lines and a box where two lines do."""
        from schemas.run_error import RunError

        try:
            ended = super().main(*args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            sys.exit(1)
        except typer.TyperException as error:
            if said := _usage(error):
                raise RunError(said) from None
            sys.exit(2)
        sys.exit(ended if isinstance(ended, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """As in Click."""
        from ddp_tasks.callables.called_code import answering
        from schemas.run_error import RunError

        try:
            with answering("the code that is run"):
                return self._invoked(ctx)
        except KeyboardInterrupt:  # not Ctrl-C, which ends the process: see ``stopping``
            raise RunError("the code that is run raises KeyboardInterrupt") from None

    def _invoked(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SystemExit as ended:  # of Rich, if a help text is not read to its end
            if isinstance(ended.__context__, BrokenPipeError):
                raise typer.Exit(1) from None
            raise


def _usage(error: typer.TyperException) -> str:
    """What is wrong with a command line, and where what is right stands; empty after the help."""
    ctx = getattr(error, "ctx", None)
    said = getattr(error, "format_message", error.__str__)().strip().rstrip(".")
    said = f"{said[:1].lower()}{said[1:]}"
    return said and (f"{said}\n  {ctx.command_path} --help says what is allowed" if ctx else said)


def path(text: str) -> Path:
    """A path as a person writes it; an empty one is refused, not taken for the current folder.

    An address in an object store must answer.
    """
    from schemas.object_paths import ObjectPath
    from schemas.paths import expanded
    from schemas.run_error import RunError
    from schemas.shown import shown

    try:
        address = expanded(text)
    except RunError as error:
        raise typer.BadParameter(shown(str(error), 300)) from None
    if not isinstance(address, ObjectPath):
        return Path(text)
    context = click.get_current_context(silent=True)
    if context is not None and context.resilient_parsing:
        return address  # while a person types
    try:
        address.answers()
    except OSError as error:
        why = f"{shown(text)}: {shown(str(error.strerror), 300)}"
        raise typer.BadParameter(why) from None
    return address


def finished(given: Path | list[Path]) -> Path | list[Path]:
    """Refuse a folder without a store before the libraries are imported that would read it."""
    from schemas.paths import check_store

    context = click.get_current_context(silent=True)
    if context is None or not context.resilient_parsing:
        for folder in given if isinstance(given, list) else [given]:
            # What may not be looked at is refused where it is read.
            with suppress(PermissionError):
                check_store(folder.expanduser() / "store.zarr")
    return given


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the run, such as images.per_class=20; the value is YAML. "
        "May be given more than once.",
    ),
]
ZooSet = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the list: folder=FOLDER where the checkpoints are, "
        "matrizations=[unfolded], fold_batch_norm=true, input_size, boundary_side, cluster, "
        "patience. May be given more than once.",
    ),
]
Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", parser=path, callback=finished, help="The folder of a finished run."
    ),
]
RunFile = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Your own run file, for the model and the images."),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="CLUSTER", help="Another cluster than the run's; see ddp run."),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code that the store names, whoever wrote it.")
]


def without_dask() -> None:
    """Make xarray believe that Dask is not installed, in a process that only reads numbers.

    Otherwise the first selection by label imports ``dask.array``, which with SciPy takes longer
    than everything else that such a command does.
    """
    sys.modules.setdefault("dask", None)  # type: ignore[arg-type]
