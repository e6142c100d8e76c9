"""Deployments on a real server: from the form, from a schedule, night after night."""

import os
import re
import subprocess
import sys
import time

import pytest
import torch
import yaml
from deployed import ROOT, received, report_failures, tiny_file
from prefect_processes import await_true
from runs import TinyNetwork

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def worker(deployed):
    with deployed.worker() as process:
        yield process


def checkpoint(folder, name, seed=None, age=1000.0):
    folder.mkdir(exist_ok=True)
    if seed is None:
        (folder / name).write_bytes(b"half a checkpoint")
    else:
        torch.save(TinyNetwork(seed=seed).state_dict(), folder / name)
    os.utime(folder / name, (time.time() - age,) * 2)


def scheduled(deployed, deployment, parameters):
    """Give a deployment a schedule until a run of it has begun; the run, once it has ended."""
    found = deployed.read(f"/deployments/name/{deployment}")
    before = {run["id"] for run in deployed.runs_of(deployment)}
    every = {"interval": 15, "timezone": "Etc/UTC"}
    (schedule,) = deployed.ask_list(
        f"/deployments/{found['id']}/schedules",
        [{"schedule": every, "active": True, "parameters": parameters}],
    )

    def begun():
        runs = [r for r in deployed.runs_of(deployment) if r["id"] not in before]
        return [r for r in runs if r["state"]["type"] not in ("SCHEDULED", "CANCELLED")]

    run = await_true("a scheduled run", begun)[0]
    deployed.remove(f"/deployments/{found['id']}/schedules/{schedule['id']}")
    assert run["auto_scheduled"]
    return deployed.ended(run["id"])


def test_every_deployment_of_the_file_is_on_the_server(deployed):
    written = yaml.safe_load((ROOT / "deployment" / "prefect.yaml").read_text())["deployments"]
    stored = {one["name"]: one for one in deployed.ask("/deployments/filter")}
    assert set(stored) == {one["name"] for one in written}
    assert {one["work_pool_name"] for one in stored.values()} == {"ddp"}
    for one in written:
        assert stored[one["name"]]["description"] == one["description"]
        assert stored[one["name"]]["tags"] == one["tags"]
    (schedule,) = stored["nightly"]["schedules"]
    assert not schedule["active"]
    assert schedule["schedule"]["cron"] == "0 2 * * *"
    limits = {name for name, one in stored.items() if one["global_concurrency_limit"]}
    assert limits == {"digits", "capacity", "nightly"}


def field(tab, title):
    """The text of a field of the form, by its title."""
    label = tab.locator(f".p-label__header .schema-form-property__label:text-is('{title}')")
    return tab.locator(".p-label").filter(has=label).last.locator("textarea").first


@pytest.fixture
def tab(chromium):
    context = chromium.new_context(viewport={"width": 1300, "height": 1200})
    yield context.new_page()
    context.close()


def submit(tab):
    """Send the form, again while SQLite is busy, which the server says by 503."""

    def taken():
        made = re.compile("/create_flow_run$")
        with tab.expect_response(made, timeout=180_000) as answered:
            tab.get_by_role("button", name="Submit").click()
        return answered.value.status != 503

    await_true("an answer to the form", taken)


def test_a_run_from_the_form_finishes_and_its_artifacts_are_seen(deployed, worker, tab, tmp_path):
    out = tmp_path / "out"
    deployment = deployed.read("/deployments/name/ddp-run/digits")
    tab.goto(f"{deployed.prefect.ui}/deployments/deployment/{deployment['id']}/run")
    tab.get_by_text("Folder for the results").wait_for(timeout=60_000)
    assert field(tab, "File").input_value() == "digits"
    field(tab, "File").fill(str(tiny_file(tmp_path)))
    field(tab, "Folder for the results").fill(str(out))
    submit(tab)
    (run,) = await_true("a run", lambda: deployed.runs_of("ddp-run/digits"))
    given = {"file": str(tmp_path / "tiny.yaml"), "changes": []}
    assert run["parameters"] == {"out": str(out), "run": given}
    ended = deployed.ended(run["id"])
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    assert ended["name"] == "tiny"
    assert {"example", "model: TinyNetwork", "images: Noise"} <= set(ended["tags"])
    assert (out / "report.html").is_file()
    tab.goto(f"{deployed.prefect.ui}/runs/flow-run/{run['id']}")
    tab.get_by_text("Artifacts", exact=True).click(timeout=60_000)
    tab.get_by_text("summary-tiny-tinynetwork").wait_for(timeout=60_000)
    assert set(deployed.artifacts(run["id"])) >= {"summary-tiny-tinynetwork"}


@pytest.mark.parametrize("deployed", ["sqlite"], indirect=True)
def test_nights_by_schedule(deployed, worker, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "results"
    parameters = {
        "checkpoints": str(folder),
        "run": {"file": str(tiny_file(tmp_path))},
        "out": str(out),
    }
    checkpoint(folder, "old.pt", seed=1, age=5000)
    first = scheduled(deployed, "ddp-nightly/nightly", parameters)
    assert first["state"]["type"] == "COMPLETED", first["state"]["message"]

    (folder / "old.pt").rename(folder / "renamed.pt")
    checkpoint(folder, "new.pt", seed=2, age=3000)
    checkpoint(folder, "broken.pt", age=2000)
    night = scheduled(deployed, "ddp-nightly/nightly", parameters)
    assert night["state"]["type"] == "FAILED"
    shown = deployed.artifacts(night["id"])["night-checkpoints"]["data"]
    assert re.search(r"renamed\\?\.pt \| known", shown)
    assert re.search(r"new\\?\.pt \| analysed", shown)
    assert re.search(r"broken\\?\.pt \| \*\*failed\*\*", shown)
    assert len(list((out / "comparisons").glob("new-*.html"))) == 1

    # Events of a run that the scheduler made just now reach automations much later.
    with received() as (address, posted):
        report_failures(deployed.prefect, address)
        night = deployed.ended(deployed.start("ddp-nightly/nightly", **parameters))
        headers, told = await_true("a report of the failure", lambda: posted)[0]
    assert headers["Authorization"] == "Bearer of the test"
    assert told["deployment"] == "nightly"
    assert told["run"] == "checkpoints"
    assert "broken.pt: " in told["cause"]
    assert told["link"] == f"{deployed.prefect.ui}/runs/flow-run/{night['id']}"
    assert told["cause"] in told["text"]
    # The run of a checkpoint that failed, within the night, is told of by the night alone.
    assert len(posted) == 1


@pytest.mark.parametrize("deployed", ["postgresql"], indirect=True)
def test_a_run_by_schedule(deployed, worker, tmp_path):
    out = tmp_path / "out"
    parameters = {"run": {"file": str(tiny_file(tmp_path))}, "out": str(out)}
    run = scheduled(deployed, "ddp-run/custom", parameters)
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert "summary-tiny-tinynetwork" in deployed.artifacts(run["id"])
    assert (out / "report.html").is_file()


@pytest.mark.parametrize("deployed", ["sqlite"], indirect=True)
def test_failures_need_an_address_to_be_reported_to(deployed):
    done = subprocess.run(
        [sys.executable, "deployment/report_failures.py"],
        env=deployed.prefect.environment,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("DDP_FAILURES_URL names no address")
