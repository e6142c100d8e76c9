"""``ddp check A B``: what is said of two folders: equal, other, damaged, older."""

import json
import shutil
import sys

import pytest
import zarr
from zoos import model, tiny_zoo

from ddp_tasks.store import groups
from flows import cli
from flows.capacity import run_capacity


@pytest.fixture
def check(monkeypatch, capsys):
    """Run ``ddp check A B`` in this process: its status and what it prints."""

    def call(*folders):
        monkeypatch.setattr(sys, "argv", ["ddp", "check", *map(str, folders)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return end.value.code, said.out.splitlines(), said.err

    return call


@pytest.fixture
def a(finished):
    return finished.store.parent


@pytest.fixture
def b(a, tmp_path):
    return shutil.copytree(a, tmp_path / "other [red] run")


def test_a_run_and_its_copy_have_the_same_results(check, a, b):
    (b / "report.html").write_text("another page")
    assert check(a, b)[:2] == (0, [f"{a} and {b}: the same results"])


def test_a_page_that_is_missing_is_a_note(check, a, b):
    (b / "report.html").unlink()
    assert check(a, b)[:2] == (
        0,
        [f"note: {b}, report.html: is missing", f"{a} and {b}: the same results"],
    )


def test_other_findings_in_a_store_that_is_whole_are_named(check, a, b):
    store = b / "store.zarr"
    found = groups.read(store, "significance").load()
    before = found["threshold"].values[0, 0, 1].item()
    found["threshold"].values[0, 0, 1] = before + 0.25
    groups.unseal(store)
    groups.write(store, "significance", found)
    groups.seal(store)
    shutil.rmtree(store / "exemplars")
    status, lines, _ = check(a, b)
    assert status == 1
    level = found["quantile"].values[0].item()
    assert [
        line for line in lines if line.startswith(("exemplars: ", "significance/threshold"))
    ] == [
        f"exemplars: is in {a / 'store.zarr'} only",
        f"significance/threshold: 1 of {found['threshold'].size} values differ, by at most 0.25; "
        f"the first at direction=positive, quantile={level}, layer=conv2 "
        f"({before} against {before + 0.25})",
    ]
    assert f"{b}, exemplars: not finished" in lines


def test_hypergraphs_in_hif_are_compared(check, a, b):
    files = sorted((b / "hypergraphs").glob("*.hif.json"))
    content = json.loads(files[0].read_bytes())
    content["metadata"]["run"] = "another"
    content["incidences"][0]["weight"] = 0.25
    weight = json.loads((a / "hypergraphs" / files[0].name).read_bytes())["incidences"][0]["weight"]
    files[0].write_text(json.dumps(content))
    files[1].write_text("{")
    files[2].unlink()
    assert check(a, b)[1] == [
        f"{b}, hypergraphs/{files[2].name}: is missing",
        f"hypergraphs/{files[0].name}: 1 entry differs; the first at incidences[0].weight "
        f"({weight} against 0.25)",
        f"hypergraphs/{files[1].name}: cannot be read: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        f"hypergraphs/{files[2].name}: is in {a} only",
        f'note: hypergraphs/{files[0].name} metadata.run: "tiny" against "another"',
        f"{a} and {b}: 4 differences",
    ]


def test_two_folders_that_are_damaged_alike_are_not_the_same(check, b, tmp_path):
    for chunk in (b / "store.zarr/exemplars/signal").rglob("c/0/*/0/0"):
        chunk.unlink()
    other = shutil.copytree(b, tmp_path / "damaged alike")
    status, lines, _ = check(b, other)
    assert status == 1
    assert any(
        line.startswith(f"{other}, exemplars: signal/c/0/0/0/0 is missing") for line in lines
    )


def test_a_store_of_an_older_format_is_compared_as_it_lies(check, a, b):
    root = zarr.open_group(store=b / "store.zarr", mode="a", use_consolidated=False)
    root.attrs.put({**root.attrs, "format_version": "1", "whole": ""})
    status, lines, _ = check(a, b)
    assert (status, lines[-1]) == (0, f"{a} and {b}: the same results")
    assert f"note: {b}: format version 1: not compared with its marks" in lines
    assert any(line.startswith("note: / format_version: ") for line in lines)


def test_a_folder_without_results_is_refused(check, a, tmp_path):
    status, lines, error = check(a, tmp_path)
    assert (status, lines) == (2, [])
    assert error.endswith(
        f"ddp: {tmp_path} holds no results: there is neither "
        f"{tmp_path / 'store.zarr'} nor {tmp_path / 'capacity.zarr'}\n"
    )


def test_a_run_and_a_list_have_nothing_in_common(check, a, address, prefect_server, tmp_path):
    zoo = tiny_zoo([model("a/b", 80.0)], cluster=address)
    run_capacity(zoo, tmp_path)
    assert check(tmp_path, tmp_path)[:2] == (0, [f"{tmp_path} and {tmp_path}: the same results"])
    status, lines, _ = check(a, tmp_path)
    assert status == 1
    assert lines[:2] == [f"store.zarr: is in {a} only", f"capacity.zarr: is in {tmp_path} only"]
