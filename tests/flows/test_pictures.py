"""The pictures that a run keeps: whoever draws it later does not need its images."""

import shutil

import numpy as np
import pytest
from image_sets import photograph
from prefect import flow
from runs import tiny_run

from ddp_tasks.queries.pictures import open_pictures
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.stages import report as report_tasks
from ddp_tasks.store import groups
from flows.pipeline import run_pipeline
from schemas.parameters import RunError


@pytest.fixture(scope="module")
def of_folder(prefect_server, tmp_path_factory, address):
    """A finished run over picture files, which are gone afterwards; its pictures as they were."""
    root = tmp_path_factory.mktemp("images")
    shown = {}
    for i in range(12):
        file = root / f"class{i % 3}" / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True)
        picture = photograph(16, 16, seed=i)
        picture.save(file)
        shown[f"class{i % 3}/{i:02}.png"] = np.asarray(picture)
    run = tiny_run(
        {
            "factory": "torchvision.datasets:ImageFolder",
            "kwargs": {"root": str(root)},
            "transform": {"crop": 8, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
        },
        model={"factory": "toy_networks:Colours"},
        cluster=address,
    )
    outcome = run_pipeline(run, tmp_path_factory.mktemp("of folder"))
    shutil.rmtree(root)
    return run, outcome, {image: picture[4:12, 4:12] for image, picture in shown.items()}


def test_every_image_shown_has_its_picture_in_the_store(of_folder):
    _, outcome, shown = of_folder
    pictures = open_pictures(outcome.store.parent)
    exemplars = groups.read(outcome.store, "exemplars")["image"].to_numpy().ravel().tolist()
    assert set(pictures) == set(exemplars) - {""}
    for image, picture in pictures.items():
        np.testing.assert_array_equal(picture, shown[image])
    with pytest.raises(KeyError):
        pictures["nobody.png"]


def test_a_report_is_drawn_anew_without_the_images(of_folder, address):
    run, outcome, _ = of_folder
    before = outcome.report.read_text()
    outcome.report.unlink()

    @flow
    def drawn_anew():
        summary = read_summary(run, outcome.store)
        report_tasks.write_report(run, summary, outcome.store, outcome.report, address)

    drawn_anew()
    again = outcome.report.read_text()
    assert again.count("data:image/") == before.count("data:image/") > 0


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a Zarr store"):
        open_pictures(tmp_path)
