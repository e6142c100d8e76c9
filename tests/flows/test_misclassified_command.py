"""``ddp misclassified``: of a run, of one image, and what it cannot be asked."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from runs import tiny_run

from ddp_tasks.queries.image_margins import image_margins
from ddp_tasks.queries.misclassification import misclassification, open_judged_images
from ddp_tasks.significance.misclassification_scores import ALL, LAST, LAYERS, SOFTMAX
from flows.pipeline import run_pipeline
from schemas.parameters import RunError

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(prefect_server, tmp_path_factory):
    """A run of enough images that some are wrong and some right in either half."""
    folder = tmp_path_factory.mktemp("misclassified")
    run = tiny_run("Noise", {"images": 120}, shards={"images": 40, "batch_size": 40}, capacity=[])
    run_pipeline(run, folder)
    return folder


def test_scores_stand_beside_each_other_with_intervals(ddp, folder, tmp_path):
    page, table = tmp_path / "m.html", tmp_path / "m.csv"
    status, said = ddp("misclassified", folder, "--out", page)
    assert status == 0, said.err
    for score in (SOFTMAX, LAST, LAYERS, ALL, "layer conv1"):
        assert score in said.out
    assert "are those of the run" in said.out
    assert "The combination of all layers with max-softmax is" in said.out
    assert page.read_text().rstrip().endswith("</html>")
    assert ddp("misclassified", folder, "--out", table)[0] == 0
    rows = pd.read_csv(table)
    assert len(rows) == 120
    assert rows["error_probability"].is_monotonic_decreasing
    found = misclassification(folder)
    stored = xr.open_datatree(folder / "store.zarr", engine="zarr")
    part = stored["significance"]["part"].to_numpy()
    np.testing.assert_array_equal(found.images.choosing, part == 0)
    predicted, target = (stored["signals"][name].to_numpy() for name in ("predicted", "target"))
    assert rows["misclassified"].sum() == (predicted != target).sum()


def test_one_image_is_followed_through_the_layers(ddp, folder, tmp_path):
    images = open_judged_images(folder)
    wrong = images.ids[np.flatnonzero(images.wrong & ~images.choosing)[0]]
    page = tmp_path / "one.html"
    status, said = ddp("misclassified", folder, "--image", wrong, "--out", page)
    assert status == 0, said.err
    assert page.read_text().rstrip().endswith("</html>")
    found = image_margins(folder, wrong)
    assert found.misclassified
    assert [one.layer for one in found.layers] == ["conv1", "conv2", "fc1", "fc2"]
    for one in found.layers:
        # The parts of the vectors add up to the layer's margin.
        assert one.vectors["contribution"].sum() == pytest.approx(one.margin)
    if found.departure is not None:
        assert all(one.margin < 0 for one in found.layers[found.departure :])
    assert found.verdict() in said.out
    right = images.ids[np.flatnonzero(~images.wrong)[0]]
    kept = image_margins(folder, right)
    assert not kept.misclassified
    assert kept.rival != kept.target_class


def test_what_cannot_be_asked_is_refused(ddp, folder, finished, tmp_path):
    status, said = ddp("misclassified", folder, "--image", "7o")
    assert status == 2
    assert "image '7o' is not in" in said.err
    assert "it holds 120 images" in said.err
    status, said = ddp("misclassified", folder, "--out", tmp_path / "m.txt")
    assert status == 2
    assert "the ending must be" in said.err
    with pytest.raises(RunError, match="is not a Zarr store"):
        misclassification(tmp_path)


def test_a_run_that_is_not_split_is_split_here_and_says_so(folder, tmp_path, address):
    run = tiny_run(
        "Noise",
        {"images": 120},
        shards={"images": 40, "batch_size": 40},
        capacity=[],
        significance={"split": None, "seed": 5},
        cluster=address,
    )
    run_pipeline(run, tmp_path)
    images = open_judged_images(tmp_path)
    assert "drawn by the seed 5" in images.notes[0]
    assert images.choosing.sum() == 60
