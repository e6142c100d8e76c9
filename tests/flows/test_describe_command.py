"""``ddp describe``: classes, planted attributes, and what cannot be asked."""

import numpy as np
import pandas as pd
import pytest
from runs import tiny_run

from ddp_tasks.queries.descriptions import describe
from ddp_tasks.queries.run_signals import open_run_signals
from flows.pipeline import run_pipeline
from schemas.parameters import RunError

pytestmark = pytest.mark.timeout(600)

IMAGES = 240


@pytest.fixture(scope="module")
def folder(prefect_server, address, tmp_path_factory):
    """A run of enough images that a set may have some on either side."""
    folder = tmp_path_factory.mktemp("described")
    groups = {"one side": ["left", "right"]}
    run_pipeline(of_images(cluster=address, significance={"superclasses": groups}), folder)
    return folder


def of_images(images="Noise", **changes):
    shards = {"images": 80, "batch_size": 40}
    return tiny_run(images, {"images": IMAGES}, shards=shards, capacity=[], **changes)


@pytest.fixture
def attributes(folder, tmp_path):
    """An attribute planted along v2 of fc1, one that means nothing, and one of few images."""
    run = open_run_signals(folder)
    signal = run.signals("fc1", np.ones(IMAGES, dtype=bool))[:, 2]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": run.ids,
            "planted": signal > np.quantile(signal, 0.6),
            "coin": rng.random(IMAGES) < 0.5,
            "word": [f"w{i}" for i in range(IMAGES)],
        }
    )
    file = tmp_path / "attributes.csv"
    frame.sample(frac=1, random_state=0).to_csv(file, index=False)
    return file


def test_vectors_are_described_by_classes_beside_random_directions(ddp, folder, tmp_path):
    status, said = ddp("describe", folder, "--out", tmp_path)
    assert status == 0, said.err
    assert len(said.out.splitlines()) < 40
    # Of 3 classes; two of them, whose names a group has once; all others.
    assert "described by the best of 6 sets of images" in said.out
    assert "judged\non 120 images that chose nothing" in said.out
    assert "signed vectors are above the 95th percentile of random directions;" in said.out
    rows = pd.read_csv(tmp_path / "descriptions.csv")
    assert set(rows["layer"]) == {"conv1", "conv2", "fc1", "fc2"}
    assert len(rows) == 2 * (5 + 6 + 7 + 3)
    assert rows["percentile"].is_monotonic_decreasing
    assert set(rows["kind"]) <= {"class", "group", "two classes"}
    assert "left or right" not in set(rows["description"])
    assert rows["estimation"].between(0, 1).all()
    assert (rows["low"].dropna() <= rows["estimation"][rows["low"].notna()]).all()
    page = (tmp_path / "descriptions.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "What the vectors of tiny mean" in page
    assert 'alt="image ' in page
    assert said.out.splitlines()[-2:] == [
        str(tmp_path / name) for name in ("descriptions.html", "descriptions.csv")
    ]


def test_a_planted_attribute_is_found_and_one_of_chance_is_not(ddp, folder, attributes, tmp_path):
    table = tmp_path / "d.csv"
    status, said = ddp(
        "describe", folder, "--layers", "fc*", "--attributes", attributes, "--out", table
    )
    assert status == 0, said.err
    assert "column 'word' has no value of enough images" in said.out
    rows = pd.read_csv(table).set_index(["layer", "vector"])
    found = rows.loc["fc1", "v2⁺"]
    assert found["description"] == "planted"
    assert found["kind"] == "attribute"
    assert found["estimation"] == pytest.approx(1)
    assert found["percentile"] > 99
    assert found["false_discovery_rate"] <= 0.05
    assert rows.loc["fc1", "v2⁻"]["description"] == "not planted"
    of_chance = rows[rows["description"].str.contains("coin")]
    assert (of_chance["false_discovery_rate"] > 0.05).all()
    assert "Beyond random directions with false discoveries of at most 5 %: 2." in said.out


def test_a_run_that_is_not_split_is_split_here_and_says_so(prefect_server, tmp_path, address):
    levels = {"split": None, "seed": 5}
    run = of_images("compared_images:InFolders", significance=levels, cluster=address)
    run_pipeline(run, tmp_path)
    found = describe(tmp_path, ["conv1"])
    assert "drawn by the seed 5" in found.notes[0]
    assert found.judged == IMAGES // 2
    # Images that lie in folders of ImageNet are in groups of WordNet too: dogs and birds.
    assert found.notes[1] == "Groups of ImageNet's classes by WordNet are offered as well."
    assert found.concepts == 3 + 3 + 2
    # Of one split or another, the choice is told on images that did not choose.
    again = describe(tmp_path, ["conv1"])
    pd.testing.assert_frame_equal(found.table, again.table)


def test_what_cannot_be_asked_is_refused(ddp, folder, attributes, tmp_path):
    def refused(*arguments):
        status, said = ddp("describe", *arguments)
        assert status == 2, said.out
        assert len(said.err.splitlines()) <= 3
        return said.err

    assert "'conw1' matches no layer of" in refused(folder, "--layers", "conw1")
    assert "did you mean 'conv1'" in refused(folder, "--layers", "conw1")
    assert "the ending must be" in refused(folder, "--out", tmp_path / "d.txt")
    assert "there is no file" in refused(folder, "--attributes", tmp_path / "no.csv")
    assert "no column 'coinn' (did you mean 'coin'?)" in refused(
        folder, "--attributes", attributes, "--column", "coinn"
    )
    assert "without a table of attributes" in refused(folder, "--column", "coin")
    short = tmp_path / "short.csv"
    pd.read_csv(attributes, dtype={"id": str})[:-3].to_csv(short, index=False)
    assert f"no row for 3 of the run's {IMAGES} images" in refused(folder, "--attributes", short)
    with pytest.raises(RunError, match="is not a Zarr store"):
        describe(tmp_path)


def test_too_few_images_are_refused(prefect_server, address, tmp_path):
    run_pipeline(tiny_run("Noise", {"images": 12}, capacity=[], cluster=address), tmp_path)
    with pytest.raises(RunError, match="has 5 images in it and 5 out of it"):
        describe(tmp_path)
