import math
import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from ddp_tasks.callables.factories import call, resolve
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
    with pytest.raises(RunError, match=r"'math:sqrt' called with \(y\) failed: TypeError") as e:
        call("math:sqrt", {"y": 3})
    assert isinstance(e.value.__cause__, TypeError)


def _folder(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        file = path / f"{name.replace('__', '/', 1) if '__' in name[1:] else name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def test_files_find_the_modules_beside_them(tmp_path):
    folder = _folder(
        tmp_path,
        blocks="from parts.small import SIZE\ndef size():\n    return SIZE\n",
        model="import blocks\nfrom blocks import size\ndef net():\n"
        "    import late\n    return size(), blocks.size(), late.WHEN\n",
        late="WHEN = 'late'\n",
    )
    _folder(folder / "parts", small="from .smaller import SIZE\n", smaller="SIZE = 3\n")
    net = resolve(f"{folder}/model.py:net")
    assert net() == (3, 3, "late")
    assert not {"blocks", "late", "parts"} & set(sys.modules)
    assert str(folder) not in sys.path


def test_modules_of_one_name_in_two_folders_do_not_meet(tmp_path):
    nets = []
    for gain in (1, 2):
        folder = _folder(
            tmp_path / str(gain),
            blocks=f"GAIN = {gain}\n",
            model="def net():\n    from blocks import GAIN\n    return GAIN\n",
        )
        nets.append(resolve(f"{folder}/model.py:net"))
    # Imported only now, and one after the other.
    assert [net() for net in nets] == [1, 2]


def test_what_is_installed_is_found_where_nothing_lies_beside(tmp_path):
    text = "import math, numpy\nfrom os import path\nimport os.path\ndef f():\n"
    folder = _folder(tmp_path, a=f"{text}    return numpy.array([math.pi]), path, os.path\n")
    assert resolve(f"{folder}/a.py:f")()[0][0] == math.pi


@pytest.mark.parametrize("changed", ["code", "blocks", "parts/small"])
def test_changed_code_is_read_anew_and_unchanged_code_is_not(tmp_path, changed):
    folder = _folder(
        tmp_path,
        code="import blocks\nfrom parts import small\nOWN = 1\n"
        "def total():\n    return OWN + blocks.OWN + small.OWN\n",
        blocks="OWN = 1\n",
    )
    _folder(folder / "parts", small="OWN = 1\n")
    factory = f"{folder}/code.py:total"
    first = resolve(factory)
    assert first() == 3
    assert resolve(factory) is first
    # Within one second and of the same size, as compiled files would not notice.
    file = folder / f"{changed}.py"
    before = file.stat()
    file.write_text(file.read_text().replace("OWN = 1", "OWN = 5"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert resolve(factory)() == 7
    assert first() == 3
    file.write_text(file.read_text().replace("OWN = 5", "OWN = 1"))
    assert resolve(factory)() == 3


def test_modules_that_changed_since_they_were_imported_are_refused(tmp_path, monkeypatch):
    _folder(tmp_path, watched_module="import watched_part\ndef f(): ...\n", watched_part="A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    resolve("watched_module:f")
    resolve("watched_module:f")
    (tmp_path / "watched_part.py").write_text("A = 2\n")
    with pytest.raises(RunError, match=r"watched_part.py' has changed since .* imported it; start"):
        resolve("watched_module:f")


@pytest.mark.parametrize("factory", ["__main__:Net", "__mp_main__:Net", "__main__:a.b"])
def test_what_a_notebook_defines_is_refused(factory):
    with pytest.raises(RunError, match="Dask workers cannot see what a notebook or a script"):
        resolve(factory)


def test_a_module_that_may_lie_beside_the_run_file_is_said_to_need_its_path():
    with pytest.raises(RunError, match=r"write path/to/mynet\.py:callable, or .* PYTHONPATH"):
        resolve("mynet:net")


def test_a_file_that_ends_the_process_does_not(tmp_path):
    _folder(tmp_path, script="raise SystemExit(3)\n")
    with pytest.raises(RunError, match="does not import: SystemExit: 3"):
        resolve(f"{tmp_path}/script.py:main")
