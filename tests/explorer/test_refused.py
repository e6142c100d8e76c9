"""What the explorer refuses before it serves anything."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from ddp_tasks.explorer.opened_runs import check_shared
from schemas.run_error import RunError


def _told(call, *arguments):
    code, said = call("explore", *arguments)
    assert (code, said.out) == (2, "")
    assert len(said.err.splitlines()) <= 3
    return said.err


@pytest.mark.slow
def test_folders_that_hold_no_finished_run_are_refused(ddp, finished, tmp_path):
    assert "is not a Zarr store" in _told(ddp, tmp_path)
    copied = tmp_path / "copied"
    shutil.copytree(finished.report.parent, copied)
    metadata = copied / "store.zarr" / "zarr.json"
    content = json.loads(metadata.read_text())
    content["attributes"] = {"format_version": "2"}  # older stores have no mark that is known
    metadata.write_text(json.dumps(content))
    assert "format version 2" in _told(ddp, copied)
    assert "3 folders are given" in _told(ddp, copied, copied, copied)


def test_a_port_that_is_taken_is_refused(ddp, finished):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1" in _told(ddp, finished.report.parent, "--port", port)


def test_runs_that_share_no_class_are_refused():
    check_shared({Path("a"): ["cat", "dog"], Path("b"): ["dog"]})
    with pytest.raises(RunError, match=r"a \(cat\) and b \(1, 2, 3, 4, 5, \.\.\.\) share no class"):
        check_shared({Path("a"): ["cat"], Path("b"): list("123456")})
