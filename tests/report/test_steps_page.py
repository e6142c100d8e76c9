"""The command ``ddp steps`` and its page, on a finished run."""

import json
import re
import shutil

import pytest
import torch
import yaml
from pages import opened
from runs import HERE, TinyNetwork, tiny_run

from ddp_tasks.networks.paper_networks import PaperNetwork
from ddp_tasks.queries import finished_run, layer_on_image
from ddp_tasks.report import steps_page
from ddp_tasks.store import groups, marks
from schemas.recording import PLACE


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished.store.parent, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def shown(finished):
    code = [f"model.factory={HERE}:TinyNetwork", f"images.factory={HERE}:Noise"]
    run = finished_run.open_finished(finished.store.parent, code, trust=True)
    return layer_on_image.follow_layer(run, "conv2", run.position("04"))


def _text(page):
    page = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))


def test_the_steps_are_those_of_the_network_and_of_the_store(shown):
    # The network ran in float32: 1e-5 of the greatest entry is the cube's own promise.
    torch.testing.assert_close(
        shown.steps.Y.flatten(1), shown.output, rtol=0, atol=1e-5 * float(shown.output.abs().max())
    )
    stored = shown.finished.signals["signal"].sel(image="04", layer="conv2").to_numpy()
    stored = torch.from_numpy(stored[: shown.svd.rank]).double()
    found = shown.steps.signal.mean(dim=(1, 2))
    torch.testing.assert_close(found, stored, rtol=0, atol=1e-5 * float(stored.abs().max()))


