"""Whatever code and arguments people bring: one message, and nothing that ends the process."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from breaking import WAYS
from runs import HERE, tiny_run

from ddp_tasks.callables import factories
from ddp_tasks.callables.called_code import answering
from ddp_tasks.prepared_run import prepare
from flows import terminal
from flows.refusals import refusal_text
from flows.texts.columns import columns
from schemas.parameters import RunError
from schemas.shown import error_shown, invisible

BREAKING = HERE.with_name("breaking.py")
DDP = Path(sys.executable).with_name("ddp")

#: A KeyboardInterrupt of the code is left to whoever called: in a notebook it is a person's.
ENDINGS = [way for way in WAYS if way != "interrupt"]

#: Neither errors nor ``sys.exit``: told without the place where they came up.
UNUSUAL = ("another ending", "generator's end")


def refused(run):
    with pytest.raises(RunError) as refusal:
        prepare(run)
    said = refusal_text(refusal.value)
    assert len(said) < 1500
    assert len(said.splitlines()) < 5
    assert not any(invisible(character) for character in said.replace("\n", ""))
    return said


@pytest.mark.parametrize("way", ENDINGS)
@pytest.mark.parametrize("at", ["made", "length", "item"])
def test_a_data_set_that_breaks_is_refused_whatever_it_raises(at, way):
    said = refused(tiny_run(f"{BREAKING}:Breaking", {"at": at, "way": way}))
    where = {"made": "called with (at, way) failed", "length": "length fails", "item": "image"}
    assert (where[at] if way not in UNUSUAL or at == "made" else "breaking.py:Breaking'") in said


@pytest.mark.parametrize("way", ENDINGS)
@pytest.mark.parametrize("at", ["made", "pass", "mode"])
def test_a_network_that_breaks_is_refused_whatever_it_raises(at, way):
    model = {"factory": f"{BREAKING}:BreakingNetwork", "kwargs": {"at": at, "way": way}}
    said = refused(tiny_run(model=model))
    assert "breaking.py:BreakingNetwork'" in said


def test_names_of_classes_that_cannot_be_asked_for_leave_numbers_or_the_other_names():
    for way in ("an error", "recursion", "nothing said"):
        run = tiny_run(f"{BREAKING}:Breaking", {"at": "names", "way": way})
        assert len(prepare(run).images.target_classes) == 3


def test_a_refusal_names_arguments_without_their_values():
    with pytest.raises(RunError) as refusal:
        factories.call(f"{BREAKING}:not_made", {"token": "s3cr3t", "root": "/private/place"})
    assert "called with (token, root) failed: TypeError" in str(refusal.value)
    assert "s3cr3t" not in str(refusal.value)
    assert "private" not in str(refusal.value)


def test_what_ends_a_process_is_a_refusal_and_a_ctrl_c_is_not():
    for ending in (SystemExit(0), GeneratorExit(), BaseException("over")):
        with (
            pytest.raises(RunError, match="the code tries to end the process"),
            answering("the code"),
        ):
            raise ending
    with pytest.raises(KeyboardInterrupt), answering("the code"):
        raise KeyboardInterrupt
    with pytest.raises(KeyError), answering("the code"):
        raise KeyError("x")


def test_an_error_is_shown_in_one_line():
    assert error_shown(ValueError("one\ntwo")) == "ValueError: one"
    assert error_shown(ValueError("\x1b[2J\n")) == "ValueError: \\x1b[2J"
    assert error_shown(Exception()) == "Exception"
    assert len(error_shown(RuntimeError("x" * 10**6))) < 400


def test_a_refusal_of_many_lines_is_cut():
    said = refusal_text(RunError("\n".join(f"line {i}" for i in range(500)))).splitlines()
    assert said[:2] == ["line 0", "line 1"]
    assert len(said) == 3
    assert said[2].startswith("  line 2; line 3; ")
    assert len(said[2]) < 1300


def test_names_in_tables_and_lines_of_the_terminal_are_text(capsys):
    lines = columns(("layer", "classes"), [("a\x1b[2Jb\n", "x" * 300), ("y" * 300, "\u202e")])
    assert all(line.isprintable() for line in lines)
    assert lines[0].index("classes") == lines[1].index("xxx") == lines[2].index("\\u202e") == 102
    terminal.say("a\x1b[2J\nb\udcff")
    assert capsys.readouterr().out == "a\\x1b[2J\nb\\udcff\n"


def test_the_terminal_s_log_leaves_out_tracebacks_and_keeps_the_rest():
    from prefect.logging.handlers import PrefectConsoleHandler

    terminal.quiet_errors()
    (handler,) = [h for h in logging.getLogger().handlers if isinstance(h, PrefectConsoleHandler)]
    log = logging.getLogger("prefect")

    def shown(level, message, error=None):
        information = (type(error), error, None) if error else None
        record = log.makeRecord(log.name, level, "", 0, message, (), information)
        return handler.format(record) if handler.filter(record) else None

    assert shown(logging.ERROR, "Encountered exception", ValueError("x")) is None
    assert shown(logging.ERROR, "Finished in state Failed('x')") is None
    assert shown(logging.INFO, "Finished in state Failed('x')") is None
    assert "Completed" in shown(logging.INFO, "Finished in state Completed()")
    assert "\\x1b[2J failed" in shown(logging.ERROR, "\x1b[2J failed")
    before = list(handler.filters)
    terminal.quiet_errors()
    assert handler.filters == before


def test_a_reader_that_leaves_early_ends_the_command_quietly():
    for arguments in (["presets"], ["run", "--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [DDP, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False, text=True
        )
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (1, "")


def test_a_stage_that_fails_ends_in_one_message(tmp_path):
    content = tiny_run().model_dump(mode="json", exclude_none=True)
    content["model"] = {
        "factory": f"{BREAKING}:BreakingTraining",
        "training": {"epochs": 1},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    ended = subprocess.run(
        [DDP, "run", "mine.yaml", "--out", "out"],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "Traceback" not in said
    assert said.count("RuntimeError: no such operation") == 1
    assert said.splitlines()[-1].startswith("ddp: model.training: ")
