"""How the commands of ``ddp`` are called: paths as they are written, and an end of their own.

Little is imported here: see ``flows.cli``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands that no code which a person named ends, be it by ``sys.exit``."""

    def invoke(self, ctx: Any) -> Any:
        """As of Click."""
        from ddp_tasks.callables.called_code import answering
        from schemas.parameters import RunError

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
    from schemas.parameters import RunError
    from schemas.paths import expanded
    from schemas.shown import shown

    try:
        expanded(text)
    except RunError as error:
        raise typer.BadParameter(shown(str(error), 300)) from None
    return Path(text)
