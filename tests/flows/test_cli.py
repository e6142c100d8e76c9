"""The command, in this process for what it refuses and in one of its own for what it does."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from digits_run import DDP, ddp
from runs import TinyNetwork, tiny_run
from typer.main import get_command
from typer.testing import CliRunner

from flows import cli

#: Whole runs in processes of their own, which import everything anew.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def refused_command(monkeypatch, capsys, tmp_path):
    """Run the command, expect status 2, and give back what it says."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["ddp", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return said.err

    monkeypatch.chdir(tmp_path)
    yield call
    assert list(tmp_path.glob("**/*.zarr")) == []


@pytest.fixture
def run_file(tmp_path):
    def write(**changes):
        path = tmp_path / "mine.yaml"
        content = tiny_run().model_dump(mode="json", exclude_none=True)
        path.write_text(yaml.safe_dump({**content, **changes}))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "digit"], "unknown preset 'digit' (did you mean 'digits'?)"),
        (["run", "no/such/file.yaml"], "run file 'no/such/file.yaml' does not exist"),
        (
            ["run", "digits", "--set", "images.per_clas=5"],
            "images.per_clas: unknown key (did you mean 'per_class'?); allowed: factory, kwargs",
        ),
        (
            ["run", "digits", "--set", "significance.percentage=250"],
            "significance.percentage: 250 is refused; should be less than or equal to 100",
        ),
        (
            ["run", "digits", "--set", "model.factory=ddp_tasks.netwoks:PaperNetwork"],
            "factory 'ddp_tasks.netwoks:PaperNetwork' does not import",
        ),
        (
            ["run", "digits", "--set", "model.factory=ddp_tasks.networks:PaperNetwrk"],
            "ddp_tasks.networks has no 'PaperNetwrk' (did you mean 'PaperNetwork'?)",
        ),
        (
            ["run", "digits", "--set", "model.kwargs={classes: 7}"],
            "the greatest label is 9, but 'ddp_tasks.networks:PaperNetwork' has 7 classes",
        ),
        (
            ["run", "digits", "--set", "layers=[conv9]"],
            "layers: 'conv9' matches no layer of conv1, conv2, fc1, fc2",
        ),
        (
            ["run", "digits", "--set", "significance.layers={fc9: {quantile: 0.5}}"],
            "significance.layers: 'fc9' matches no layer",
        ),
        (
            ["run", "digits", "--set", "model={factory: 'ddp_tasks.networks:PaperNetwork', "
             "weights: missing.pt}"],
            "missing.pt' does not exist",
        ),
        (
            ["run", "digits", "--set", "significance.superclasses={round: ['0', '66']}"],
            "significance.superclasses.round: there is no class '66' (did you mean '6'?) among "
            "the 10 of the images",
        ),
        (["table", "nowhere", "fc1"], "nowhere/store.zarr is not a Zarr store"),
        (["distinguish", "nowhere", "3", "8"], "nowhere/store.zarr is not a Zarr store"),
        (["run", "digits", "--set", "cluster=nowhere.yaml"], "nowhere.yaml' is not auto, local"),
        (["run", "digits", "--set", "cluster=tcp://127.0.0.1:1"], "no Dask scheduler answers at"),
        (["run", "mnist", "--set", "images.kwargs.root=nowhere", "--set",
          "images.kwargs.download=false"], "Dataset not found"),
        (["layers", "digits", "--set", "nonsense"], "--set 'nonsense': write key=value"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(
    refused_command, arguments, said, monkeypatch
):
    monkeypatch.setattr("flows.clusters._SECONDS_TO_CONNECT", 0.5)
    assert said in refused_command(*arguments)


@pytest.mark.parametrize(
    ("out", "said"),
    [("t.xlsx", "the ending must be .csv or .parquet"), ("no/t.csv", "there is no folder 'no'")],
)
def test_a_file_that_no_table_can_have_is_refused_before_the_store_is_read(
    refused_command, tmp_path, out, said
):
    store = tmp_path / "done" / "store.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text("no metadata")
    assert said in refused_command("table", "done", "fc1", "--out", out)
    shutil.rmtree(store)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused(refused_command):
    assert "this machine has no CUDA device" in refused_command(
        "run", "digits", "--set", "cluster=cuda"
    )


def test_a_checkpoint_that_does_not_fit_is_refused(refused_command, run_file, tmp_path):
    torch.save(TinyNetwork(classes=4).state_dict(), tmp_path / "other.pt")
    model = {"factory": tiny_run().model.factory, "weights": "other.pt"}
    assert "do not fit" in refused_command("run", run_file(model=model))


def test_images_the_network_does_not_take_are_refused(refused_command):
    said = refused_command("run", "digits", "--set", "model.factory=torchvision.models:resnet18")
    assert "does not take images of shape (1, 28, 28)" in said


def test_all_that_is_missing_is_told_in_one_message(refused_command, tmp_path):
    said = refused_command(
        "run", "cifar10", "--set", "images.kwargs.root=.", "--set", "model.weights=a.pt"
    )
    assert "holds no CIFAR-10" in said
    assert f"file '{tmp_path}/a.pt' does not exist\n" in said
    last = said.splitlines()[-1]
    assert last.startswith("  change it with --set images.kwargs.root=VALUE; ")
    assert last.endswith("; change it with --set model.weights=VALUE")


def test_an_output_that_is_a_file_is_refused(refused_command, tmp_path):
    (tmp_path / "taken").write_text("mine")
    assert "is a file, not a folder" in refused_command("run", "digits", "--out", "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_no_traceback_reaches_the_terminal(tmp_path):
    done = ddp("run", "digits", "--set", "shards.images=0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "ddp: digits is refused:",
        "  shards.images: 0 is refused; should be 'auto', or should be greater than 0",
    ]


def test_help_is_complete(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    commands = get_command(cli.app).commands
    assert set(commands) == {
        *(
            "run",
            "presets",
            "layers",
            "capacity",
            "steps",
            "table",
            "hypergraph",
            "distinguish",
            "check",
            "compare",
            "misclassified",
            "describe",
            "ablate",
            "prune",
            "visualize",
            "figure",
            "schema",
            "cluster",
            "explore",
            "init",
            "nightly",
        )
    }
    told = CliRunner().invoke(cli.app, ["--help"]).output
    for name in commands:
        assert re.search(rf"^\W*{name} +\w", told, re.MULTILINE)
        assert "Usage" in CliRunner().invoke(cli.app, [name, "--help"]).output
    assert "--set" in CliRunner().invoke(cli.app, ["run", "--help"]).output


def test_presets_are_listed():
    listed = ddp("presets").stdout
    names = re.findall(r"^([\w-]+)  +\S", listed, re.MULTILINE)
    assert sorted(names) == [
        *("cifar10", "cifar10-vgg16", "digits", "fashion-mnist"),
        *("imagenet-efficientnet-lite", "imagenet-vgg16", "mnist"),
    ]


def test_layers_are_listed_with_shapes_and_ranks(run_file):
    lines = ddp("layers", run_file()).stdout.splitlines()
    assert lines[1].split() == [
        "conv1",
        "Conv2d",
        "5",
        "×",
        "2",
        "×",
        "3",
        "×",
        "3",
        "1",
        "5",
        "×",
        "18",
        "5",
    ]
    assert lines[3].split() == ["fc1", "Linear", "7", "×", "54", "1", "7", "×", "54", "7"]
    assert lines[-1].startswith("not analysed: norm (BatchNorm2d scales each channel by itself")


def test_a_vision_transformer_whose_head_starts_at_zero_is_listed_without_it(run_file):
    sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 6, "mlp_dim": 8, "num_classes": 3}
    path = run_file(
        model={
            "factory": "torchvision.models.vision_transformer:VisionTransformer",
            "kwargs": {**sizes, "num_layers": 1, "num_heads": 2},
        },
        images={
            "factory": "torchvision.datasets:FakeData",
            "kwargs": {"size": 4, "image_size": [3, 8, 8], "num_classes": 3},
            "transform": {"mean": [0.5], "std": [0.5]},
        },
        significance={},
    )
    printed = CliRunner().invoke(cli.app, ["layers", path])
    assert printed.exit_code == 0, printed.output
    layers = [line.split()[0] for line in printed.stdout.splitlines()[1:]]
    block = "encoder.layers.encoder_layer_0"
    attention = [f"{block}.self_attention.{part}" for part in ("q", "k", "v", "out_proj")]
    assert layers[:7] == ["conv_proj", *attention, f"{block}.mlp.0", f"{block}.mlp.3"]
    assert set(layers[7:]) == {"not"}
    left_out = "not analysed: heads.head (Linear whose weight is zero: it has no singular vectors)"
    assert left_out in printed.stdout.splitlines()


def test_the_default_run_ends_with_its_places_and_findings(digits):
    folder, done = digits
    out = folder / "ddp-results/digits"
    for name in ("store.zarr", "report.html", "hypergraphs"):
        assert re.search(rf"{re.escape(str(out / name))}$", done.stdout, re.MULTILINE)
        assert (out / name).exists()
    assert (out / "checkpoint.pt").exists()
    heading = done.stdout.splitlines().index(
        next(line for line in done.stdout.splitlines() if line.startswith("vector "))
    )
    vectors = done.stdout.splitlines()[heading + 1 : heading + 6]
    assert all(re.match(r"(conv|fc)\d v\d+[⁺⁻] +\d", line) for line in vectors)
    assert re.search(r"s: imports .*, training .*, signals .*, report ", done.stdout)


def test_the_default_network_knows_the_digits_it_never_saw(digits):
    folder, _ = digits
    tree = xr.open_datatree(folder / "ddp-results/digits/store.zarr", engine="zarr")
    signals = tree["signals"].ds.load()
    assert signals.sizes["image"] == 500
    assert float((signals["predicted"] == signals["target"]).mean()) >= 0.97


def test_the_table_of_a_layer_and_what_distinguishes_two_digits(digits):
    folder, _ = digits
    out = str(folder / "ddp-results/digits")
    printed = ddp("table", out, "fc1").stdout.splitlines()
    said = re.search(r"p = 75 %: (\d+) of 2,560 pairs", printed[0])
    assert "images that did not choose" in printed[1]
    assert len(printed) == 4 + int(said[1])
    assert re.match(r"target class +vector +s +fraction +95 % interval +images", printed[3])
    done = ddp("table", out, "fc1", "--direction", "negative", "--out", "t.csv", cwd=folder)
    assert done.stdout == "t.csv\n"
    table = pd.read_csv(folder / "t.csv")
    assert len(table) == 1280
    assert set(table["direction"]) == {"negative"}
    assert (table["low"] <= table["fraction"]).all()
    none = ddp("table", out, "fc1", "--quantile", "0.99", "--percentage", "100").stdout
    assert "q = " in none
    told = ddp("distinguish", out, "3", "8", "--layer", "fc*", "--top", "5").stdout.splitlines()
    assert len([line for line in told if re.match(r"fc[12] +v\d+[⁺⁻]", line)]) == 5
    wrong = ddp("distinguish", out, "3", "88")
    assert wrong.returncode == 2
    assert "there is no class '88' (did you mean '8'?); classes: 0, 1, 2" in wrong.stderr
    assert (
        "'conv9' matches no layer (did you mean 'conv2'?)"
        in ddp("distinguish", out, "3", "8", "--layer", "conv9").stderr
    )
    assert (
        "holds no superclasses: the run file names none"
        in ddp("table", out, "fc1", "--superclasses").stderr
    )


def test_a_hypergraph_of_the_family_is_told_and_written(digits):
    folder, _ = digits
    out = folder / "ddp-results/digits"
    printed = ddp("hypergraph", str(out), "fc1").stdout.splitlines()
    parts = int(re.search(r"(\d+) equivalence class(?:es)?, \d+ levels?$", printed[0])[1])
    assert len(printed) == 3 + parts
    assert re.match(r"level +vectors +greatest s +singular vectors +target classes", printed[2])
    assert re.match(r"0 +\d+ +\d", printed[3])
    done = ddp("hypergraph", str(out), "fc1", "--out", "fc1.json", cwd=folder)
    assert done.stdout == "fc1.json\n"
    # That of the run itself.
    assert (folder / "fc1.json").read_bytes() == (out / "hypergraphs/fc1.hif.json").read_bytes()
    assert (
        "the ending must be .json" in ddp("hypergraph", str(out), "fc1", "--out", "fc1.csv").stderr
    )


def test_nothing_outside_this_machine_is_asked_for(digits):
    folder, _ = digits
    places = (folder / "audit.log").read_text().splitlines()
    assert places
    outside = [
        line
        for line in places
        if not re.search(r"'(127\.0\.0\.1|localhost|::1|0\.0\.0\.0)'|\('[^']*\.sock'\)| None", line)
        and not re.match(r"socket.connect /", line)
    ]
    # A UDP socket is "connected", and nothing sent, to learn this machine's own address.
    own_address = re.compile(
        r"socket.connect \('(8\.8\.8\.8|2001:4860:4860::8888|10\.255\.255\.255)'"
    )
    assert [line for line in outside if not own_address.match(line)] == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path):
    """A Prefect server of its own, as a person would start one."""
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
    }
    prefect = Path(sys.executable).with_name("prefect")
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def test_a_running_server_shows_the_run_and_its_artifacts(server, run_file, tmp_path):
    small = run_file(layers=["conv1"], capacity=[])
    done = ddp("run", small, "--out", str(tmp_path / "out"), PREFECT_API_URL=f"{server}/api")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Starting temporary server" not in done.stderr
    request = urllib.request.Request(
        f"{server}/api/artifacts/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        keys = {artifact["key"] for artifact in json.load(answer)}
    assert {what.partition("-")[0] for what in keys} == {"summary", "results", "significance"}


def _loaded(*arguments):
    """The packages that a command has imported when it ends."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", DDP, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in re.findall(r"\| +([\w.]+)$", ended.stderr, re.MULTILINE)}


def test_the_help_of_a_command_loads_no_science():
    loaded = _loaded("--help")
    assert "typer" in loaded
    assert not loaded & {"numpy", "pandas", "xarray", "pydantic", "torch", "prefect", "dask"}


@pytest.mark.parametrize(
    ("command", "rest"),
    [("table", ["fc2"]), ("hypergraph", ["fc2"]), ("distinguish", ["left", "right"])],
)
def test_asking_a_store_loads_no_scheduler(finished, command, rest):
    loaded = _loaded(command, finished.store.parent, *rest)
    assert "xarray" in loaded
    # Selecting by label imports Dask's arrays, and with them SciPy, where Dask can be imported.
    assert not loaded & {"dask", "distributed", "networkx", "torch", "prefect"}
    # Exact intervals take SciPy's special functions.
    assert ("scipy" in loaded) == (command != "hypergraph")