def test_the_command_writes_the_page_and_prints_its_place(ddp, folder):
    status, said = ddp("steps", folder, "fc1", "04", "--vectors", "2", "0", "--trust")
    assert status == 0
    assert said.out == f"{folder / 'steps-fc1-04.html'}\n"
    text = _text((folder / "steps-fc1-04.html").read_text())
    assert "Steps of computation: fc1" in text
    assert "Image 04 of the run tiny, of class right" in text
    assert "plane of v2 and v0" in text
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["conv9", "04"], "layer 'conv9' is not in"),
        (["conv9", "04"], "layers: conv1, conv2, fc1, fc2"),
        (["conv1", "31"], "it holds 30 images, '00' to '29'; nearest: '29'"),
        (["conv1", "4"], "nearest: '04'"),
        (["conv1", "04", "--vectors", "0", "9"], "--vectors 0 9 is refused; layer conv1 has"),
        (["conv1", "04", "--vectors", "1", "1"], "two different ones are needed"),
        (["conv1", "04", "--out", "no/such/folder.html"], "is not a file in an existing folder"),
        (["conv1", "04", "--set", "images.kwarg=3"], "did you mean 'kwargs'?"),
        (["conv1", "04", "--set", "images.kwargs.seed=1"], "the images opened are not those"),
        (["conv1", "04", "--set", "model.kwargs.seed=1"], "the model opened from"),
        (["conv1", "04", "--set", "model.weights=gone.pt"], "gone.pt' does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused(ddp, finished, arguments, said):
    before = set(finished.store.parent.iterdir())
    status, told = ddp("steps", finished.store.parent, *arguments, "--trust")
    assert status == 2
    assert told.out == ""
    assert said in told.err
    assert set(finished.store.parent.iterdir()) == before


def test_a_layer_or_image_is_refused_before_the_model_is_opened(ddp, finished, monkeypatch):
    monkeypatch.setattr(finished_run, "prepare", lambda run: pytest.fail("opened"))
    assert ddp("steps", finished.store.parent, "conv9", "04")[0] == 2
    assert ddp("steps", finished.store.parent, "conv1", "99")[0] == 2


def test_a_folder_without_a_run_is_refused(ddp, tmp_path):
    status, told = ddp("steps", tmp_path, "conv1", "0")
    assert status == 2
    assert "is not a Zarr store" in told.err


def test_a_checkpoint_beside_the_store_goes_before_the_place_recorded(folder, tmp_path):
    recorded = finished_run.open_finished(folder).run.model

    def weights_of(**changes):
        model = recorded.model_copy(update=changes)
        return finished_run._with_weights(model, folder).weights

    elsewhere = str(tmp_path / "moved/checkpoint.pt")
    assert weights_of() is None
    assert weights_of(weights="IMAGENET1K_V1") == "IMAGENET1K_V1"
    assert weights_of(weights=elsewhere) == elsewhere
    torch.save(TinyNetwork().state_dict(), folder / "checkpoint.pt")
    assert weights_of(weights=elsewhere) == str(folder / "checkpoint.pt")
    training = recorded.model_validate({"factory": recorded.factory, "training": {}}).training
    assert weights_of(training=training) == str(folder / "checkpoint.pt")


def test_right_singular_vectors_that_the_store_leaves_out_are_found_again(folder, shown):
    path = folder / "store.zarr"
    for layer in ("conv2", "fc1"):
        group = f"decomposition/{layer}"
        kept = groups.read(path, group).load()
        run = finished_run.open_finished(folder)
        module = shown.prepared.model.get_submodule(layer)
        groups.write(path, group, kept.drop_vars("V"))
        V = run.decomposition(layer, module.weight.flatten(1), groups=1).V
        torch.testing.assert_close(V, torch.from_numpy(kept["V"].to_numpy()), rtol=0, atol=1e-9)


def test_images_may_be_paths():
    named = steps_page._file_name("blocks.0@2", "n01/a b.jpg")
    assert named == "steps-blocks.0@2-n01%2Fa%20b.jpg.html"
    assert steps_page._file_name("a-b", "c") != steps_page._file_name("a", "b-c")
    assert len(steps_page._file_name("-" * 300, "/" * 300)) < 256


def test_the_page_opens_without_a_network(browser, shown, tmp_path):
    page = steps_page.render(shown)
    own = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "<link" not in own
    assert "http" not in own
    shown_page = opened(browser, page, tmp_path)
    assert len(shown_page.figures) == 9
    assert min(shown_page.figures) > 30
    assert min(shown_page.images) > 0
    assert shown_page.width <= shown_page.window
    assert shown_page.errors == []


@pytest.fixture
def stranger(folder, tmp_path, monkeypatch):
    """Change the run that a store records, as anybody may who hands it on."""
    monkeypatch.chdir(tmp_path)

    def change(**sections):
        root = folder / "store.zarr" / "zarr.json"
        content = json.loads(root.read_text())
        recorded = json.loads(content["attributes"]["run_parameters"])
        for section, values in sections.items():
            recorded[section] |= values
        content["attributes"]["run_parameters"] = json.dumps(recorded)
        root.write_text(json.dumps(content))
        # A checksum tells damage; whoever hands a store on can write a new one.
        marks.set_root_mark(root.parent)

    return change


PARTS = {"model": "TinyNetwork", "images": "Noise"}
DIGITS = {"factory": "ddp_tasks.images:Digits", "kwargs": {"analysed": True}}
PAPER = {"factory": "ddp_tasks.networks:PaperNetwork", "kwargs": {"classes": 3}}


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("model", {"factory": "os:system", "kwargs": {"command": "touch MARK"}}),
        ("model", {"factory": "subprocess:run", "kwargs": {"args": ["touch", "MARK"]}}),
        ("model", {"factory": "builtins:open", "kwargs": {"file": "MARK", "mode": "w"}}),
        ("model", {"factory": "MARK.py:Net", "kwargs": {}}),
        ("model", {"factory": "ddp_tasks.networks:torch.save", "kwargs": {}}),
        ("model", {**PAPER, "kwargs": {"classes": 10**9}}),
        ("model", {**PAPER, "weights": "/etc/passwd"}),
        ("model", {**PAPER, "weights": "ResNet18_Weights.DEFAULT"}),
        ("images", {"factory": "os:mkdir", "kwargs": {"path": "MARK"}}),
        (
            "images",
            {
                "factory": "torchvision.datasets:MNIST",
                "kwargs": {"root": "MARK", "train": False, "download": True},
            },
        ),
    ],
)
def test_what_a_stranger_put_in_a_store_is_not_run(
    ddp, folder, stranger, tmp_path, *, section, values
):
    (tmp_path / "MARK.py").write_text("open('MARK', 'w')\nclass Net: ...\n")
    stranger(**{"model": PAPER, "images": DIGITS, section: values})
    status, said = ddp("steps", folder, "fc1", "04")
    assert status == 2
    assert f"ddp: {section}." in said.err
    assert "the store names" in said.err
    assert "--trust" in said.err
    assert not (tmp_path / "MARK").exists()
    assert not list(folder.glob("steps-*.html"))


