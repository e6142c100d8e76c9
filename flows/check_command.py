"""The command ``ddp check``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import path
from flows.terminal import say


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", parser=path, help="The folder of a run, or of a list of models."
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="DIR2", parser=path, help="Another, to compare its results with."),
    ] = None,
) -> None:
    """Read every file of a run's results, and say which are not as they were written.

    With two folders, compare their results bit for bit instead: every array of both stores and
    every hypergraph. Differences in how or when a run was made are printed as notes. Ends with
    status 0 if everything is whole or equal, and with 1 otherwise; each damage and each
    difference is one line.
    """
    from rich.console import Console
    from rich.text import Text

    both = f"{folder} and {other}" if other else str(folder)
    with Console(stderr=True).status(Text(f"reading {both}")) as status:

        def reading(part: str) -> None:
            status.update(Text(f"reading {part} of {both}"))

        if other is None:
            count, one, many = _damages(folder.expanduser(), reading), "damage", "damages"
        else:
            count = _differences(folder.expanduser(), other.expanduser(), reading)
            one, many = "difference", "differences"
    if count:
        say(f"{both}: {count:,} {one if count == 1 else many}")
        raise typer.Exit(1)
    say(f"{both}: {'the same results' if other else 'whole'}")


def _damages(folder: Path, reading: Callable[[str], None]) -> int:
    """Print every damage of a folder; return their number."""
    from ddp_tasks.store import wholeness

    count = 0
    for damage in wholeness.check_folder(folder, reading):
        say(damage)
        count += 1
    return count


def _differences(folder: Path, other: Path, reading: Callable[[str], None]) -> int:
    """Print every difference of two folders' results, then the notes; return their number."""
    from ddp_tasks.queries import comparison

    count, notes = 0, []
    for difference in comparison.compare_folders(folder, other, reading):
        if difference.of_results:
            say(difference)
            count += 1
        else:
            notes.append(difference)
    for note in notes:
        say(f"note: {note}")
    return count
