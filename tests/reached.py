"""Sorts tests into parts that run alone, by what each reaches: a pytest plugin.

A test is marked ``cluster``, ``server``, ``browser`` or ``process`` when a name of ``REACHED`` is
in its code, in that of its fixtures, or of what they call in ``tests`` and ``benchmarks``. Others
are marked ``fast``, unless a person marked them ``slow``; they fail where they start a process or
open a port after all.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

#: Names that a test's code has when it starts such a thing, by marker.
REACHED = {
    "cluster": {"LocalCluster", "local_cluster", "run_pipeline", "run_capacity"},
    # A command that is refused late has started a server meanwhile.
    "server": {
        "prefect_server",
        "prefect_test_harness",
        "run_pipeline",
        "run_capacity",
        "refused_command",
    },
    "browser": {"browser", "chromium", "sync_playwright"},
    "process": {
        "subprocess",
        "multiprocessing",
        "Popen",
        "TemporaryServer",
        "NotebookClient",
        "check_contents",
    },
}
#: The fixture of a session that takes longest.
_LONG_RUN = "digits"
#: Markers of tests that are not fast; a person gives the last three.
APART = (*REACHED, "slow", "gpu", "deployment")

_ROOT = Path(__file__).resolve().parents[1]
_BENCHMARKS = _ROOT / "tests" / "benchmarks"
#: Folders whose code is looked into.
WALKED = (str(_ROOT / "tests"), str(_ROOT / "benchmarks"))
_STARTS = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "socket.bind"}
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = names_reached(item)
        if item.path.parent == _BENCHMARKS:
            item.add_marker("slow")
        for marker, telling in REACHED.items():
            if names & telling:
                item.add_marker(marker)
        if not any(item.get_closest_marker(marker) for marker in APART):
            item.add_marker("fast")
        # Of several processes (pytest -n), one takes all of a module, or all that share a long run.
        shared = _LONG_RUN in names_of_fixtures(item)
        item.add_marker(pytest.mark.xdist_group(_LONG_RUN if shared else item.path.stem))
    # Modules of fast tests fill up what is left at the end.
    slow = {item.path for item in items if not _is_fast(item)}
    items.sort(key=lambda item: item.path not in slow)


def names_of_fixtures(item: pytest.Item) -> set[str]:
    """Fixtures that a test asks for, itself or through others."""
    return set(getattr(item, "_fixtureinfo").name2fixturedefs)  # noqa: B009 - pytest's own


def names_reached(item: pytest.Item) -> set[str]:
    """Names in the code of a test, of its fixtures and of what they call in these folders."""
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest's own
    fixtures = [definition.func for named in definitions.values() for definition in named]
    names = {*definitions}
    seen: set[int] = set()
    for function in (getattr(item, "function", None), *fixtures):
        names |= set(_names(function, seen))
    return names


def _names(found: Any, seen: set[int]) -> Iterator[str]:
    if id(found) in seen:
        return
    seen.add(id(found))
    found = getattr(found, "__wrapped__", found)
    if isinstance(found, str):
        yield from (name for told in REACHED.values() for name in told if f"{name}(" in found)
    elif isinstance(found, type) and _is_walked(sys.modules.get(found.__module__)):
        for part in vars(found).values():
            yield from _names(part, seen)
    elif isinstance(found, FunctionType) and found.__code__.co_filename.startswith(WALKED):
        names = set(_names_of_code(found.__code__))
        yield from names
        values = [found.__globals__[name] for name in names if name in found.__globals__]
        modules = [value for value in values if _is_walked(value)]
        values += [vars(module)[n] for module in modules for n in names if n in vars(module)]
        values += [cell.cell_contents for cell in found.__closure__ or ()]
        for value in values:
            yield from _names(value, seen)


def _is_walked(value: Any) -> bool:
    file = getattr(value, "__file__", None) if isinstance(value, ModuleType) else None
    return file is not None and file.startswith(WALKED)


def _names_of_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of_code(constant)
        elif isinstance(constant, str):
            yield from (n for told in REACHED.values() for n in told if f":{n}\n" in constant)


class _Guard:
    """Fails a test of the fast part that starts a process or opens a port."""

    def __init__(self) -> None:
        self.guarded = ""
        self.alone = False
        self.started = list[str]()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        # Threads of servers that other tests share go on beside this one.
        if (
            self.guarded
            and event in _STARTS
            and (self.alone or threading.current_thread() is threading.main_thread())
        ):
            self.started.append(f"{event} {arguments}"[:300])


_guard = _Guard()


def pytest_configure() -> None:
    sys.addaudithook(_guard)


def pytest_collection_finish(session: pytest.Session) -> None:
    _guard.alone = all(_is_fast(item) for item in session.items)


def _is_fast(item: pytest.Item) -> bool:
    return item.get_closest_marker("fast") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not _is_fast(item):
        return (yield)
    _guard.guarded, _guard.started = item.nodeid, []
    try:
        result = yield
    finally:
        _guard.guarded = ""
    if _guard.started:
        pytest.fail(
            f"a fast test starts something: {_guard.started[0]}; let tests/reached.py see it, or "
            "mark the test slow"
        )
    return result
