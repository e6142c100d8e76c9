from pathlib import Path

import pytest
import yaml

from ddp_tasks.callables import factories
from schemas.parameters import RunParameters
from schemas.run_files import check, load_cluster, load_run

DEPLOYMENT = Path(__file__).parents[1] / "deployment"


def test_the_deployment_runs_the_preset_of_its_name():
    (deployment,) = yaml.safe_load((DEPLOYMENT / "prefect.yaml").read_text())["deployments"]
    parameters = check(RunParameters, deployment["parameters"]["run"], "prefect.yaml")
    assert parameters == load_run(deployment["name"])


def test_the_entrypoint_of_the_deployment_is_the_flow():
    (deployment,) = yaml.safe_load((DEPLOYMENT / "prefect.yaml").read_text())["deployments"]
    place, _, flow = deployment["entrypoint"].partition(":")
    module = factories.resolve(f"{Path(place).with_suffix('').as_posix().replace('/', '.')}:{flow}")
    assert module.name == "ddp-run"


@pytest.mark.parametrize("file", sorted((DEPLOYMENT / "clusters").glob("*.yaml")), ids=str)
def test_every_cluster_file_is_allowed(file):
    assert load_cluster(file).factory


@pytest.mark.parametrize("name", ["one-machine", "gpus"])
def test_factories_that_are_always_installed_resolve(name):
    assert callable(factories.resolve(load_cluster(DEPLOYMENT / f"clusters/{name}.yaml").factory))
