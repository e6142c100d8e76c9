"""``extraction.decoding: gpu`` on workers that have no GPU: the same cube, and who decoded it."""

import logging

import numpy as np
import pytest
import torch
from image_sets import photograph
from run_stages import cube, fill
from runs import tiny_run

from ddp_tasks.networks.paper_networks import CifarResNet
from ddp_tasks.store import groups

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("decoding") / "tree"
    for i in range(12):
        path = root / "abc"[i % 3] / f"{i:02}.{'png' if i == 4 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(30 + i, 30, seed=i).save(path)
    torch.manual_seed(0)
    torch.save(CifarResNet(8).state_dict(), root.parent / "weights.pt")
    return root


def run_over(tree, **extraction):
    images = {
        "factory": "torchvision.datasets:ImageFolder",
        "kwargs": {"root": str(tree)},
        "transform": {"resize": 8, "crop": 8, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }
    model = {"factory": "ddp_tasks.networks:CifarResNet", "kwargs": {"depth": 8}}
    model["weights"] = str(tree.parent / "weights.pt")
    return tiny_run(images, model=model, extraction=extraction, significance={"quantile": 0.8})


def test_workers_without_a_gpu_decode_on_the_processor(tree, address, tmp_path, caplog):
    fill(run_over(tree), tmp_path / "cpu.zarr", address)
    with caplog.at_level(logging.INFO):
        fill(run_over(tree, decoding="gpu"), tmp_path / "gpu.zarr", address)
    np.testing.assert_array_equal(cube(tmp_path / "gpu.zarr"), cube(tmp_path / "cpu.zarr"))
    assert "0 of 12 pictures were decoded on GPUs, 12 by processors" in caplog.text
    # What decoding does to the signals is measured beside what precision does: here it is nothing.
    error = groups.read(tmp_path / "gpu.zarr", "extraction")
    assert float(error["largest_error"].max()) == 0
    stored = groups.root_attributes(tmp_path / "gpu.zarr")["identity"]
    assert '"decoding": "gpu"' in stored
