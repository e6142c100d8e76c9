"""What is refused: in one sentence, before any work, whatever a person hands over."""

import copy
import os
import pickle
import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import artifacts, cli, prefect_server
from flows.output_folder import made_folder, output_folder
from flows.refusals import refusal_text
from schemas import RunError, load_run
from schemas.parameters import RunParameters
from schemas.run_files import check, load_cluster, load_zoo


def test_keys_and_arguments_become_options_on_the_command_line_alone():
    error = RunError("out: 'x' is a file", change=("out", "model.weights", "out"))
    assert str(error) == "out: 'x' is a file"
    assert refusal_text(error).splitlines() == [
        "--out 'x' is a file",
        "  choose another with --out",
        "  change it with --set model.weights=VALUE",
    ]
    assert refusal_text(RunError("model.weights: gone")) == "model.weights: gone"


def test_a_refusal_is_three_lines_and_loses_none_of_its_reasons():
    lines = ["refused:", *(f"  key {i}: why" for i in range(5))]
    said = refusal_text(RunError("\n".join(lines), change=("out", "run"))).splitlines()
    assert said[:1] == ["refused:"]
    assert said[1] == "  key 0: why; key 1: why; key 2: why; key 3: why; key 4: why"
    assert said[2:] == ["  choose another with --out; name your run file with --run RUN"]
    said = refusal_text(RunError("\n".join(lines))).splitlines()
    assert said[1:] == ["  key 0: why", "  key 1: why; key 2: why; key 3: why; key 4: why"]


def test_a_refusal_comes_whole_from_a_worker():
    error = pickle.loads(pickle.dumps(RunError("gone", change=("model.weights",))))
    assert (str(error), error.change) == ("gone", ("model.weights",))


def refused(function, *arguments):
    with pytest.raises(RunError) as refusal:
        function(*arguments)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("exp::2", "holds '::'"),
        ("file", "is a file, not a folder"),
        ("file/below/it", "file is a file, not a folder"),
        ("loop/x", "loop is a file, not a folder"),
        ("a\0b", "holds a NUL byte"),
        ("x" * 256, "is too long"),
        ("x/" * 3000, "is too long"),
        ("~nobody-of-this-name/x", "there is no home folder of that name"),
        ("closed/x", "no permission to write to "),
    ],
)
def test_a_folder_that_results_cannot_go_to_is_refused(tmp_path, monkeypatch, out, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0o555)
    if out.startswith("closed") and os.geteuid() == 0:
        # Nothing is closed to root, save what a file system lets nobody write.
        monkeypatch.setattr(os, "access", lambda place, _mode: place.name != "closed")
    assert why in refused(output_folder, Path(out))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["closed", "file", "loop"]


def test_a_folder_that_cannot_be_made_is_refused():
    assert "out: '/proc/self/nothing'" in refused(made_folder, Path("/proc/self/nothing"))


@pytest.mark.parametrize("out", ["a/b/c", "d", "link/x", "e f é #%20?[x]"])
def test_other_folders_are_taken_and_made_where_they_lead(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    before = sorted(tmp_path.rglob("*"))
    path = output_folder(Path(out))
    assert sorted(tmp_path.rglob("*")) == before
    assert made_folder(Path(out)) == path
    assert (tmp_path / out).samefile(path)


def test_an_error_nobody_foresaw_ends_in_one_line_and_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["ddp", "presets"])
    monkeypatch.setattr("schemas.run_files.presets", lambda: 1 / 0)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 70
    (log,) = tmp_path.iterdir()
    assert capsys.readouterr().err == (
        f"ddp: unexpected error, ZeroDivisionError: division by zero; the traceback is in {log}\n"
    )
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "no such command 'frobnicate'"),
        (["run", "--nonsense"], "no such option: --nonsense"),
        (["explore"], "missing argument 'DIR [DIR2]'"),
        (["table", "run", "fc1", "--out", ""], "invalid value for '--out': a path is empty"),
        (["distinguish", "run", "cat", "dog", "--top", "0"], "invalid value for '--top': "),
    ],
)
def test_a_wrong_command_line_is_refused_in_two_lines(ddp, arguments, said):
    status, told = ddp(*arguments)
    first, where = told.err.splitlines()
    assert (status, told.out) == (2, "")
    assert first.startswith(f"ddp: {said}")
    command = arguments[0] if arguments != ["frobnicate"] else ""
    assert " ".join(where.split()) == " ".join(f"ddp {command} --help says what is allowed".split())


def test_an_option_without_its_value_is_refused(ddp):
    status, told = ddp("capacity", "--set")
    assert (status, told.err) == (2, "ddp: option '--set' requires an argument\n")


def test_whoever_asks_for_nothing_is_shown_the_help(ddp):
    status, told = ddp()
    assert status == 2
    assert "Usage: ddp" in told.out + told.err
    assert "ddp: " not in told.err


def test_a_list_none_of_whose_checkpoints_is_there_is_refused_before_a_server_starts(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ddp", "capacity", "cifar10-resnets"])
    monkeypatch.setattr(prefect_server, "served", lambda: 1 / 0)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert said[1].startswith("ddp: none of the 4 checkpoints of cifar10-resnets can be read")
    assert said[2:] == ["  change it with --set folder=VALUE"]
    assert list(tmp_path.iterdir()) == []


NAMES = ["a|b", "`x`", "<script>", "[x](javascript:1)", "a\nb", "$x_$", "\u202eabc", "**b**"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_markup_in_prefects_markdown(name):
    text = artifacts.as_text(name)
    assert "\n" not in text
    assert "\u202e" not in text
    assert not re.search(r"(?<!\\)(\\\\)*[|`<\[\]*$]", text)


@given(st.text(max_size=300), st.text(max_size=300))
def test_artifact_keys_are_such_as_prefect_allows_and_differ(one, other):
    keys = [artifacts.artifact_key("significance", name) for name in (one, other)]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) and len(key) < 120 for key in keys)


