"""A folder of checkpoints, night after night."""

import os
import re
import shutil
import time

import pytest
import s3_server
import torch
from prefect_runs import artifacts_of
from runs import HERE, TinyNetwork, tiny_run

from flows.checkpoint_folder import Digests, checkpoint_files
from flows.nightly import NightError, run_nightly
from flows.texts.nightly import Checkpoint, Night, night_lines, night_markdown
from schemas.object_paths import path_of
from schemas.parameters import RunError

pytestmark = pytest.mark.timeout(600)


def write(folder, name, seed=None, age=1000.0, content=b"no checkpoint"):
    """A checkpoint as training leaves it, or a broken one; some seconds old."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    if seed is None:
        path.write_bytes(content)
    else:
        torch.save(TinyNetwork(seed=seed).state_dict(), path)
    os.utime(path, (time.time() - age,) * 2)
    return path


def came(night):
    return {one.name: one.came for one in night.checkpoints}


def last_night(client):
    runs = client.read_flow_runs()
    nights = [r for r in runs if "checkpoints" in r.parameters and r.parent_task_run_id is None]
    return max(nights, key=lambda one: one.start_time)


def test_three_nights(client, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "results"
    run = tiny_run(capacity=[])
    write(folder, "epoch1.pt", seed=1, age=5000)
    write(folder, "notes.txt")
    night = run_nightly(folder, run, out)
    assert came(night) == {"epoch1.pt": "analysed"}
    assert night.comparison is None

    # One renamed, one new, one broken, one still being written.
    (folder / "epoch1.pt").rename(folder / "first.pt")
    write(folder, "epoch2.pt", seed=2, age=3000)
    write(folder, "broken.pt", age=2000)
    write(folder, "epoch3.pt", seed=3, age=-3600)  # of a clock that is ahead
    with pytest.raises(NightError, match=r"1 failed:\n  broken\.pt: ") as failed:
        run_nightly(folder, run, out)
    night = failed.value.night
    assert came(night) == {
        "first.pt": "known",
        "epoch2.pt": "analysed",
        "broken.pt": "failed",
        "epoch3.pt": "left",
    }
    known, new = (night.checkpoints[i].folder.name for i in (0, 1))
    assert night.comparison == out / "comparisons" / f"{new} and {known}.html"
    assert night.comparison.with_suffix(".csv").is_file()
    recorded = last_night(client)
    assert recorded.state.is_failed()
    assert "checkpoints: checkpoints" in recorded.tags
    shown = artifacts_of(client, recorded)["night-checkpoints"].data
    assert re.search(r"\| broken\\?\.pt \| \*\*failed\*\* \|", shown)

    # The last night: what was left is analysed, nothing else is done again.
    (folder / "broken.pt").unlink()
    os.utime(folder / "epoch3.pt", (time.time() - 100,) * 2)
    pages = {page: page.stat().st_mtime_ns for page in out.glob("*/*.html")}
    night = run_nightly(folder, run, out)
    assert came(night) == {"first.pt": "known", "epoch2.pt": "known", "epoch3.pt": "analysed"}
    assert {page: page.stat().st_mtime_ns for page in pages} == pages
    assert night.comparison.name.startswith("epoch3-")


def test_nights_in_object_storage(client, tmp_path, monkeypatch):
    (tmp_path / "s3").mkdir()
    with s3_server.served(tmp_path / "s3") as url:
        for name, value in {**s3_server.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        bucket = path_of(s3_server.BUCKET)
        for seed in (1, 2):
            weights = write(tmp_path / "checkpoints", f"epoch{seed}.pt", seed=seed)
            (bucket / "checkpoints" / weights.name).write_bytes(weights.read_bytes())
        # What a run finds is tried at an address elsewhere.
        few = {"quantile": 0.8, "percentage": 60, "resamples": 0, "sample_sizes": []}
        controls = {"rotations": 0, "permutations": 0}
        run = tiny_run(capacity=[], controls=controls, significance=few)
        asked = (bucket / "checkpoints", run, bucket / "results")
        night = run_nightly(*asked, settled=0)
        assert came(night) == {"epoch1.pt": "analysed", "epoch2.pt": "analysed"}
        assert str(night.comparison).startswith(f"{s3_server.BUCKET}/results/comparisons/")
        assert night.comparison.is_file()
        left = run_nightly(*asked, settled=3600)
        assert came(left) == {"epoch1.pt": "left", "epoch2.pt": "left"}
        assert came(run_nightly(*asked, settled=0)) == {"epoch1.pt": "known", "epoch2.pt": "known"}


def test_weights_analysed_with_other_parameters_are_known_and_said_to_be(
    client, finished, tmp_path
):
    folder, out = tmp_path / "checkpoints", tmp_path / "results"
    write(folder, "seed0.pt", seed=0)
    shutil.copytree(finished.store.parent, out / "before")
    night = run_nightly(folder, tiny_run(exemplars=5), out)
    (one,) = night.checkpoints
    assert (one.came, one.folder) == ("known", out / "before")
    assert one.why == "analysed with other parameters: exemplars is 4 there and 5 here"


def test_an_unfinished_run_is_continued_where_it_is(client, finished, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "results"
    write(folder, "seed0.pt", seed=0)
    shutil.copytree(finished.store.parent, out / "before")
    (out / "before" / "report.html").unlink()
    night = run_nightly(folder, tiny_run(), out)
    assert [(one.came, one.folder) for one in night.checkpoints] == [("analysed", out / "before")]
    assert (out / "before" / "report.html").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"factory": f"{HERE}:TinyNetwork", "training": {}}}, "trains its network"),
        ({}, "checkpoints: '.*nowhere' is not a folder that exists"),
    ],
)
def test_what_is_no_folder_of_checkpoints_is_refused(prefect_server, changes, message, tmp_path):
    with pytest.raises(RunError, match=message):
        run_nightly(tmp_path / "nowhere", tiny_run(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digests_are_computed_once_while_a_file_stays_as_it_is(tmp_path):
    folder, model = tmp_path / "checkpoints", tiny_run().model
    path = write(folder, "a.pt", seed=1)
    (file,) = checkpoint_files(folder, ["*.pt"])
    first = Digests(tmp_path, model)
    digest = first.of(file)
    first.keep([file])
    path.unlink()  # what is kept is not opened
    assert Digests(tmp_path, model).of(file) == digest
    other = model.model_copy(update={"kwargs": {"classes": 4}})
    with pytest.raises(RunError, match="does not exist"):
        Digests(tmp_path, other).of(file)


def test_a_night_as_text(tmp_path, monkeypatch):
    monkeypatch.setenv("DDP_RESULTS_URL", "http://127.0.0.1:8900")
    night = Night(
        (
            Checkpoint("a|b.pt", "analysed", tmp_path / "a-1"),
            Checkpoint("c.pt", "failed", why="model.weights: file is broken"),
        ),
        not_compared="no common images",
    )
    assert night.failed == ["c.pt: model.weights: file is broken", "comparison: no common images"]
    text = night_markdown("zoo", night)
    assert "| a\\|b.pt | analysed | [a\\-1](http://127.0.0.1:8900/a-1/report.html) |" in text
    assert "1 analysed, 1 failed" in night_lines(night)
