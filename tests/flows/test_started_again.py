"""A finished run started again: seen as finished only where every file is as it was written."""

import shutil

import numpy as np
import pytest
from runs import Noise, tiny_run

from ddp_tasks.store import groups
from flows.pipeline import run_pipeline
from flows.started_again import finished_before


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished.store.parent, tmp_path / "out")
    return tmp_path / "out"


def _stamps(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_a_finished_run_is_found_with_its_findings_and_left_alone(finished):
    before = _stamps(finished.store.parent)
    outcome = finished_before(tiny_run(), finished.store.parent)
    assert outcome.summary == finished.summary
    assert (outcome.store, outcome.report) == (finished.store, finished.report)
    assert outcome.hypergraphs == finished.hypergraphs
    assert _stamps(finished.store.parent) == before


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _chunk(folder, array):
    chunks = (folder / "store.zarr" / array / "c").rglob("*")
    return next(file for file in chunks if file.is_file())


DAMAGES = {
    "no report": lambda out: (out / "report.html").unlink(),
    "half a report": lambda out: (out / "report.html").write_bytes(
        (out / "report.html").read_bytes()[:-20]
    ),
    "no store": lambda out: shutil.rmtree(out / "store.zarr"),
    "an open store": lambda out: groups.unseal(out / "store.zarr"),
    "no hypergraph": lambda out: (out / "hypergraphs/fc1.hif.json").unlink(),
    "another hypergraph": lambda out: _flip(out / "hypergraphs/fc1.hif.json"),
    **{
        f"a bit of {array}": lambda out, array=array: _flip(_chunk(out, array))
        for array in (
            "signals/signal",
            "significance/fraction",
            "exemplars/signal",
            "exemplars/class_signal",
            "pictures/picture",
            "projections/conv2/map",
            "family/depth",
            "capacity/alpha",
            "hypergraphs/fc2/vectors",
            "hierarchies/fc2/singular_vectors",
            "stability/fc2/incidence",
        )
    },
    "no mark of a shard": lambda out: _flip(_chunk(out, "signals/complete")),
    "a file for a group": lambda out: (
        shutil.rmtree(out / "store.zarr/family"),
        (out / "store.zarr/family").write_text(""),
    ),
    "no group": lambda out: shutil.rmtree(out / "store.zarr/exemplars"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_with_damaged_results_is_not_finished(folder, damage):
    DAMAGES[damage](folder)
    assert finished_before(tiny_run(), folder) is None


_LEVELS = tiny_run().significance.model_dump()


@pytest.mark.parametrize(
    "changes",
    [
        {"significance": {**_LEVELS, "percentage": 51}},
        {"significance": {**_LEVELS, "resamples": 7}},
        {"significance": {**_LEVELS, "superclasses": {"sides": ["left", "right"]}}},
        {"capacity": ["unfolded", "channels"]},
        {"exemplars": 2},
        {"images": {"factory": "nowhere:Images"}},
        {"spatial_statistics": True},
    ],
)
def test_another_run_is_not_finished(finished, changes):
    assert finished_before(tiny_run(**changes), finished.store.parent) is None


def test_a_copy_elsewhere_is_finished_too(folder):
    assert finished_before(tiny_run(), folder) is not None


IMAGES = """
import numpy, torch

class Stored:
    classes = ("left", "right", "both")

    def __init__(self, file):
        self.images, self.targets = torch.from_numpy(numpy.load(file)), [i % 3 for i in range(12)]

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return self.images[index], self.targets[index]
"""


def test_a_run_of_which_an_image_was_replaced_is_not_finished(prefect_server, tmp_path):
    images = Noise(12).images.numpy()
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "stored.py").write_text(IMAGES)
    run = tiny_run(f"{tmp_path / 'stored.py'}:Stored", {"file": str(tmp_path / "images.npy")})
    run_pipeline(run, tmp_path / "out")
    assert finished_before(run, tmp_path / "out") is not None
    images[7] += 0.5
    np.save(tmp_path / "images.npy", images)
    assert finished_before(run, tmp_path / "out") is None
