"""``ddp visualize``: what it refuses, and what it leaves in a finished run's folder."""

import shutil

import pytest
from ddp_processes import ddp_process
from runs import tiny_run

from ddp_tasks.queries.visualizations import open_visualizations
from ddp_tasks.store import wholeness
from flows.pipeline import run_pipeline
from flows.started_again import finished_before

pytestmark = pytest.mark.timeout(600)


def refused(ddp, *arguments):
    status, said = ddp("visualize", *arguments)
    assert status == 2, said.err
    assert said.err.startswith("ddp: ")
    return said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a layer is needed: --layer LAYER, or --all for every layer"),
        (["--layer", "conv3"], "layer 'conv3' is not in"),
        (["--layer", "fc1", "--vector", "7"], "layer fc1 has singular vectors 0 to 6"),
        (["--layer", "fc1", "--class", "lefft"], "did you mean 'left'?"),
        (["--layer", "fc1", "--all", "--vector", "1"], "--all and --vector or --class exclude"),
        (["--layer", "fc1", "--vector", "1", "--cluster", "gone.yaml"], "gone.yaml"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(finished, ddp, arguments, message) -> None:
    before = sorted(finished.store.rglob("*"))
    assert message in refused(ddp, finished.store.parent, "--trust", *arguments)
    assert sorted(finished.store.rglob("*")) == before


def test_code_that_a_store_names_is_not_run_without_a_word(finished, ddp) -> None:
    said = refused(ddp, finished.store.parent, "--layer", "fc1", "--vector", "1")
    assert "--trust" in said
    assert "--run" in said


@pytest.mark.parametrize("case", [("Series", [3, 20]), ("Volumes", [1, 5, 6, 7]), ("Vectors", [7])])
def test_inputs_that_are_no_pictures_are_refused_by_name(
    prefect_server, ddp, case, tmp_path, address
) -> None:
    network, shape = case
    run = tiny_run(
        images={"factory": "image_sets:Shaped", "kwargs": {"shape": shape}},
        model={"factory": f"odd_networks:{network}"},
        significance={"quantile": 0.6, "percentage": 50, "resamples": 0},
        capacity=[],
        cluster=address,
    )
    outcome = run_pipeline(run, tmp_path)
    layer = outcome.summary.layers[0].layer
    said = refused(
        ddp, tmp_path, "--trust", "--layer", layer, "--vector", "0", "--cluster", "local"
    )
    assert f"inputs of shape {tuple(shape)} cannot be optimised" in said


def test_images_of_vectors_are_made_and_the_report_shows_them(finished, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.store.parent, folder)

    def visualize(*arguments: str) -> str:
        asked = ("--trust", "--layer", "fc1", "--steps", "8", *arguments)
        return ddp_process(tmp_path, "visualize", folder, *asked).stdout

    printed = visualize("--vector", "1", "--vector", "0", "--negative", "--objective", "both")
    assert printed.startswith("4 optimised images")
    stored = open_visualizations(folder, "fc1")
    assert stored["target"].to_numpy().tolist() == [
        f"v{i} negative {objective} fourier" for i in (1, 0) for objective in ("mean", "density")
    ]
    for target in stored["target"].to_numpy():
        assert target in printed
    assert printed.splitlines()[-1] == str((folder / "report.html").resolve())
    assert list(wholeness.check_folder(folder)) == []
    # What is stored is kept; a run started again finds everything as it was left.
    again = visualize("--vector", "1", "--negative")
    assert again.startswith("1 optimised image")
    assert open_visualizations(folder, "fc1").identical(stored)
    assert finished_before(tiny_run(), folder) is not None
