"""Promises about the source itself, read from its syntax trees."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "ddp_tasks", "flows")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
IDS = [file.relative_to(ROOT).as_posix() for file in FILES]

each_file = pytest.mark.parametrize("file", FILES, ids=IDS)


@cache
def _tree(file):
    return ast.parse(file.read_text(), str(file))


def _modules(tree):
    """Dotted names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from ddp_tasks import store` imports the module ddp_tasks.store.groups.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _imports(file):
    return {module.partition(".")[0] for module in _modules(_tree(file))}


def _package(file):
    return file.relative_to(ROOT).parts[0]


def test_the_packages_are_where_these_tests_look():
    assert {"schemas/variables.py", "flows/pipeline.py"} <= set(IDS)


def test_imports_are_found_wherever_they_stand():
    source = "import a.b\ndef f():\n    from c.d import e as g\n"
    assert _modules(ast.parse(source)) == {"a.b", "c.d", "c.d.e"}


def test_rooms_stand_in_their_order_and_touch_what_they_may():
    """The contracts of pyproject.toml, as the linter holds them."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _room(module):
    return ".".join(module.split(".")[:2])


def _private(tree):
    """Modules and their private names that a file takes, by import or by attribute."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            for alias in node.names:
                modules[alias.asname or alias.name] = node.module
                if alias.name.startswith("_"):
                    yield node.module, alias.name
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and re.match(r"_[^_]", node.attr)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        ):
            yield f"{modules[node.value.id]}.{node.value.id}", node.attr


@each_file
def test_no_private_name_of_another_room_is_used(file):
    own = _room(".".join(file.relative_to(ROOT).with_suffix("").parts))
    assert [taken for taken in _private(_tree(file)) if _room(taken[0]) != own] == []


def test_private_names_are_found():
    source = "from ddp_tasks.store import cube\nfrom schemas.zoo import _x\ncube._y(cube.z)\n"
    expected = [("schemas.zoo", "_x"), ("ddp_tasks.store.cube", "_y")]
    assert list(_private(ast.parse(source))) == expected


@each_file
def test_no_relative_imports_hide_where_a_name_comes_from(file):
    nodes = (n for n in ast.walk(_tree(file)) if isinstance(n, ast.ImportFrom))
    assert [n.lineno for n in nodes if n.level] == []


@pytest.mark.parametrize(
    "modules",
    [
        "schemas",
        # What answers questions about a store, from a terminal or a notebook.
        "ddp_tasks.store.cube, ddp_tasks.queries.significance, ddp_tasks.store.wholeness, "
        "flows.cli, flows.texts.significance",
    ],
)
def test_reading_and_asking_load_nothing_heavy(modules):
    heavy = {"torch", "hypernetx", "matplotlib", "holoviews", "distributed", "prefect"}
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert printed.stdout == "set()\n"


def _dotted(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_modules_of_a_room_do_not_import_in_circles():
    files = {_dotted(file): file for file in FILES if _package(file) == "ddp_tasks"}
    graph = {name: _modules(_tree(file)) & files.keys() for name, file in files.items()}
    while free := [name for name, needs in graph.items() if not needs & set(graph)]:
        for name in free:
            del graph[name]
    assert graph == {}


@each_file
def test_every_module_is_named_after_a_concept(file):
    assert file.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


@each_file
def test_no_code_is_unpickled(file):
    unsafe = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    assert not _imports(file) & unsafe
    assert _loads_with_code(_tree(file)) == []


def _loads_with_code(tree):
    """Lines of `torch.load` (or a bare `load` from torch) without weights_only=True."""
    bare = any(
        isinstance(n, ast.ImportFrom) and n.module == "torch" and a.name == "load"
        for n in ast.walk(tree)
        for a in getattr(n, "names", ())
    )
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "torch.load" or (bare and ast.unparse(node.func) == "load"))
        and not any(
            k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
            for k in node.keywords
        )
    ]


def test_loads_with_code_are_found():
    source = "import torch\ntorch.load(f)\ntorch.load(f, weights_only=False)\n"
    assert _loads_with_code(ast.parse(source)) == [2, 3]
    assert _loads_with_code(ast.parse("torch.load(f, weights_only=True)")) == []
    assert _loads_with_code(ast.parse("from torch import load\nload(f)")) == [2]


def _options(tree):
    """Lines of texts that name an option of the command line."""
    texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return [text.lineno for text in texts if re.search(r"(?<![\w-])--[a-z]", text.value)]


@each_file
def test_options_of_the_command_line_are_named_by_flows_alone(file):
    assert _package(file) == "flows" or _options(_tree(file)) == []


def test_options_are_found_in_texts_of_any_kind():
    source = 'def f(a):\n    "Doc --set."\n    return f"{a}: --out, a--b, --- {a}"\n'
    assert _options(ast.parse(source)) == [2, 3]


@each_file
def test_no_module_is_long(file):
    assert len(file.read_text().splitlines()) <= 500


def test_the_reference_shares_no_code_with_what_it_checks():
    assert not _imports(ROOT / "tests" / "reference.py") & {*PACKAGES, "torch", "hypernetx"}
