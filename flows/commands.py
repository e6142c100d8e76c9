"""How the commands of ``ddp`` are called: their paths, and how they end.

Little is imported here: see ``flows.cli``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands that code which a person named cannot end, not even by ``sys.exit``."""

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


def path(text: str) -> Path:
    """A path as a person writes it; an empty one is refused, not taken for the current folder."""
    from schemas.paths import expanded
    from schemas.run_error import RunError
    from schemas.shown import shown

    try:
        expanded(text)
    except RunError as error:
        raise typer.BadParameter(shown(str(error), 300)) from None
    return Path(text)


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
    Path, typer.Argument(metavar="DIR", parser=path, help="The folder of a finished run.")
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
