"""``ddp compare``: runs of other seeds, layers of one run, and what cannot be compared."""

import shutil

import pandas as pd
import pytest
from runs import HERE, tiny_run

from ddp_tasks.queries.comparison_tables import layers_frame
from ddp_tasks.queries.model_comparison import compare_models
from flows.pipeline import run_pipeline

pytestmark = pytest.mark.timeout(600)


def other_run(folder, images="Noise", seed=1, **changes):
    model = {"factory": f"{HERE}:TinyNetwork", "kwargs": {"seed": seed}}
    run = tiny_run(images, model=model, capacity=[], **changes)
    run_pipeline(run, folder)
    return folder


@pytest.fixture(scope="module")
def seeds(finished, tmp_path_factory):
    """Folders of the tiny run with two other seeds, beside the first."""
    parent = tmp_path_factory.mktemp("seeds")
    others = [other_run(parent / f"seed{seed}", seed=seed) for seed in (1, 2)]
    return [finished.store.parent, *others]


def test_runs_of_three_seeds_are_compared_on_their_images(ddp, seeds, tmp_path):
    page, table, findings = (tmp_path / name for name in ("c.html", "c.csv", "f.csv"))
    status, said = ddp("compare", *seeds, "--out", page, "--table", table, "--findings", findings)
    assert status == 0, said.err
    assert "compared on 30 common images of 3 classes" in said.out
    assert "sets of classes in at least 2 networks" in said.out
    assert said.out.splitlines()[-1] == str(page)
    rows = pd.read_csv(table)
    assert len(rows) == 3 * 4
    assert list(rows["layer_a"]) == list(rows["layer_b"]) == ["conv1", "conv2", "fc1", "fc2"] * 3
    assert rows["cka"].between(-0.5, 1).all()
    counted = pd.read_csv(findings)
    assert counted["networks"].between(1, 3).all()
    assert (counted["of"] == 3).all()
    assert counted["varied"].between(0, 3).all()
    assert "in those that keep variances" in said.out
    text = page.read_text()
    assert text.rstrip().endswith("</html>")
    assert 'id="survival"' in text


def test_a_run_compared_with_its_copy_is_the_same_in_everything(seeds, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(seeds[0], copy)
    same = compare_models([seeds[0], copy])
    rows = layers_frame(same)
    for column in ("cka", "signal_cosine", "correlation", "surviving", "sets_jaccard"):
        assert rows[column].dropna().to_numpy() == pytest.approx(1)
    assert rows["incidences_kept"].dropna().to_numpy() == pytest.approx(1)
    assert (rows["fraction_difference"].dropna() == 0).all()
    assert rows["channels_correspond"].all()
    assert rows["left_cosine"].to_numpy() == pytest.approx(1)
    assert (rows["nodes_a"] == rows["nodes_b"]).all()


def test_nodes_are_those_of_the_runs_own_hypergraphs(seeds):
    from ddp_tasks.queries.significance import open_significance

    compared = compare_models(seeds[:2])
    stored = open_significance(seeds[0])
    rows = layers_frame(compared)
    for layer, nodes in zip(rows["layer_a"], rows["nodes_a"], strict=True):
        of_run = sum(
            int(stored.at(layer, direction=d).significant.any(axis=0).sum())
            for d in ("positive", "negative")
        )
        assert nodes == of_run


def test_two_layers_of_one_run_are_compared(ddp, seeds, tmp_path):
    status, said = ddp("compare", seeds[0], "--layers", "fc1", "fc2", "--out", tmp_path / "l.html")
    assert status == 0, said.err
    assert said.out.startswith("fc1, fc2: compared on 30 common images")
    assert (tmp_path / "l.html").is_file()


@pytest.fixture(scope="module")
def fewer_layers(prefect_server, tmp_path_factory):
    return other_run(tmp_path_factory.mktemp("fewer"), seed=0, layers=["conv2", "fc1"])


def test_layers_of_networks_with_other_layers_correspond_by_cka(seeds, fewer_layers):
    compared = compare_models([seeds[0], fewer_layers])
    (pair,) = compared.pairs
    assert not pair.by_name
    # The same network: its own layers are the most alike.
    assert [of.b for of in pair.layers][1:3] == ["conv2", "fc1"]
    assert pair.cka.shape == (4, 2)
    assert list(compared.counts) == ["conv1", "conv2", "fc1", "fc2"]


def refused(ddp, *arguments):
    status, said = ddp("compare", *arguments)
    assert status == 2, said.err
    assert said.err.startswith("ddp: ")
    return said.err


def test_what_cannot_be_compared_is_refused_before_any_work(ddp, seeds, tmp_path):
    page = ("--out", tmp_path / "c.html")
    first, other = seeds[:2]
    assert "is a single run: name another, or two of its layers" in refused(ddp, first, *page)
    assert "is given twice" in refused(ddp, first, first, *page)
    assert "named twice" in refused(ddp, first, "--layers", "fc1", "fc1", *page)
    assert "layer 'fc3' is not in" in refused(ddp, first, "--layers", "fc1", "fc3", *page)
    assert "two layers are named for 3 runs" in refused(ddp, *seeds, "--layers", "fc1", "fc2")
    assert "matches no layer" in refused(ddp, first, other, "--layer", "dense*", *page)
    assert "the ending must be .html" in refused(ddp, first, other, "--out", tmp_path / "c.txt")
    assert ".csv or .parquet" in refused(ddp, first, other, *page, "--table", tmp_path / "c.txt")
    assert "is not a Zarr store" in refused(ddp, first, tmp_path, *page)
    assert not (tmp_path / "c.html").exists()


def test_unfinished_and_damaged_runs_are_refused_by_name(ddp, seeds, tmp_path):
    page = ("--out", tmp_path / "c.html")
    unfinished, damaged = tmp_path / "unfinished", tmp_path / "damaged"
    for folder in (unfinished, damaged):
        shutil.copytree(seeds[1], folder)
    shutil.rmtree(unfinished / "store.zarr/significance")
    said = refused(ddp, seeds[0], unfinished, *page)
    assert "unfinished" in said
    assert "holds no significance: the run is not finished" in said
    files = (damaged / "store.zarr/signals/signal").rglob("*")
    shard = next(file for file in files if file.is_file() and file.name != "zarr.json")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert "damaged" in refused(ddp, seeds[0], damaged, *page)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("Brighter", "other bytes under each"),
        ("Renamed", "the runs have other target classes: 1 of 3 classes of"),
        ("Relabelled", "the ids are of other images"),
        ("Named", "the runs have no image in common, by id:"),
    ],
)
def test_runs_on_other_images_are_refused(ddp, seeds, tmp_path, images, message):
    other = other_run(tmp_path / "other", f"compared_images:{images}")
    assert message in refused(ddp, seeds[0], other, "--out", tmp_path / "c.html")
