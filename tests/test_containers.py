"""Images, the Compose file and the Kubernetes manifests: lint, schemas, and one set of versions."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import dask_kubernetes
import jsonschema
import kubernetes_validate
import pytest
import yaml

from ddp_tasks.callables import factories
from schemas.run_files import load_cluster

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / "deployment" / "containers"
KUBERNETES = ROOT / "deployment" / "kubernetes"
DOCKERFILE = CONTAINERS / "Dockerfile"
COMPOSE = CONTAINERS / "compose.yaml"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
#: The newest release of Kubernetes whose schemas were tried.
KUBERNETES_VERSION = "1.37"
#: Every file with an image in it.
FILES = (
    *(DOCKERFILE, COMPOSE, ROOT / "docs/howto/containers.md"),
    *sorted(KUBERNETES.glob("*/*.yaml")),
    *sorted((ROOT / "deployment/clusters").glob("*.yaml")),
)
SECRETS = {"DDP_PREFECT_AUTH": "somebody:secret", "DDP_DATABASE_PASSWORD": "another"}

needs_kustomize = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def _program(name):
    """A program of a package in this environment."""
    return str(Path(sys.executable).parent / name)


def _compose(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DDP_"}
    command = [_program("docker-compose"), "-f", str(COMPOSE), *arguments]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False
    )


@cache
def _services(*profiles):
    arguments = [part for profile in profiles for part in ("--profile", profile)]
    shown = _compose(*arguments, "config", "--format", "json", **SECRETS)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def _documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def _kustomized(overlay):
    command = ["kubectl", "kustomize", str(KUBERNETES / overlay)]
    return _documents(subprocess.run(command, capture_output=True, check=True).stdout)


def _pods(documents):
    """Specifications of all pods, with the names of what they belong to."""
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def _base():
    files = sorted((KUBERNETES / "base").glob("*.yaml"))
    texts = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    return [document for text in texts for document in _documents(text)]


def _operator_pods():
    spec = load_cluster(KUBERNETES / "operator/cluster.yaml").kwargs["custom_cluster_spec"]["spec"]
    return [(part, spec[part]["spec"]) for part in ("scheduler", "worker")]


PODS = [*_pods(_base()), *_operator_pods()]


def test_hadolint_finds_nothing_in_the_dockerfile():
    command = [_program("hadolint"), str(DOCKERFILE)]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_images_have_the_version_of_the_project(file):
    tags = re.findall(r"ddp-flows:([\w.${}:-]+)", file.read_text())
    allowed = {VERSION, f"{VERSION}-cuda"}
    assert {re.sub(r"\$\{DDP_VERSION:-(.*)\}", r"\1", tag) for tag in tags} <= allowed


def test_the_label_and_the_manifests_have_the_version_of_the_project():
    assert f"ARG VERSION={VERSION}\n" in DOCKERFILE.read_text()
    kustomization = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    assert kustomization["images"] == [{"name": "ddp-flows", "newTag": VERSION}]


def test_the_image_has_the_python_that_constraints_were_resolved_for():
    python = re.search(
        r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)\.\d+-slim-", DOCKERFILE.read_text(), re.M
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["mypy"]["python_version"] == python[1]


def test_torch_comes_from_the_index_of_its_cuda():
    """CUDA's libraries among the constraints are those of one of its releases."""
    cuda = re.search(r"^cuda-toolkit==(\d+)\.(\d+)\.", (ROOT / "constraints.txt").read_text(), re.M)
    index = f"https://download.pytorch.org/whl/cu{cuda[1]}{cuda[2]}"
    gpu = _services("gpu")["services"]["gpu-worker"]["build"]["args"]["TORCH_INDEX"]
    assert gpu == index
    assert f"--build-arg TORCH_INDEX={index} " in DOCKERFILE.read_text()


def test_one_release_of_postgresql_is_named_everywhere():
    files = [COMPOSE, KUBERNETES / "base/postgres.yaml"]
    assert len({re.search(r"postgres:[\d.]+-\w+", file.read_text())[0] for file in files}) == 1


def test_what_the_dockerfile_copies_is_not_ignored():
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = re.search(r"^COPY (.*) \./$", DOCKERFILE.read_text(), re.M)[1].split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert kept == {*copied, *packages, "deployment"}
    assert f"RUN mkdir {' '.join(packages)} " in DOCKERFILE.read_text()


def test_compose_refuses_to_start_without_passwords():
    refused = _compose("config", "--quiet")
    assert refused.returncode != 0
    assert all(name in refused.stderr for name in SECRETS)


def test_the_example_of_an_environment_names_what_compose_asks_for():
    named = set(re.findall(r"^(DDP_\w+)=", (CONTAINERS / "env.example").read_text(), re.M))
    asked = set(re.findall(r"\$\{(DDP_\w+)", COMPOSE.read_text()))
    assert named == asked - {"DDP_VERSION"}


@pytest.mark.parametrize("name", yaml.safe_load(COMPOSE.read_text())["services"])
def test_services_have_no_rights_that_they_do_not_need(name):
    service = _services("gpu")["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") != "root"
    assert not service.get("privileged")


