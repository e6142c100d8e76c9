"""How the commands of ``ddp`` are called: paths as they are written, and an end of their own.

Little is imported here: see ``flows.cli``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands that no code which a person named ends, be it by ``sys.exit``."""

    def invoke(self, ctx: Any) -> Any:
        """As of Click."""
        from ddp_tasks.callables.called_code import answering
        from schemas.run_error import RunError

        try:
            with answering("the code that is run"):
                return self._invoked(ctx)
        except KeyboardInterrupt:  # no Ctrl-C, which ends the process: see ``stopping``
            raise RunError("the code that is run raises KeyboardInterrupt") from None

    def _invoked(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SystemExit as ended:  # of Rich, where nobody reads a help text to its end
            if isinstance(ended.__context__, BrokenPipeError):
                raise typer.Exit(1) from None
            raise


def path(text: str) -> Path:
    """A path as it is written, which is not the folder at hand where it is empty."""
    from schemas.paths import expanded
    from schemas.run_error import RunError
    from schemas.shown import shown

    try:
        expanded(text)
    except RunError as error:
        raise typer.BadParameter(shown(str(error), 300)) from None
    return Path(text)


def without_dask() -> None:
    """Have xarray take Dask for not installed in this process, which reads numbers and ends.

    Where Dask is installed, the first selection by label imports ``dask.array``, which with SciPy
    takes longer than all else that such a command does.
    """
    sys.modules.setdefault("dask", None)  # type: ignore[arg-type]