def test_a_checkpoint_that_is_a_link_out_of_the_folder_is_not_read(ddp, folder, stranger, tmp_path):
    torch.save({}, tmp_path / "elsewhere.pt")
    (folder / "checkpoint.pt").symlink_to(tmp_path / "elsewhere.pt")
    stranger(model={**PAPER, "weights": "checkpoint.pt"}, images=DIGITS)
    status, said = ddp("steps", folder, "fc1", "04")
    assert status == 2
    assert "model.weights: the store names" in said.err


def test_what_presets_name_is_opened_and_held_against_the_store(ddp, folder, stranger):
    torch.save(PaperNetwork(3).state_dict(), folder / "checkpoint.pt")
    stranger(model={**PAPER, "weights": "checkpoint.pt"}, images=DIGITS)
    status, said = ddp("steps", folder, "fc1", "04")
    assert status == 2
    assert "the store names" not in said.err


def test_a_place_that_is_not_recorded_is_asked_for(ddp, folder, stranger):
    torch.save(PaperNetwork(3).state_dict(), folder / "checkpoint.pt")
    kwargs = {"root": PLACE, "train": False, "download": True}
    mnist = {"factory": "torchvision.datasets:MNIST", "kwargs": kwargs}
    stranger(model={**PAPER, "weights": "checkpoint.pt"}, images=mnist)
    status, said = ddp("steps", folder, "fc1", "04")
    assert status == 2
    assert f"images.kwargs.root: the store has {PLACE!r} in its place" in said.err
    assert "--set images.kwargs.root=VALUE" in said.err
    assert "--trust" not in said.err


def test_code_that_changed_or_is_not_there_is_refused(ddp, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = ddp("steps", folder, "fc1", "04", "--trust")
    assert status == 2
    assert "the store was made with code in 'runs.py'" in said.err
    assert "--run RUN" in said.err
    for name in ("runs.py", "image_sets.py"):
        (tmp_path / name).write_text((HERE.parent / name).read_text() + "# edited\n")
    code = [f"{key}.factory={tmp_path}/runs.py:{name}" for key, name in PARTS.items()]
    options = [word for text in code for word in ("--set", text)]
    status, said = ddp("steps", folder, "fc1", "04", "--trust", *options)
    assert status == 2
    assert "the code of model.factory differs (runs.py)" in said.err


def test_a_persons_own_run_file_goes_in_place_of_what_the_store_names(ddp, folder, tmp_path):
    assert "model.factory: the store names" in ddp("steps", folder, "fc1", "04")[1].err
    run = tiny_run()
    mine = {"model": run.model.model_dump(), "images": run.images.model_dump()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    assert ddp("steps", folder, "fc1", "04", "--run", tmp_path / "mine.yaml")[0] == 0
    mine["model"]["kwargs"] = {"seed": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    status, said = ddp("steps", folder, "fc1", "04", "--run", tmp_path / "mine.yaml")
    assert status == 2
    assert "their digests differ" in said.err
