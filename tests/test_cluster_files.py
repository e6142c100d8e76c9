"""Every file of deployment/clusters: allowed, and what its factory takes."""

import inspect
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from dask_jobqueue import SLURMCluster
from dask_jobqueue.core import Job
from dask_jobqueue.slurm import SLURMJob
from distributed import LocalCluster, Scheduler, Worker

from ddp_tasks.callables import factories
from schemas.json_schema import MODELINE, schema_path
from schemas.run_files import load_cluster

FOLDER = Path(__file__).parents[1] / "deployment/clusters"
FILES = sorted(FOLDER.glob("*.yaml"))


def taken(*callables):
    """Names of the keyword arguments that callables take together."""
    return {name for called in callables for name in inspect.signature(called).parameters}


def test_there_is_a_file_for_every_kind_of_cluster():
    assert {file.stem for file in FILES} == {
        "one-machine",
        "gpus",
        "gpus-ucx",
        "existing-scheduler",
        "slurm",
        "kubernetes",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_is_allowed_and_its_factory_exists(file):
    cluster = load_cluster(file)
    assert (cluster.address is None) == callable(
        cluster.factory and factories.resolve(cluster.factory)
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_names_the_schema_that_it_fits(file):
    first = file.read_text().splitlines()[0]
    assert first.startswith(MODELINE)
    assert (file.parent / first.removeprefix(MODELINE)).resolve() == schema_path("cluster")
    validator = jsonschema.Draft202012Validator(json.loads(schema_path("cluster").read_text()))
    content = yaml.safe_load(file.read_text())
    assert list(validator.iter_errors(content)) == []
    assert list(validator.iter_errors({**content, "wokers": 2}))


@pytest.mark.parametrize("name", ["one-machine", "gpus", "gpus-ucx"])
def test_clusters_of_this_machine_take_what_their_files_give(name):
    cluster = load_cluster(FOLDER / f"{name}.yaml")
    kwargs = set(cluster.kwargs)
    assert kwargs <= taken(factories.resolve(cluster.factory), LocalCluster, Worker)
    assert cluster.kwargs["host"] == "127.0.0.1"
    if name != "one-machine":
        assert {"rmm_pool_size", "device_memory_limit", "memory_limit"} <= kwargs


def test_jobs_of_slurm_ask_for_what_their_file_says():
    cluster = load_cluster(FOLDER / "slurm.yaml")
    kwargs = dict(cluster.kwargs)
    assert set(kwargs) <= taken(SLURMCluster, SLURMJob.__init__, Job.__init__)
    assert set(kwargs["scheduler_options"]) <= taken(Scheduler)
    not_of_a_job = {"scheduler_options", "shared_temp_directory"}
    options = {key: value for key, value in kwargs.items() if key not in not_of_a_job}
    script = SLURMJob("tcp://10.0.0.1:8786", "one", **options).job_script()
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    for expected in ("-p gpu", "--cpus-per-task=8", "--mem=30G", "-t 02:00:00", "--gres=gpu:1"):
        assert any(expected in line for line in directives), expected
    assert "--nthreads 1" in script
    assert "OMP_NUM_THREADS=8" in script


def test_pods_of_kubernetes_are_what_their_file_says():
    from dask_kubernetes.operator import KubeCluster, make_cluster_spec

    cluster = load_cluster(FOLDER / "kubernetes.yaml")
    assert set(cluster.kwargs) <= taken(KubeCluster)
    given = {key: value for key, value in cluster.kwargs.items() if key in taken(make_cluster_spec)}
    worker = make_cluster_spec(**given)["spec"]["worker"]["spec"]["containers"][0]
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in worker["env"]
    assert worker["resources"]["requests"]["cpu"] == "4"
