"""What Prefect's UI shows of a run, asked from a real server."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from prefect import flow
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect_runs import artifacts_of, edges, run_in
from runs import tiny_run

from ddp_tasks.queries.findings import read_findings
from ddp_tasks.queries.pictures import open_pictures
from ddp_tasks.queries.summary import read_summary
from ddp_tasks.stages import artifacts as shown_artifacts
from flows import artifacts
from flows.labels import model_name
from flows.pipeline import check
from flows.result_places import VARIABLE, places_markdown
from schemas.parameters import RunError
from schemas.recording import recorded
from schemas.run_files import load_run, preset_of

pytestmark = pytest.mark.usefixtures("prefect_server")

LAYERS = ("conv1", "conv2", "fc1", "fc2")


def test_a_run_is_tagged_by_model_and_images(client, finished):
    run = run_in(client, finished.store.parent)
    assert set(run.tags) == {"model: TinyNetwork", "images: Noise"}
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    tasks = client.read_task_runs(flow_run_filter=of_run)
    assert all(set(task.tags) == set(run.tags) for task in tasks)


def test_a_preset_is_known_whatever_is_changed_of_it():
    assert preset_of(load_run("cifar10", ["model.kwargs.depth=20"])) == "cifar10"
    other = load_run("digits", ["model.factory=torchvision.models:resnet18"])
    assert preset_of(other) is None
    assert preset_of(tiny_run()) is None
    assert model_name("ddp_tasks.networks:CifarResNet", {"depth": 20, "file": "/a/b"}) == (
        "CifarResNet depth=20"
    )


def test_the_edges_of_the_graph_say_who_reads_whose_results(client, finished):
    assert edges(client, run_in(client, finished.store.parent)) == {
        "accuracy": set(),
        "decompose": set(),
        "signals": {"decompose"},
        "capacity": {"decompose"},
        "significance": {"signals"},
        "exemplars": {"signals"},
        "hypergraphs": {"significance", "exemplars"},
        "pictures": {"exemplars", "hypergraphs"},
        "projections": {"exemplars"},
        "family": {"significance"},
        "stability": {"hypergraphs"},
        "controls": {"significance"},
        "report": {"capacity", "pictures", "projections", "family", "stability", "controls"},
    }


def test_artifacts_are_of_run_and_model_and_no_finished_bar_is_left(client, finished):
    found = artifacts_of(client, run_in(client, finished.store.parent))
    assert {artifact.type for artifact in found.values()} == {"markdown", "table"}
    assert set(found) == {
        "summary-tiny-tinynetwork",
        "results-tiny-tinynetwork",
        *(f"significance-tiny-tinynetwork-{layer}" for layer in LAYERS),
    }
    told = found["summary-tiny-tinynetwork"].data
    assert "| conv2 | 6 × 5 × 3 × 3 | 6 |" in told
    findings = read_findings(recorded(tiny_run()), finished.store)
    first = findings.statements[0]
    assert f"**{first.layer}**: {shown_artifacts.as_text(first.headline, 1000)}" in told
    pictures = re.findall(r"!\[[^]]*\]\(data:image/png;base64,([^)]*)\)", told)
    drawn = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in pictures]
    stored = open_pictures(finished.store.parent)
    for picture, exemplar in zip(drawn, first.exemplars, strict=True):
        kept = stored[exemplar.image]
        step = picture.shape[0] // kept.shape[0]
        np.testing.assert_array_equal(picture[::step, ::step], kept)
    rows = json.loads(found["significance-tiny-tinynetwork-fc1"].data)
    assert set(rows[0]) == {
        *("singular vector", "singular value", "η²", "η² of signals", "significant for")
    }


def test_a_bar_is_there_while_its_stage_runs(client):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["signals-half-way"]))

    def bars():
        shown_artifacts.await_shown()
        found = client.read_artifacts(artifact_filter=wanted)
        return [(artifact.type, float(artifact.data)) for artifact in found]

    @flow
    def halfway():
        with shown_artifacts.belonging_to("half", "way"):
            bar = shown_artifacts.ProgressBar("signals", "signals of images")
        bar.show(50)
        shown = bars()
        bar.take_away()
        bar.show(60)
        return shown, bars()

    assert halfway() == ([("progress", 50)], [])
    # Outside of a run it is not sent: there would have to be a server for it alone.
    with shown_artifacts.belonging_to("half", "way"):
        shown_artifacts.ProgressBar("signals", "signals of images").show(50)
    assert bars() == []


def test_results_are_links_where_they_are_served_and_text_elsewhere(finished, monkeypatch):
    folder = finished.store.parent
    places = {"report": finished.report, "store": finished.store}
    monkeypatch.delenv(VARIABLE, raising=False)
    text = places_markdown(places)
    assert f"    {finished.report.as_uri()}" in text.splitlines()
    assert "](" not in text
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:8900/")
    name = folder.as_uri().rpartition("/")[2]
    assert f"[report](http://127.0.0.1:8900/{name}/report.html)" in places_markdown(places)
    summary = read_summary(tiny_run(), finished.store)
    assert f"{name}/store.zarr)" in artifacts.summary_markdown(summary, places)


@pytest.mark.parametrize("address", ["127.0.0.1:8900", "file:///tmp", "http://[", "http://"])
def test_an_address_of_results_that_is_none_is_refused_before_work(address, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(RunError, match=r"DDP_RESULTS_URL: .* is refused; write the address"):
        check(tiny_run(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
