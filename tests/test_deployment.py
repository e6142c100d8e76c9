import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from runs import tiny_run

from flows.forms import run_of
from schemas.parameters import RunParameters
from schemas.run_files import load_cluster

ROOT = Path(__file__).parents[1]
DEPLOYMENT = ROOT / "deployment"


def deployments():
    return yaml.safe_load((DEPLOYMENT / "prefect.yaml").read_text())["deployments"]


def _flow(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_deployments_of_the_file_are_every_flow():
    assert {_flow(one).name for one in deployments()} == {
        *("ddp-run", "ddp-capacity", "ddp-visualize", "ddp-ablate", "ddp-compare", "ddp-nightly")
    }


@pytest.mark.parametrize("deployment", deployments(), ids=lambda one: one["name"])
def test_parameters_of_a_deployment_are_those_of_its_flow(deployment):
    assert _flow(deployment).validate_parameters(deployment["parameters"])


def _described(field, definitions):
    """Whether the form shows a description: the field's own, or that of its section."""
    section = field.get("$ref", "").rpartition("/")[2]
    return field.get("description") or definitions.get(section, {}).get("description")


@pytest.mark.parametrize("deployment", deployments(), ids=lambda one: one["name"])
def test_every_field_of_a_form_has_a_title_and_a_description(deployment):
    schema = parameter_schema(_flow(deployment)).model_dump()
    sections = {"": schema, **schema["definitions"]}
    without = [
        f"{section}.{name}"
        for section, declared in sections.items()
        for name, field in declared.get("properties", {}).items()
        if not _described(field, schema["definitions"])
    ]
    assert without == []
    assert not {f["title"] for f in schema["properties"].values()} & set(schema["properties"])


def test_paths_of_a_form_begin_in_the_folder_of_the_flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = tiny_run().model_dump()
    written["model"] |= {"factory": "nets.py:make", "weights": "./w.pt"}
    written["images"] |= {"factory": "sets.py:make"}
    run = run_of(RunParameters.model_validate({**written, "cluster": "mine.yaml"}))
    assert run.model.factory == f"{tmp_path}/nets.py:make"
    assert run.model.weights == f"{tmp_path}/w.pt"
    assert run.images.factory == f"{tmp_path}/sets.py:make"
    assert run.cluster == f"{tmp_path}/mine.yaml"
    assert run_of(run) == run


def test_the_factory_of_a_cluster_lies_beside_its_file(tmp_path):
    (tmp_path / "c.yaml").write_text("factory: mine.py:make\nworkers: 1\n")
    assert load_cluster(tmp_path / "c.yaml").factory == f"{tmp_path}/mine.py:make"


def test_failures_are_not_reported_by_a_server_that_nobody_named():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, ROOT / "deployment/report_failures.py"],
        env={**environment, "DDP_FAILURES_URL": "https://chat.example/hooks/KEY"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("PREFECT_API_URL names no server")


def test_the_night_of_the_file_has_a_template_without_training():
    (night,) = [one for one in deployments() if one["name"] == "nightly"]
    asked = _flow(night).validate_parameters(night["parameters"])["run"]
    assert run_of(asked).model.training is None
