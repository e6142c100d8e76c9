"""The benchmark behind what docs/comparison.md says of seeds, checkpoints and architectures."""

import shutil
from functools import partial

import torch

from benchmarks import training_seeds
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.training import train
from ddp_tasks.queries.model_comparison import compare_models
from schemas.run_files import load_run


def test_checkpoints_are_of_one_training(tmp_path):
    run = load_run("digits", ["model.training.epochs=2", "model.training.seed=3"])
    files = {epoch: tmp_path / f"epoch{epoch}.pt" for epoch in (1, 2)}
    training_seeds.keep_checkpoints(run, files)
    first, last = (torch.load(files[epoch], weights_only=True) for epoch in (1, 2))
    training = run.model.training
    images = open_images(run.images.training_set(training))
    trained = train(partial(open_model, run.model), images, training).state_dict()
    assert all(torch.equal(last[name], trained[name]) for name in trained)
    assert not torch.equal(first["conv1.weight"], last["conv1.weight"])


def test_networks_are_compared_in_the_page_of_results(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.store.parent, copy)
    same = compare_models([finished.store.parent, copy])
    page = "\n".join(training_seeds.seeds_section(same))
    assert "### 2 seeds" in page
    assert "| layer | sets of classes | in at least 2 of 2 |" in page
    for layer in ("conv1", "conv2", "fc1", "fc2"):
        assert f"| {layer} | " in page
    lines = training_seeds.pairs_section("Again", same)
    rows = [line.split("|") for line in lines if ", copy |" in line]
    assert [row[2].strip() for row in rows] == ["conv1", "conv2", "fc1", "fc2"]
    assert {row[3].strip() for row in rows} == {"1.00"}
    assert "- Of 42 signed vectors (2 by chance)" in training_seeds.descriptions_line([copy])
