"""The benchmark of GPUs, tiny, with the processor in their place."""

import json
import shutil

import numpy as np
import pytest
import torch
from runs import tiny_run

from benchmarks import gpu, gpu_cases

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def in_this_process(monkeypatch, address, finished):
    """Jobs are carried out here on one cluster, with their arguments and results as texts.

    The whole run is one that is finished already.
    """

    def whole(run, folder):
        assert json.loads(run)["name"] == "tiny"
        shutil.copytree(finished.store, folder / "store.zarr")
        return dict(finished.seconds)

    asked = []

    def carried_out(job, side, **arguments):
        asked.append((job, side))
        arguments = json.loads(json.dumps(arguments, default=str))
        if "folder" in arguments:
            arguments["folder"] = gpu.Path(arguments["folder"])
        return json.loads(json.dumps(gpu.JOBS[job](**arguments))), [f"{job}, process 1: said"]

    monkeypatch.setattr(gpu, "apart", carried_out)
    monkeypatch.setattr(gpu, "LOOP_SECONDS", 0.01)
    monkeypatch.setattr(gpu, "TOLERANCE", {"float32": 1e-4, "bfloat16": 1e-1})
    monkeypatch.setattr(gpu.Side, "cluster", address)
    monkeypatch.setitem(gpu.JOBS, "whole", whole)
    monkeypatch.setattr(gpu, "whole_runs", lambda _: {"digits": tiny_run()})
    return asked


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_every_job_is_done_and_shown(tmp_path, in_this_process, monkeypatch):
    monkeypatch.setattr(gpu, "VisualizationParameters", _few_steps(gpu.VisualizationParameters))
    results = tmp_path / "results.md"
    few = ["--images", "40", "--few", "12", "--pictures", "2", "--judges", "2"]
    options = ["--data", str(tmp_path), "--device", "cpu", "--only", "digits", *few]
    gpu.main([*options, "--results", str(results)])
    lines = results.read_text().splitlines()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| digits |" in line
    ]
    exact, rounded, *extras = rows
    assert [exact[1], rounded[1]] == ["float32", "bfloat16"]
    # The same processor in the same precision: the same cube.
    assert exact[8] == "0.0e+00 (1e-04)"
    assert 0 < float(rounded[8].split()[0]) < 1e-1
    assert float(exact[5].replace(",", "")) > 0
    assert [cells[1].split()[0] for cells in extras] == ["the", "2", "removals"]
    assert all(float(cells[2]) > 0 for cells in extras)
    assert "    cube, process 1: said" in lines
    two_cores = [side for job, side in in_this_process if job == "extras"]
    assert two_cores == [gpu.Side("cpu"), gpu.Side("cpu", 2)]


def _few_steps(parameters):
    def made(**options):
        return parameters(**options, steps=2, seeds=1)

    return made


def test_pictures_in_memory_come_over_and_over(tmp_path):
    pixels = np.arange(3 * 32 * 32 * 3, dtype=np.uint8).reshape(3, 32, 32, 3)
    np.save(tmp_path / "pixels.npy", pixels)
    images = gpu_cases.InMemory(str(tmp_path / "pixels.npy"), 7)
    assert len(images.data) == len(images.targets) == 7
    np.testing.assert_array_equal(images.data[6], pixels[0])


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main(["--data", "."])
    assert "there is no GPU here; --device cpu shows" in capsys.readouterr().err
