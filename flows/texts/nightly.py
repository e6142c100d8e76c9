"""What a night over a folder of checkpoints came to, in Prefect's UI and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddp_tasks.stages.artifacts import as_text
from flows.result_places import served_at
from flows.texts.columns import columns

#: Of a checkpoint: analysed in this night; known from before; left, since it is still being
#: written; failed.
Came = Literal["analysed", "known", "left", "failed"]

_LONGEST_CAUSE = 1000


@dataclass(frozen=True)
class Checkpoint:
    """A file of the folder, and what came of it."""

    name: str
    came: Came
    folder: Path | None = None
    """of the run that analyses its weights."""
    why: str = ""


@dataclass(frozen=True)
class Night:
    """All checkpoints of a folder, the last changed last, and the comparison of the newest."""

    checkpoints: tuple[Checkpoint, ...]
    comparison: Path | None = None
    """page that compares the newest with the one before."""
    not_compared: str = ""
    """why there is none, if that is an error."""

    @property
    def failed(self) -> list[str]:
        """What failed, each with its cause."""
        named = [f"{one.name}: {one.why}" for one in self.checkpoints if one.came == "failed"]
        return [*named, *([f"comparison: {self.not_compared}"] if self.not_compared else [])]


def counted(checkpoints: Sequence[Checkpoint]) -> str:
    """How many came to what, in words."""
    said = {
        "analysed": "analysed",
        "known": "known from before",
        "left": "left for the next night",
        "failed": "failed",
    }
    numbers = {came: sum(one.came == came for one in checkpoints) for came in said}
    return ", ".join(f"{n} {said[came]}" for came, n in numbers.items() if n) or "no checkpoint"


def night_lines(night: Night) -> str:
    """The night as a terminal shows it."""
    rows = [(one.name, one.came, one.folder or "", one.why) for one in night.checkpoints]
    lines = columns(("checkpoint", "", "run", ""), rows) if rows else []
    lines += ["", counted(night.checkpoints)]
    if night.comparison is not None:
        lines.append(str(night.comparison))
    return "\n".join(lines)


def night_markdown(title: str, night: Night) -> str:
    """The night as a page of Markdown."""
    lines = [
        f"# {as_text(title)}",
        "",
        f"{counted(night.checkpoints)}.",
        "",
        "| checkpoint | | run | |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {as_text(one.name)} | {'**failed**' if one.came == 'failed' else one.came} "
        f"| {'' if one.folder is None else _link(one.folder.name, one.folder / 'report.html')} "
        f"| {as_text(one.why, _LONGEST_CAUSE)} |"
        for one in night.checkpoints
    ]
    if night.comparison is not None:
        told = _link(night.comparison.stem, night.comparison)
        lines += ["", f"The newest compared with the one before: {told}"]
    if night.not_compared:
        lines += ["", f"**Not compared**: {as_text(night.not_compared, _LONGEST_CAUSE)}"]
    return "\n".join(lines)


def _link(name: str, file: Path) -> str:
    address = served_at(file)
    return f"[{as_text(name)}]({address})" if address else as_text(name)
