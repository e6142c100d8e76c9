"""Which files of a person's own stand behind a factory."""

import hashlib
import sys

import pytest

from ddp_tasks.callables.source_code import code_digests


def write(folder, **files):
    for name, text in files.items():
        file = folder / f"{name.replace('_in_', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_files_and_all_that_they_import_beside_them(tmp_path):
    write(
        tmp_path,
        model="import numpy, blocks\ndef net():\n    from parts.small import x\n    import gone\n",
        blocks="import model\n",
        parts_in___init__="",
        parts_in_small="from . import smaller\nfrom ..nowhere import y\n",
        parts_in_smaller="",
        other="",
    )
    found = code_digests(f"{tmp_path}/model.py:net")
    assert list(found) == [
        "blocks.py",
        "model.py",
        "parts/__init__.py",
        "parts/small.py",
        "parts/smaller.py",
    ]
    assert found["blocks.py"] == hashlib.sha256(b"import model\n").hexdigest()


def test_a_moved_folder_has_the_same_digests_and_an_edited_file_another(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, model="import blocks\n", blocks="x = 1\n")
    a, b = (code_digests(f"{tmp_path}/{name}/model.py:net") for name in "ab")
    assert a == b
    write(tmp_path / "b", blocks="x = 2\n")
    changed = code_digests(f"{tmp_path}/b/model.py:net")
    assert [name for name in a if a[name] != changed[name]] == ["blocks.py"]


def test_modules_on_the_path(tmp_path, monkeypatch):
    write(tmp_path, own_in_net="from own.blocks import x\nimport own_too\n", own_in_blocks="")
    write(tmp_path, own_in___init__="", own_too="")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    expected = ["own/__init__.py", "own/blocks.py", "own/net.py", "own_too.py"]
    assert [*code_digests("own.net:f")] == expected[1:] or [*code_digests("own.net:f")] == expected


@pytest.mark.parametrize(
    "factory",
    [
        "torchvision.models:resnet18",
        "ddp_tasks.networks:PaperNetwork",
        "json:loads",
        "builtins:dict",
        "no_such_module:f",
        "no/such/file.py:f",
        "__main__:f",
        ".relative:f",
    ],
)
def test_of_others_code_there_is_none(factory):
    assert code_digests(factory) == {}


@pytest.mark.parametrize("text", ["def f(:\n", "\0", "\xff", "import a.b.c\nfrom .... import x\n"])
def test_files_that_are_no_python_have_a_digest_all_the_same(tmp_path, text):
    (tmp_path / "odd.py").write_text(text, encoding="latin-1")
    assert [*code_digests(f"{tmp_path}/odd.py:f")] == ["odd.py"]
