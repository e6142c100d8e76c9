import math
from collections import OrderedDict
from pathlib import Path

import pytest

from ddp_tasks.factories import call, resolve
from schemas import RunError


def test_callables_of_modules_and_of_their_attributes():
    assert resolve("math:sqrt") is math.sqrt
    assert resolve("collections:OrderedDict.fromkeys")("a") == OrderedDict(a=None)
    assert call("builtins:dict", {"a": 1}) == {"a": 1}


def test_callables_of_files(tmp_path):
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x\n")
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text("def double(x):\n    return -x\n")
    assert call(f"{tmp_path}/mine.py:double", {"x": 3}) == 6
    # Another file of the same name is another module; the same file is the same one.
    assert call(f"{other}:double", {"x": 3}) == -3
    assert resolve(f"{tmp_path}/mine.py:double") is resolve(f"{tmp_path}/mine.py:double")


def test_classes_of_files_can_look_up_their_module(tmp_path):
    # dataclasses asks sys.modules for the module that a class stands in.
    (tmp_path / "point.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int = 1\n"
    )
    assert call(f"{tmp_path}/point.py:Point", {"x": 4}).x == 4


def test_the_home_folder_is_expanded_in_arguments_that_start_with_it():
    given = {"a": "~/data", "b": "x~/data", "c": 3}
    assert call("builtins:dict", given) == {"a": str(Path.home() / "data"), "b": "x~/data", "c": 3}


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_module:x", "does not import: ModuleNotFoundError"),
        (".relative:x", "does not import: TypeError"),
        ("math:squirt", r"math has no 'squirt' \(did you mean 'sqrt'\?\)"),
        ("math:pi", "is a float, not a callable"),
        ("collections:OrderedDict.nothing", "has no 'nothing'"),
        ("missing.py:x", r"file '.*missing\.py' does not exist"),
    ],
)
def test_factories_that_do_not_resolve_are_refused(factory, reason):
    with pytest.raises(RunError, match=reason):
        resolve(factory)


def test_files_that_fail_to_import_are_refused_every_time(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(RunError, match="does not import: ZeroDivisionError"):
            resolve(f"{tmp_path}/broken.py:x")


def test_modules_that_fail_to_import_are_refused(tmp_path, monkeypatch):
    (tmp_path / "unlucky_module.py").write_text("raise LookupError('no luck')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RunError, match="does not import: LookupError: no luck"):
        resolve("unlucky_module:x")


def test_what_a_factory_raises_is_told_with_its_arguments():
    with pytest.raises(RunError, match=r"'math:sqrt' called with \(y=3\) failed: TypeError") as e:
        call("math:sqrt", {"y": 3})
    assert isinstance(e.value.__cause__, TypeError)
