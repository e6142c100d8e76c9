"""Questions to stores, whole and spoiled, and valid run files changed at random."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from benchmarks.refusal_case import RAN, REFUSED, TINY
from benchmarks.refusals import Case

#: Command lines that are refused, by kind; DIR is the folder of a finished run.
_ASKED = {
    "levels that are out of range": (
        "table DIR fc1 --quantile nan",
        "table DIR fc1 --quantile 1.5",
        "table DIR fc1 --quantile x",
        "table DIR fc1 --percentage inf",
        "table DIR fc1 --percentage 1e400",
        "table DIR fc1 --direction up",
        "hypergraph DIR fc1 --percentage 0",
        "hypergraph DIR fc1 --percentage -1",
        "hypergraph DIR fc1 --superclasses",
        "distinguish DIR left right --top 0",
        "distinguish DIR left right --top -5",
        "distinguish DIR left right --top x",
        "distinguish DIR left right --direction '\x1b'",
    ),
    "names that are not in the store": (
        "table DIR fc9",
        "table DIR ''",
        "table DIR ../x",
        "table DIR '\x1b[31mfc1'",
        "table DIR '\udcff'",
        f"hypergraph DIR {'x' * 5000}",
        "distinguish DIR left up",
        "distinguish DIR left left",
        "distinguish DIR left right --layer zzz*",
        "distinguish DIR left right --layer [",
        "distinguish DIR '\u202e' 'a\nb'",
        "steps DIR fc9 0",
        f"steps DIR fc1 {'0' * 400}",
        "steps DIR fc1 '\x1b[2J'",
        "steps DIR fc1 ''",
    ),
    "vectors that are not there": (
        "steps DIR fc1 00 --vectors -1 0 --run mine.yaml",
        "steps DIR fc1 00 --vectors 0 0 --run mine.yaml",
        "steps DIR fc1 00 --vectors 0 99 --run mine.yaml",
        f"steps DIR fc1 00 --vectors 0 {2**70} --run mine.yaml",
        "steps DIR fc1 00 --vectors a b --run mine.yaml",
        "steps DIR fc1 00 --vectors 1",
    ),
    "code that only a store names": ("steps DIR fc1 00", "steps DIR conv1 05"),
    "files that answers cannot go to": (
        "table DIR fc1 --out t.xlsx",
        "table DIR fc1 --out no/t.csv",
        "table DIR fc1 --out ''",
        f"table DIR fc1 --out {'x' * 300}.csv",
        "table DIR fc1 --out /proc/t.csv",
        "table DIR fc1 --out /dev/null/t.csv",
        "hypergraph DIR fc1 --out g.txt",
        "hypergraph DIR fc1 --out no/g.json",
        "hypergraph DIR fc1 --out /proc/g.json",
        "hypergraph DIR fc1 --out '~no-such-user/g.json'",
        "steps DIR fc1 00 --run mine.yaml --out no/s.html",
        "steps DIR fc1 00 --run mine.yaml --out ''",
        "steps DIR fc1 00 --run mine.yaml --out /proc/s.html",
        f"steps DIR fc1 00 --run mine.yaml --out {'x' * 300}.html",
    ),
    "arguments of the wrong number": (
        "",
        "runn",
        "run a b",
        "table",
        "table DIR",
        "steps DIR",
        "distinguish DIR a",
        "run --out",
        "presets x",
        "check",
        "check DIR x",
        "run --no-such",
        "capacity",
        "--version-of-it",
        "layers --out x",
    ),
    "changes to a store that is asked": (
        "steps DIR fc1 00 --set images.kwargs.root",
        "steps DIR fc1 00 --set name=[ --run mine.yaml",
        "steps DIR fc1 00 --set model.factory=os:sep --run mine.yaml",
        "steps DIR fc1 00 --run nothing",
        "steps DIR fc1 00 --run digits",
        "steps DIR fc1 00 --set 'images.kwargs={seed: 3}' --run mine.yaml",
        "steps DIR fc1 00 --set 'model.kwargs={seed: 3}' --run mine.yaml",
        "steps DIR fc1 00 --set exemplars=0 --run mine.yaml",
    ),
}

_ANSWERED = (
    "table DIR fc1",
    "table DIR fc1 --out t.csv",
    "table DIR fc1 --percentage 1e-300",
    "hypergraph DIR fc1",
    "hypergraph DIR fc1 --out g.json",
    "distinguish DIR left right",
    f"distinguish DIR left right --top {2**62}",
    "steps DIR fc1 00 --run mine.yaml",
    "steps DIR conv1 00 --run mine.yaml --vectors 1 0",
    "check DIR",
    "presets",
    "layers digits",
    "run --help",
)


def questions(finished: Path) -> Iterator[Case]:
    """What a finished run is asked: what it cannot answer, and what it can.

    Parameters
    ----------
    finished
        its folder.
    """
    own = {"mine.yaml": yaml.safe_dump(TINY).encode()}
    for kind, several in _ASKED.items():
        for line in several:
            arguments = [str(finished) if word == "DIR" else word for word in shlex.split(line)]
            yield Case(kind, tuple(arguments), own, expected=REFUSED)
    for line in _ANSWERED:
        arguments = [str(finished) if word == "DIR" else word for word in shlex.split(line)]
        yield Case("questions that are answered", tuple(arguments), own, expected=RAN)


def stores(finished: Path) -> Iterator[Case]:
    """Stores of garbage, of which a finished run is one, and folders of no run."""

    def made(spoil: Callable[[Path], object]) -> Callable[[Path], object]:
        def before(folder: Path) -> None:
            store = Path(shutil.copytree(finished, folder / "run")) / "store.zarr"
            spoil(store)

        return before

    def root(change: Callable[[str], str]) -> Callable[[Path], object]:
        def spoil(store: Path) -> None:
            file = store / "zarr.json"
            file.write_text(change(file.read_text()))

        return spoil

    spoiled: dict[str, Callable[[Path], object]] = {
        "empty": lambda store: (shutil.rmtree(store), store.mkdir()),
        "a file": lambda store: (shutil.rmtree(store), store.write_bytes(b"x")),
        "gone": shutil.rmtree,
        "a loop": lambda store: (shutil.rmtree(store), store.symlink_to(store.name)),
        "no JSON": root(lambda _: "{"),
        "a list": root(lambda _: "[]"),
        "deep": root(lambda _: "[" * 100_000),
        "no attributes": root(lambda _: '{"zarr_format": 3, "node_type": "group"}'),
        "another version": root(
            lambda text: text.replace('"format_version": "', '"format_version": "9')
        ),
        "parameters of garbage": root(lambda text: text.replace("TinyNetwork", "\\u0000:\\ud800")),
        "a pipe": lambda store: ((store / "zarr.json").unlink(), os.mkfifo(store / "zarr.json")),
    }
    commands = (
        ("table", "run", "fc1"),
        ("hypergraph", "run", "fc1"),
        ("distinguish", "run", "left", "right"),
        ("steps", "run", "fc1", "00", "--trust"),
        ("check", "run"),
    )
    for what, spoil in spoiled.items():
        for arguments in commands:
            # The check names a damage with status 1, and refuses what is no store at all.
            yield Case(f"stores of garbage: {what}", arguments, {}, made(spoil), REFUSED)
    for arguments in commands:
        for folder in ("", "nowhere", "/dev/null", "a\udcff", "x" * 5000, "~no-such-user"):
            yield Case(
                "folders of no run", (arguments[0], folder, *arguments[2:]), {}, expected=REFUSED
            )