def test_one_port_of_this_host_is_published_to_itself_alone():
    described = _services("gpu")
    services = described["services"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert {name: [port["host_ip"] for port in p] for name, p in ports.items()} == {
        "server": ["127.0.0.1"]
    }
    ways_out = [name for name, net in described["networks"].items() if not net.get("internal")]
    assert ways_out == ["published"]
    assert [name for name, one in services.items() if "published" in one["networks"]] == ["server"]


def test_whoever_is_on_dasks_network_belongs_to_dask():
    services = _services("gpu")["services"]
    dask = {name for name, service in services.items() if "dask" in service["networks"]}
    assert dask == {"worker", "scheduler", "dask-worker", "gpu-worker"}


@pytest.mark.parametrize("place", ["/data", "/results"])
def test_flow_and_dask_workers_see_the_same_folders(place):
    services = _services("gpu")["services"]
    seen = [
        {volume["source"] for volume in services[name]["volumes"] if volume["target"] == place}
        for name in ("worker", "dask-worker", "gpu-worker")
    ]
    assert seen[0] == seen[1] == seen[2] != set()


@pytest.mark.parametrize("document", _base(), ids=lambda d: f"{d['kind']} {d['metadata']['name']}")
def test_manifests_follow_the_schemas_of_kubernetes(document):
    kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


@needs_kustomize
@pytest.mark.parametrize("overlay", ["base", "gpu", "operator"])
def test_overlays_follow_the_schemas_of_kubernetes(overlay):
    documents = _kustomized(overlay)
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


@needs_kustomize
def test_gpu_workers_ask_for_a_gpu_and_keep_the_rest():
    pods, before = dict(_pods(_kustomized("gpu"))), dict(_pods(_kustomized("base")))
    (worker,), (plain,) = (p["dask-worker"]["containers"] for p in (pods, before))
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert worker["image"] == f"ddp-flows:{VERSION}-cuda"
    for kept in ("securityContext", "volumeMounts", "livenessProbe"):
        assert worker[kept] == plain[kept]


@needs_kustomize
def test_with_the_operator_no_standing_dask_cluster_runs_and_the_worker_has_the_file():
    documents = _kustomized("operator")
    replicas = {
        d["metadata"]["name"]: d["spec"].get("replicas")
        for d in documents
        if d["kind"] == "Deployment"
    }
    assert replicas == {"server": 1, "worker": 1, "scheduler": 0, "dask-worker": 0}
    (file,) = [document for document in documents if document["kind"] == "ConfigMap"]
    worker = dict(_pods(documents))["worker"]
    assert {"name": "cluster", "configMap": {"name": file["metadata"]["name"]}} in worker["volumes"]
    assert file["data"]["cluster.yaml"] == (KUBERNETES / "operator/cluster.yaml").read_text()


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_pods_are_those_that_a_restricted_namespace_admits(name, pod):
    """What Kubernetes's pod security standard "restricted" asks for, and a little more."""
    assert pod["automountServiceAccountToken"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] == (999 if name == "postgres" else 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claims = {"database"} if name == "postgres" else set()
        assert mounted == {volume["name"] for volume in pod["volumes"]} | claims


def test_the_user_of_the_pods_is_that_of_the_image():
    assert "USER 10001:10001\n" in DOCKERFILE.read_text()


def test_every_pod_is_behind_a_policy():
    policies = [d["spec"] for d in _base() if d["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} in policies
    sources = [
        source
        for policy in policies
        for rule in policy.get("ingress", [])
        for source in rule["from"]
    ]
    # An empty selector would let in every pod of the cluster.
    assert all(selector for source in sources for selector in source.values())


def test_no_password_stands_in_a_manifest():
    for document in _base():
        assert document["kind"] != "Secret"
    for _, pod in PODS:
        for variable in (v for container in pod["containers"] for v in container.get("env", [])):
            if re.search("PASSWORD|AUTH", variable["name"]):
                assert variable["valueFrom"]["secretKeyRef"]["name"] == "ddp"


def test_the_operators_cluster_follows_its_own_schema():
    parameters = load_cluster(KUBERNETES / "operator/cluster.yaml")
    assert callable(factories.resolve(parameters.factory))
    package = Path(dask_kubernetes.__file__).parent / "operator/deployment/helm"
    (file,) = package.glob("*/crds/daskcluster.yaml")
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    cluster = parameters.kwargs["custom_cluster_spec"]
    jsonschema.validate(cluster, version["schema"]["openAPIV3Schema"])
    for part in ("scheduler", "worker"):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {},
            "spec": cluster["spec"][part]["spec"],
        }
        kubernetes_validate.validate(pod, KUBERNETES_VERSION, strict=True)


def test_every_worker_finds_the_scheduler_where_runs_are_told_to():
    (service,) = [
        d for d in _base() if d["kind"] == "Service" and d["metadata"]["name"] == "scheduler"
    ]
    assert service["spec"]["ports"][0]["port"] == 8786
    commands = [
        *_services("gpu")["services"].values(),
        *(c for _, p in PODS for c in p["containers"]),
    ]
    told = {part for one in commands for part in one.get("command") or [] if part[:6] == "tcp://"}
    assert told == {"tcp://scheduler:8786"}


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), _Answers) as started:
        Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()


def _healthy(address):
    # A proxy of the host must not be asked for a page of the container itself.
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "DDP_HEALTH_URL": address}
    command = [sys.executable, str(CONTAINERS / "healthy.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_health_check_passes_where_the_server_answers(server):
    checked = _healthy(f"{server}/health")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("address", ["{server}/ready", "http://127.0.0.1:9/health", "nonsense", ""])
def test_the_health_check_fails_where_it_does_not_and_says_why(server, address):
    checked = _healthy(address.format(server=server))
    assert checked.returncode == 1
    assert checked.stderr.startswith("DDP_HEALTH_URL")
    assert checked.stderr.count("\n") == 1