def test_artifact_keys_of_odd_names_differ():
    names = ["a b", "a/b", "A b", "层", "é", "x" * 300, "x" * 301]
    assert len({artifacts.artifact_key(name) for name in names}) == len(names)


BAD_FILES = {
    "latin": (b"name: \xff\xfe", "is not UTF-8 text: line 1 holds the byte 0xff"),
    "deep": (b"[" * 5000, "it nests more than 40 levels"),
    "bomb": (
        b"a0: &a0 [x]\n"
        + b"".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n".encode() for i in range(1, 12)
        ),
        "aliases written out",
    ),
    "cycle": (b"a: &a [*a]", "*a contains itself"),
    "twice": (b"a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice, first in line 1"),
    "number": (b"1: 2", "line 1: the key 1 is not text; write it in quotes"),
    "list": (b"? [a]\n: 3", "a key must be text"),
    "tag": (b"a: !!python/object:os.system x", "python/object:os.system is not allowed"),
    "set": (b"a: !!set {b, c}", "the type set is not allowed"),
    "digits": (b"a: " + b"9" * 5000, "is not of the type int"),
    "surrogate": (b'a: "\\ud800"', "half a character"),
    "nul": (b"a: \0", "which YAML does not allow"),
    "large": (b"a" * 2**20, "is too large"),
    "two": (b"a: 1\n---\nb: 2", "expected a single document"),
    "empty": (b"", "must be a mapping of keys, not empty"),
    "alias": (b"a: *b", "undefined alias"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("load", [load_run, load_zoo, lambda path: load_cluster(Path(path))])
def test_files_that_cannot_be_read_are_refused(tmp_path, kind, load):
    content, why = BAD_FILES[kind]
    (tmp_path / "mine.yaml").write_bytes(content)
    assert why in refused(load, str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("load", [load_run, load_zoo, lambda path: load_cluster(Path(path))])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, load):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "is a pipe, device or socket" in refused(load, str(tmp_path / "pipe.yaml"))
    assert "is a folder, not a file" in refused(load, str(tmp_path / "folder.yaml"))
    assert "is a pipe, device or socket" in refused(load, "/dev/zero")


@pytest.mark.parametrize(
    "override",
    [
        *("", "=", "=3", "a", ".a=3", "a..b=3", "images.=3", "images.factory.x=3", "layers.0=a"),
        *("images.per_class=-1", "images.per_class=1e30", "images.per_class='3'", "name=''"),
        *("significance.quantile=.nan", "significance.percentage=.inf", "significance.quantile=0"),
        *("significance.resamples=1" + "0" * 30, "exemplars=true", "exemplars=0", "layers=[]"),
        *("significance.grid=[0.5, .nan]", "model.training.seed=1" + "0" * 30, "model=null"),
        *("model.training.learning_rate=.inf", "images.kwargs={1: 2}", "images.kwargs.x=.nan"),
        *("images.transform={mean: [.nan], std: [1.0]}", "images.transform={crop: 1000000000}"),
        *("model.weights=''", 'model={factory: "a:b", weights: "a\\0.pt"}', "cluster=''"),
        *("significance.superclasses=/dev/zero", "significance.superclasses=nowhere.yaml"),
        *("name=[1", "name={a: 1, a: 2}", "name=!!set {a}", "x=1", "layers={a: 1}", "layers=[1]"),
        *("capacity=[slices]", "capacity=all", "shards.patience=0", "extraction.fast=1"),
        *("model.factory=nothing", "model.factory='a b:c'", "name=" + "x" * 501, 'name="a\\nb"'),
    ],
)
def test_values_that_no_run_can_have_are_refused(override):
    said = refused(load_run, "digits", [override])
    assert len(said) < 700
    assert said.isascii() or "…" in said


@pytest.mark.parametrize("key", ["none", "list[str]", "literal['all']", "constrained-str"])
def test_unknown_keys_that_are_called_like_types_are_named(key):
    for path in (key, f"images.{key}"):
        said = refused(check, RunParameters, changed(copy.deepcopy(WHOLE), path), "mine.yaml")
        assert f"{path}: unknown key" in said


def changed(content, path):
    *parents, last = path.split(".")
    at = content
    for parent in parents:
        at = at[parent]
    at[last] = None
    return content


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def places(content, path=()):
    """Where every value of nested mappings stands."""
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


WHOLE = load_run("digits").model_dump(mode="json")


@settings(max_examples=300)
@given(st.data())
def test_a_changed_run_file_is_refused_in_words_or_is_one_that_a_run_reads_back(data):
    content = copy.deepcopy(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(places(content))))
        at = content
        for parent in parents:
            at = at[parent]
        change = data.draw(st.sampled_from(["value", "drop", "add", "nest"]))
        if change == "value":
            at[last] = data.draw(VALUES)
        elif change == "drop":
            del at[last]
        elif change == "add":
            at[data.draw(st.text(max_size=8))] = data.draw(VALUES)
        else:
            at[last] = {last: at[last]}
        if not content:
            break
    try:
        run = check(RunParameters, content, "changed")
    except RunError:
        return
    assert RunParameters.model_validate_json(run.model_dump_json()) == run
    assert all(0 < q < 1 for q in run.significance.quantiles)
    assert all(0 < p <= 100 for p in run.significance.all_percentages)
    assert 0 < run.significance.levels("conv2").quantile < 1
