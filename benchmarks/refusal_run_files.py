"""Run files, values, places and clusters that no run can have, and odd ones that it can."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.refusal_case import BREAKING, LATE, RAN, REFUSED, run_case
from benchmarks.refusals import Case


def _file(kind: str, text: bytes, command: str = "run") -> Case:
    return Case(kind, (command, "mine.yaml"), {"mine.yaml": text}, expected=REFUSED)


def texts() -> Iterator[Case]:
    """Files that are no run file, whatever they hold."""
    bomb = b"a0: &a0 [x]\n" + b"".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n".encode() for i in range(1, 12)
    )
    texts = {
        "bytes that are no UTF-8": [b"name: \xff\xfe", b"\x80" * 100, "name: ü".encode("utf-16")],
        "YAML of great depth": [b"[" * 5000, b"a: " * 5000, b"{a: " * 5000, b"- " * 5000 + b"a"],
        "alias bombs": [bomb, b"a: &a [*a]", b"a: &a {b: *a}", b"<<: &a {<<: *a}"],
        "keys that stand twice": [b"name: a\nname: b", b"model: {factory: 'a:b', factory: 'c:d'}"],
        "keys that are no text": [b"1: 2", b"? [a]\n: 3", b"null: 1", b"true: 1", b"? {a: 1}\n: 1"],
        "tags and types of other languages": [
            b"a: !!python/object/apply:os.system [id]",
            b"a: !!set {b}",
            b"a: !!binary aGVsbG8=",
            b"!!python/name:os.system",
        ],
        "no YAML at all": [
            b"",
            b"\0",
            b"%",
            b"a: [",
            b"a: b: c",
            b"\tx: 1",
            b"\x1b[31m: 1",
            b"---",
        ],
        "files of something else": [pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(200), b"{}"],
        "files too large": [b"#" * 2**20, b"[" + b"1," * 60_000 + b"]"],
        "numbers of many digits": [b"exemplars: " + b"9" * 5000, b"exemplars: 1e999999999"],
    }
    for kind, several in texts.items():
        for text in several:
            yield _file(kind, text)
        yield _file(kind, several[0], "capacity")
        yield _file(kind, several[-1], "layers")
    for make in (Path.mkdir, os.mkfifo, partial(Path.symlink_to, target="mine.yaml")):
        case = Case("run files that are no files", ("run", "mine.yaml"), {}, expected=REFUSED)
        yield Case(case.kind, case.arguments, {}, lambda f, m=make: m(f / "mine.yaml"), REFUSED)
    for source in ("/dev/zero", "/dev/null", "/proc/self/mem", "", ".", "a\udcffb", "x" * 5000):
        yield Case("run files that are no files", ("run", source), {}, expected=REFUSED)
    for source in ("digitz", "\x1b[31mred\x1b[0m", "\u202emnist", "a\nb", "Digits", "-x"):
        yield Case("presets that are none", ("layers", source), {}, expected=REFUSED)


#: Values of dotted keys that are refused, by kind.
_VALUES: dict[str, list[tuple[str, Any]]] = {
    "unknown keys": [
        ("imagse", {}),
        ("images.per_clas", 5),
        ("significance.layers", {"fc1": {"quantil": 0.5}}),
        ("model.\x1b[31m", 1),
        ("x" * 10_000, 1),
    ],
    "values of another type": [
        ("images.per_class", "3"),
        ("exemplars", True),
        ("layers", {"a": 1}),
        ("layers", [1]),
        ("model", None),
        ("model", []),
        ("images.kwargs", [1]),
        ("name", 3),
        ("significance", "high"),
        ("capacity", "all"),
    ],
    "numbers out of bounds": [
        ("significance.quantile", 1.0),
        ("significance.percentage", 250),
        ("exemplars", 0),
        ("images.per_class", -1),
        ("shards.images", 0),
        ("shards.batch_size", -3),
        ("shards.patience", 0),
        ("images.unreadable", 1.5),
        ("significance.resamples", -1),
    ],
    "NaN and infinity": [
        ("significance.quantile", float("nan")),
        ("significance.percentage", float("inf")),
        ("significance.grid", [0.5, float("nan")]),
        ("images.kwargs", {"seed": float("nan")}),
        ("images.transform", {"mean": [float("nan")], "std": [1.0]}),
    ],
    "huge numbers": [
        ("significance.resamples", 10**9),
        ("significance.resamples", 2**60),
        ("images.transform", {"resize": 10**9}),
        ("images.per_class", 2**64),
        ("model.training", {"seed": 2**64}),
        ("significance.grid", [i / 2000 for i in range(1, 1999)]),
    ],
    "names that are not seen": [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "\u202ea"),
        ("name", "x" * 501),
    ],
    "levels and layers that fit no run": [
        ("layers", []),
        ("layers", ["conv9"]),
        ("layers", ["["]),
        ("layers", ["\x1b[31m*"]),
        ("significance.layers", {"fc9": {"quantile": 0.5}}),
        ("capacity", ["slices"]),
    ],
    "superclasses": [
        ("significance.superclasses", {"a": ["left", "left"]}),
        ("significance.superclasses", {"a": ["lfet"]}),
        ("significance.superclasses", {"a": []}),
        ("significance.superclasses", {"": ["left"]}),
        ("significance.superclasses", "garbage.yaml"),
        ("significance.superclasses", "/dev/zero"),
        ("significance.superclasses", "nowhere.yaml"),
    ],
    "transforms that do not fit": [
        ("images.transform", {"mean": [0.5]}),
        ("images.transform", {"mean": [], "std": []}),
        ("images.transform", {"mean": [0.5, 0.5], "std": [1.0, 1.0, 1.0]}),
        ("images.transform", {"crop": 4}),
        ("images.keys", {"image": 7, "label": 1}),
        ("images.keys", {"image": "image", "label": "label"}),
    ],
}


def values() -> Iterator[Case]:
    """Values that no run can have, and odd ones that it can."""
    for kind, several in _VALUES.items():
        for key, value in several:
            garbage = {"garbage.yaml": b"\xff", "mine.yaml": b""}
            case = run_case(kind, expected=REFUSED, **{key.replace(".", "__"): value})
            yield Case(kind, case.arguments, garbage | dict(case.files), expected=REFUSED)
    for text in (
        "",
        "=",
        "=3",
        "exemplars",
        "a..b=3",
        ".a=1",
        "layers.0=a",
        "exemplars=[",
        "x=\udcff",
        ".".join("a" * 4000) + "=1",
        "images.kwargs.a.b.c.d=3",
        "name=\x1b[2J",
        "exemplars=!!x 3",
    ):
        yield run_case("overrides that change nothing", "--set", text, expected=REFUSED)
    three = {"factory": f"{BREAKING}:Coloured", "transform": {"mean": [0.5], "std": [0.25]}}
    yield run_case(
        "one mean for three channels",
        images=three,
        model__factory=f"{BREAKING}:ColourNetwork",
        expected=RAN,
    )
    for key, value in (
        ("name", "<script>alert(1)</script>|`$x_1$`"),
        ("name", "層 é"),
        ("name", "x" * 300),
        ("exemplars", 2**40),
        ("shards.batch_size", 2**40),
        ("shards.images", 2**40),
        ("significance.quantile", 1e-300),
        ("significance.percentage", 1e-300),
        ("significance.sample_sizes", [2**50]),
        ("significance.percentages", [0.001, 99.999]),
        ("images.per_class", 2),
        ("images.unreadable", 0),
        ("layers", ["fc2"]),
        ("capacity", []),
    ):
        yield run_case("odd values that run", expected=RAN, **{key.replace(".", "__"): value})
    trained = {"epochs": 1, "batch_size": 2**40, "learning_rate": 1e-300, "seed": 2**63 - 1}
    yield run_case("odd values that run", expected=RAN, model__training=trained)
    yield run_case("training that diverges", model__training={"epochs": 1, "learning_rate": 1e300})


def places() -> Iterator[Case]:
    """Folders that results cannot go to, and odd ones that they can."""

    def file(folder: Path) -> None:
        (folder / "file").touch()
        (folder / "loop").symlink_to("loop")

    for out in (
        "",
        "file",
        "file/below",
        "file/a/b",
        "a\0b",
        "a::b",
        "x" * 300,
        "x/" * 3000,
        "loop/x",
        "~no-such-user/x",
        "/proc/self/x",
        "/sys/x",
        "/dev/null",
        "/dev/null/x",
    ):
        if "\0" not in out:
            yield run_case(
                "folders that results cannot go to", "--out", out, before=file, expected=REFUSED
            )
    for out in (".", "a b/é", "\x1b[31m", "<b>", "-x", "$x$", "a%20b", "#?[x]", "\udcff"):
        yield run_case("odd folders that run", f"--out={out}", before=file, expected=RAN)

    def store(content: bytes | None, name: str) -> Callable[[Path], object]:
        def before(folder: Path) -> None:
            (folder / "out/store.zarr").mkdir(parents=True)
            if content is not None:
                (folder / "out/store.zarr" / name).write_bytes(content)

        return before

    for content, name in (
        (None, ""),
        (b"{", "zarr.json"),
        (b"", "zarr.json"),
        (b"[]", "zarr.json"),
        (b"x", "y"),
    ):
        yield run_case(
            "folders with a store of garbage", before=store(content, name), expected=REFUSED
        )
    yield run_case(
        "folders with a store of garbage",
        expected=REFUSED,
        before=lambda f: (f / "out").mkdir() or (f / "out/store.zarr").touch(),
    )
    yield run_case(
        "folders with a store of garbage",
        expected=REFUSED,
        before=lambda f: (f / "out").mkdir() or (f / "out/store.zarr").symlink_to("store.zarr"),
    )
    for name in ("report.html", "hypergraphs", "checkpoint.pt"):
        yield run_case(
            "folders and files in each other's place",
            model__training={"epochs": 1},
            expected=REFUSED,
            before=lambda f, n=name: (
                (f / "out").mkdir()
                or ((f / "out" / n).touch() if n == "hypergraphs" else (f / "out" / n).mkdir())
            ),
        )


#: In cluster files whose factory has to be called before it is known to be wrong.
_FOUND_AT_THE_START = (b"many", b"builtins", b"sys:exit")


def clusters() -> Iterator[Case]:
    """Clusters that are not there."""
    for cluster in (
        "tls://127.0.0.1:8786",
        "tcp://127.0.0.1:1",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://x:99999",
        "http://127.0.0.1:1",
        "ucxx://127.0.0.1:1",
        "://",
        "tcp://[::1",
        "cuda",
        "nowhere.yaml",
        "nothing",
        "",
        "tcp://\x1b:1",
        "inproc://1/2/3",
        "ws://127.0.0.1:1",
        "/dev/zero",
    ):
        yield run_case("clusters that are not there", cluster=cluster, expected=REFUSED)
    files = [
        b"",
        b"\xff",
        b"[1]",
        b"factory: 3",
        b"factory: 'os:sep'",
        b"factory: 'a:b'",
        b"workers: 3",
        b"factory: 'distributed:LocalCluster'\nworkers: 0",
        b"factory: 'distributed:LocalCluster'\nminimum: 3",
        b"factory: 'distributed:LocalCluster'\nkwargs: {n_workers: many}",
        b"factory: 'builtins:int'",
        b"factory: 'sys:exit'",
    ]
    for content in files:
        case = run_case("cluster files of garbage", cluster="c.yaml")
        expected = LATE if any(word in content for word in _FOUND_AT_THE_START) else REFUSED
        yield Case(case.kind, case.arguments, {**case.files, "c.yaml": content}, expected=expected)
