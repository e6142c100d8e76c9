"""Code that breaks or gives something else, data, networks, checkpoints and lists of models."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from breaking import WAYS, ItemsAs, LabelsAs, OutputAs
from runs import HERE, TinyNetwork

from benchmarks.refusal_case import BREAKING, LATE, RAN, REFUSED, changed, run_case
from benchmarks.refusals import Case

ZOO: dict[str, Any] = {
    "name": "models",
    "input_size": [2, 8, 8],
    "matrizations": ["unfolded"],
    "boundary_side": 0,
    "models": [
        {"name": "one", "family": "tiny", "accuracy": 50.0, "factory": f"{HERE}:TinyNetwork"}
    ],
    "cluster": "local",
}


def code() -> Iterator[Case]:
    """Data sets, networks and modules that break, and factories that give something else."""
    places = {
        "made": "factories",
        "length": "__len__",
        "item": "__getitem__",
        "names": "class_to_idx",
    }
    for at, name in places.items():
        for way in WAYS:
            yield run_case(
                f"data sets that break in {name}",
                command="layers" if at == "names" else "run",
                images__factory=f"{BREAKING}:Breaking",
                images__kwargs={"at": at, "way": way},
                expected=REFUSED if at != "names" else None,
            )
    for at, name in {"made": "factories", "pass": "forward", "mode": "eval"}.items():
        for way in WAYS:
            yield run_case(
                f"networks that break in {name}",
                command="layers",
                expected=REFUSED,
                model__factory=f"{BREAKING}:BreakingNetwork",
                model__kwargs={"at": at, "way": way},
            )
    modules = {
        "error": b"1 / 0",
        "exit": b"import sys; sys.exit(3)",
        "nothing": b"",
        "syntax": b"def (",
        "environ": b"import os; os.environ['NO_SUCH']",
        "interrupt": b"raise KeyboardInterrupt",
        "ending": b"class E(BaseException): pass\nraise E",
        "bytes": b"\xff\xfe",
        "nul": b"a = 1\0",
        "missing": b"import no_such_module",
        "itself": b"from code import Network",
        "recursion": b"def f(): f()\nf()",
        "argparse": b"import argparse\np = argparse.ArgumentParser('train')\n"
        b"p.add_argument('--data', required=True)\np.parse_args()",
        "shadowed": b"import torch\nNetwork = 3",
        "deep": b"a = " + b"(" * 500 + b")" * 500,
        "output": b"print('imported')\nNetwork = None",
    }
    for text in modules.values():
        case = run_case(
            "modules that do not import", command="layers", model__factory="network.py:Network"
        )
        yield Case(case.kind, case.arguments, {**case.files, "network.py": text}, expected=REFUSED)
    for factory in (
        "torchvision.modles:resnet18",
        "torchvision.models:resnet",
        "nothing",
        "a b:c",
        ":",
        "a:",
        "os:sep",
        "no/such.py:A",
        "__main__:A",
        "a.py:",
        "x" * 5000 + ":a",
        "sys:exit",
        "os:abort.x",
        "builtins:print",
        "torchvision.models:resnet18.__init__",
        "..:a",
        "/dev/zero.py:a",
    ):
        yield run_case(
            "factories that are none", command="layers", model__factory=factory, expected=REFUSED
        )
    for kwargs in (
        {"colour": 3},
        {"classes": "many"},
        {"classes": -1},
        {"classes": 10**12},
        {"self": 1},
        {"": 1},
    ):
        yield run_case("arguments that factories refuse", model__kwargs=kwargs, expected=REFUSED)
    for what in (
        "none",
        "number",
        "text",
        "class",
        "generator",
        "dictionary",
        "module",
        "empty list",
        "list of lists",
    ):
        yield run_case(
            "factories that give something else",
            images__factory=f"{BREAKING}:not_made",
            images__kwargs={"what": what},
            expected=REFUSED,
        )
        yield run_case(
            "factories that give something else",
            model__factory=f"{BREAKING}:not_made",
            model__kwargs={"what": what},
            expected=REFUSED,
        )


def data() -> Iterator[Case]:
    """Labels, items and lengths of other forms."""
    runs = ("strings of numbers", "one-element", "truth values", "half a character")
    for form in LabelsAs.LABELS:
        expected = RAN if form in runs else REFUSED
        yield run_case(
            "labels of other forms",
            images__factory=f"{BREAKING}:LabelsAs",
            images__kwargs={"form": form},
            expected=expected,
        )
        if form not in runs:
            yield run_case(
                "one label of another form",
                images__factory=f"{BREAKING}:LabelsAs",
                images__kwargs={"form": form, "only": 17},
                expected=REFUSED,
            )
    for form in ItemsAs.ITEMS:
        expected = RAN if form == "a gradient" else REFUSED
        yield run_case(
            "items of other forms",
            images__factory=f"{BREAKING}:ItemsAs",
            images__kwargs={"form": form},
            expected=expected,
        )
    for length in (0, -1, 2**40, 2**70, 2.5, None, "many", 31):
        yield run_case(
            "lengths that are none",
            images__factory=f"{BREAKING}:Lengths",
            images__kwargs={"length": length},
            expected=REFUSED,
        )
    yield run_case(
        "data sets without a length", images__factory=f"{BREAKING}:Numbered", expected=REFUSED
    )
    yield run_case("data sets without a length", images__factory="builtins:iter", expected=REFUSED)
    yield run_case("empty data sets", images__kwargs={"images": 0}, expected=REFUSED)
    # One image of a class cannot both choose and judge.
    for images, expected in ((1, REFUSED), (2, REFUSED), (3, REFUSED), (6, RAN)):
        yield run_case(
            "data sets of few images", images__kwargs={"images": images}, expected=expected
        )
    for broken, share in (([18], 0.0), ([0], 0.0), (list(range(30)), 0.5), ([18], 0.5)):
        yield run_case(
            "images that cannot be read",
            images__factory=f"{HERE}:Unreadable",
            images__kwargs={"broken": broken},
            images__unreadable=share,
        )


def networks() -> Iterator[Case]:
    """Networks whose output says no classes."""
    for form in OutputAs.OUTPUTS:
        yield run_case(
            "outputs of other forms",
            model__factory=f"{BREAKING}:OutputAs",
            model__kwargs={"form": form},
            expected=REFUSED if form != "NaN" else None,
        )
    for output in ("logits", 7, "a.b.c", "", "\x1b[31m"):
        yield run_case("outputs that are not there", model__output=output, command="layers")
    yield run_case(
        "networks without weights of their own",
        model__factory="torch.nn:Identity",
        expected=REFUSED,
    )
    yield run_case(
        "networks without weights of their own",
        model__factory="torch.nn:Flatten",
        expected=REFUSED,
    )
    yield run_case(
        "networks of other weights each time",
        model__factory=f"{HERE}:UnseededNetwork",
        expected=REFUSED,
    )
    for classes in (1, 2):
        yield run_case(
            "networks of too few classes", model__kwargs={"classes": classes}, expected=REFUSED
        )


def checkpoints() -> Iterator[Case]:
    """Checkpoints of something else, of garbage, and cut off."""

    def saved(content: Any) -> Callable[[Path], object]:
        return lambda folder: torch.save(content, folder / "w.pt")

    state = TinyNetwork().state_dict()
    broken = {name: value.clone() for name, value in state.items()}
    broken["fc1.weight"][0, 0] = float("nan")
    contents: list[Any] = [
        {0: torch.ones(2), 1: torch.ones(3)},
        {("a", 1): torch.ones(2)},
        {},
        [],
        None,
        3,
        "text",
        torch.ones(3),
        {"a": {"b": {}}},
        {"model": TinyNetwork()},
        broken,
        {**state, "fc1.weight": torch.ones(7)},
        {k: v for k, v in state.items() if k != "fc2.bias"},
        {**state, "\x1b[31m": torch.ones(1)},
        {k: v.to(torch.complex64) for k, v in state.items()},
        {k: v.to("meta") for k, v in state.items()},
        {k: v.to_sparse() if v.ndim else v for k, v in state.items()},
        dict.fromkeys(state),
        {"state_dict": {str(i): {} for i in range(50)}},
        {f"{'x' * 300}{i}": torch.ones(1) for i in range(300)},
    ]
    for content in contents:
        yield run_case(
            "checkpoints of something else",
            model__weights="w.pt",
            before=saved(content),
            expected=None if "sparse" in str(content)[:3000] else REFUSED,
        )
    garbage = [
        b"",
        b"garbage",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x02",
        os.urandom(4096),
        bytes(4096),
        b"<!DOCTYPE html>",
        b"version https://git-lfs",
        pickle.dumps(os.getcwd),
        b"\x1b[31m" * 100,
    ]
    for content in garbage:
        yield run_case(
            "checkpoints of garbage",
            model__weights="w.pt",
            command="layers",
            expected=REFUSED,
            before=lambda f, c=content: (f / "w.pt").write_bytes(c),
        )
        yield run_case(
            "checkpoint.pt of garbage beside the store",
            model__training={"epochs": 1},
            expected=None,
            before=lambda f, c=content: (
                (f / "out").mkdir() or (f / "out/checkpoint.pt").write_bytes(c)
            ),
        )
    for part in (0.1, 0.5, 0.99):

        def cut(folder: Path, part: float = part) -> None:
            torch.save(state, folder / "w.pt")
            content = (folder / "w.pt").read_bytes()
            (folder / "w.pt").write_bytes(content[: int(part * len(content))])

        yield run_case("checkpoints cut off", model__weights="w.pt", before=cut, expected=REFUSED)
    for weights in (
        "",
        "nowhere.pt",
        "a\0b",
        ".",
        "/dev/zero",
        "x" * 300,
        "DEFAULT",
        "/proc/self/mem",
        "~no-such-user/w",
    ):
        yield run_case("weights that are no file", model__weights=weights, expected=REFUSED)
    yield run_case(
        "weights that are no file",
        model__weights="w.pt",
        before=lambda f: os.mkfifo(f / "w.pt"),
        expected=REFUSED,
    )
    for entry in ("ema", "", "a.b", "\x1b"):
        yield run_case(
            "entries that are not there",
            model__weights="w.pt",
            model__entry=entry,
            before=saved({"state_dict": state}),
            expected=REFUSED,
        )


def zoos() -> Iterator[Case]:
    """Lists of models."""

    def zoo(kind: str, expected: str | None = None, **changes: Any) -> Case:
        content = changed(ZOO, {key.replace("__", "."): value for key, value in changes.items()})
        files = {"mine.yaml": yaml.safe_dump(content).encode()}
        return Case(kind, ("capacity", "mine.yaml", "--out", "out"), files, expected=expected)

    def model(**changes: Any) -> list[dict[str, Any]]:
        return [{**ZOO["models"][0], **changes}]

    kind = "lists of models"
    yield zoo(kind, RAN)
    for changes in (
        {"models": []},
        {"models": model() * 2},
        {"models": model(accuracy=101)},
        {"models": [3]},
        {"models": model(accuracy=float("nan"))},
        {"models": model(name="")},
        {"models": model(weights="no.pt")},
        {"input_size": [2, 8]},
        {"input_size": [0, 8, 8]},
        {"input_size": [2, 8, 10**9]},
        {"matrizations": []},
        {"matrizations": ["slices"]},
        {"cluster": "nothing"},
        {"patience": 0},
        {"folder": "\0"},
        {"modles": []},
    ):
        yield zoo(kind, REFUSED, **changes)
    for way in ("an error", "exit", "another ending", "terminal escapes"):
        breaking = {"factory": f"{BREAKING}:BreakingNetwork", "kwargs": {"at": "made", "way": way}}
        yield zoo("lists whose only model breaks", REFUSED, models=model(**breaking))
        yield zoo(
            "lists one of whose models breaks", models=[*model(), *model(**breaking, name="two")]
        )
    yield zoo("lists whose only model breaks", LATE, input_size=[3, 8, 8])
