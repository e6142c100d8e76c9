import importlib
from pathlib import Path

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from flows.forms import run_of

DEPLOYMENT = Path(__file__).parents[1] / "deployment"


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


def test_the_night_of_the_file_has_a_template_without_training():
    (night,) = [one for one in deployments() if one["name"] == "nightly"]
    asked = _flow(night).validate_parameters(night["parameters"])["run"]
    assert run_of(asked).model.training is None
