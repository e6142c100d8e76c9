"""Searches for garbage pause while libraries are imported, and go on afterwards."""

import gc
import os
import subprocess
import sys

import pytest

from flows import garbage, worker_libraries


def test_searches_pause_and_go_on():
    assert gc.isenabled()
    with garbage.paused():
        assert not gc.isenabled()
        with garbage.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()


def test_searches_go_on_after_an_error():
    with pytest.raises(ZeroDivisionError), garbage.paused():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.unfreeze()


def test_what_was_paused_by_others_stays_paused():
    gc.disable()
    try:
        with garbage.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize(
    ("modules", "loaded"),
    [("a_module_of_nowhere colorsys", {"colorsys"}), ("", set()), (None, set())],
)
def test_the_libraries_of_workers_are_named_by_a_variable(modules, loaded):
    environment = {k: v for k, v in os.environ.items() if k != worker_libraries.VARIABLE}
    if modules is not None:
        environment[worker_libraries.VARIABLE] = modules
    code = "import gc, sys, flows.worker_libraries; assert gc.isenabled(); print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert {"colorsys", "torch"} & set(printed.stdout.split()) == loaded
