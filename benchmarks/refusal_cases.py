"""All cases of ``refusals``: the fixed ones, and valid run files changed at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks import refusal_code, refusal_run_files, refusal_stores
from benchmarks.refusal_case import RAN, TINY, changed, run_case
from benchmarks.refusals import Case, tried
from schemas.parameters import RunParameters


def finish_tiny_run(room: Path) -> Path:
    """The folder of the tiny run, carried out.

    Raises
    ------
    RuntimeError
        If it does not finish.
    """
    room.mkdir()
    ended = tried(run_case("the tiny run"), room)
    if ended.ending != RAN:
        raise RuntimeError(ended.said)
    return room / "here" / "out"


def all_cases(finished: Path, mutations: int, seed: int) -> Iterator[Case]:
    """Every case: the fixed ones, and valid run files changed at random.

    Parameters
    ----------
    finished
        the folder of a finished run, which stays as it is.
    """
    for kinds in (
        *(refusal_run_files.texts, refusal_run_files.values, refusal_run_files.places),
        *(refusal_run_files.clusters, refusal_code.code, refusal_code.data),
        *(refusal_code.networks, refusal_code.checkpoints, refusal_code.zoos),
    ):
        yield from kinds()
    yield from refusal_stores.questions(finished)
    yield from refusal_stores.stores(finished)
    yield from mutated(mutations, seed)


def mutated(number: int, seed: int) -> Iterator[Case]:
    """Valid run files changed at random, in values and in bytes."""
    drawn = random.Random(seed)
    for _ in range(number):
        kind, text = drawn.choice(_CHANGES)(drawn)
        yield Case(
            f"a valid run file: {kind}", ("run", "mine.yaml", "--out", "out"), {"mine.yaml": text}
        )


def _valid() -> dict[str, Any]:
    whole = RunParameters.model_validate(changed(TINY, {"model.training": {"epochs": 1}}))
    return whole.model_dump(mode="json")


def _odd_value(drawn: random.Random) -> Any:
    return drawn.choice([
        None, True, 0, 1, -1, 2, 0.5, 2**31, 2**63, 1e-9, 1e308, "", "a", "all", "auto", [], [0],
        ["a"], {}, {"a": 1}, "é", "../x", [None], [0.5], "fc1", "\x7f", 100, "1", [["a"]],
    ])  # fmt: skip


def _places_in(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _places_in(value, (*path, key))


def _at_random(drawn: random.Random, change: Callable[[dict[str, Any], str], object]) -> bytes:
    content = _valid()
    *parents, last = drawn.choice(list(_places_in(content)))
    at = content
    for parent in parents:
        at = at[parent]
    change(at, last)
    return yaml.safe_dump(content, allow_unicode=True).encode()


def _another_value(drawn: random.Random) -> tuple[str, bytes]:
    def change(at: dict[str, Any], key: str) -> None:
        at[key] = _odd_value(drawn)

    return "another value", _at_random(drawn, change)


def _without_a_key(drawn: random.Random) -> tuple[str, bytes]:
    return "without a key", _at_random(drawn, lambda at, key: at.pop(key))


def _with_a_key(drawn: random.Random) -> tuple[str, bytes]:
    def change(at: dict[str, Any], key: str) -> None:
        at[key + drawn.choice(["", "s", "_", " "])] = _odd_value(drawn)

    return "one more key", _at_random(drawn, change)


def _nested(drawn: random.Random) -> tuple[str, bytes]:
    def change(at: dict[str, Any], key: str) -> None:
        at[key] = drawn.choice([{key: at[key]}, [at[key]], str(at[key])])

    return "a value nested", _at_random(drawn, change)


def _another_number(drawn: random.Random) -> tuple[str, bytes]:
    def change(at: dict[str, Any], key: str) -> None:
        if isinstance(at[key], int | float):
            at[key] = drawn.choice(
                [at[key] * 10, at[key] + 1, -at[key], at[key] / 3, at[key] * 10**6]
            )

    return "another number", _at_random(drawn, change)


def _bytes(drawn: random.Random) -> tuple[str, bytes]:
    text = bytearray(yaml.safe_dump(_valid()).encode())
    at = drawn.randrange(len(text))
    kind = drawn.choice(
        ["a bit turned", "a byte gone", "a byte more", "cut off", "lines exchanged"]
    )
    if kind == "a bit turned":
        text[at] ^= 1 << drawn.randrange(8)
    elif kind == "a byte gone":
        del text[at]
    elif kind == "a byte more":
        text.insert(at, drawn.randrange(256))
    elif kind == "cut off":
        del text[at:]
    else:
        lines = bytes(text).split(b"\n")
        one, other = drawn.randrange(len(lines)), drawn.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        text = bytearray(b"\n".join(lines))
    return kind, bytes(text)


_CHANGES = (_another_value, _without_a_key, _with_a_key, _nested, _another_number, _bytes, _bytes)
