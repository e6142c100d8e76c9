"""The image sets of presets, from small made trees in each layout that people have."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.named_image_sets import CIFAR10_CLASSES, cifar10, imagenet
from ddp_tasks.images.readers import FileReader
from ddp_tasks.prepared_run import prepare
from schemas import RunError, load_run
from schemas.parameters import ImageParameters


def tree(root, folders, size=(32, 32)):
    for i, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        Image.new("RGB", size, (i, 2 * i, 0)).save(root / folder / f"{i:04}.png")
    return root


@pytest.mark.parametrize("part", ["", "test"])
def test_cifar10_as_picture_files(tmp_path, part):
    tree(tmp_path / part, CIFAR10_CLASSES)
    found = cifar10(str(tmp_path))
    assert found.targets == list(range(10))
    assert found.classes == list(CIFAR10_CLASSES)
    images = open_images(
        ImageParameters(factory="ddp_tasks.images:cifar10", kwargs={"root": str(tmp_path)})
    )
    assert isinstance(images.reader, FileReader)
    # Without the part's name: one image has one id in both layouts.
    assert images.ids[9] == "truck/0009.png"


def test_cifar10_has_a_part_to_train_on(tmp_path):
    tree(tmp_path / "test", ["cat"])
    tree(tmp_path / "train", ["cat", "dog"])
    assert len(cifar10(str(tmp_path))) == 1
    assert len(cifar10(str(tmp_path), train=True)) == 2


def test_cifar10_in_the_layout_of_torchvision(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    batch = pickle.dumps({"data": pixels, "labels": [3, 9]})
    names = {"label_names": list(CIFAR10_CLASSES)}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    (folder / "test_batch").write_bytes(batch)
    # torchvision checks that its files are the published ones, which these are not.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    found = cifar10(str(tmp_path))
    assert isinstance(found, datasets.CIFAR10)
    assert found.targets == [3, 9]


def test_a_folder_keeps_its_label_whichever_others_there_are(tmp_path):
    # Of the 1,000: goldfish is class 1, tabby 281, toilet tissue 999.
    folders = ["n01443537", "n02123045", "n15075141"]
    for root in (tmp_path / "alone", tmp_path / "split" / "val"):
        tree(root, folders)
    for root in (tmp_path / "alone", tmp_path / "split"):
        found = imagenet(str(root))
        assert found.targets == [1, 281, 999]
        names = [found.classes[label] for label in found.targets]
        assert names == ["goldfish", "tabby", "toilet tissue"]
        assert len(found.classes) == 1000


def test_folders_of_other_names_are_refused(tmp_path):
    tree(tmp_path, ["n01443537", "n99999999"])
    with pytest.raises(RunError, match=r"1 folders that are not among the 1000 .*: n99999999"):
        imagenet(str(tmp_path))


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "n01443537").mkdir()
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(RunError, match=r"images\.kwargs\.root: .* hold no picture"):
        imagenet(str(tmp_path))


@pytest.mark.parametrize("make", [cifar10, imagenet])
def test_a_folder_that_is_not_there_is_told_with_the_key_that_names_it(tmp_path, make):
    with pytest.raises(RunError, match=r"images\.kwargs\.root: .*nowhere' holds no "):
        make(str(tmp_path / "nowhere"))


def missing(preset, *overrides):
    with pytest.raises(RunError) as refusal:
        prepare(load_run(preset, overrides))
    assert set(refusal.value.change) <= {
        "images.kwargs.root",
        "images.kwargs.download",
        "model.weights",
    }
    return str(refusal.value).splitlines()


def test_all_that_a_preset_misses_is_said_at_once(tmp_path, monkeypatch):
    root = f"images.kwargs.root={tmp_path}"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    images, weights = missing("cifar10", root, f"model.weights={tmp_path}/none.pt")
    assert "holds no CIFAR-10" in images
    assert images.startswith("images.kwargs.root: ")
    assert weights.endswith("none.pt' does not exist")
    images, weights = missing("imagenet-vgg16", root)
    assert "holds no images of ImageNet in folders" in images
    assert "IMAGENET1K_V1 of torchvision are not on this machine" in weights
    # Weights that torch has downloaded before, or that are not asked for, are not missing.
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth").touch()
    assert len(missing("imagenet-vgg16", root)) == 1
    assert len(missing("cifar10", root, "model.weights=null")) == 1


def test_presets_fit_their_networks_and_images(tmp_path):
    tree(tmp_path / "cifar", ["cat", "dog"])
    overrides = [f"images.kwargs.root={tmp_path}/cifar", "model.weights=null"]
    prepared = prepare(load_run("cifar10", [*overrides, "model.kwargs.depth=8"]))
    assert prepared.images.target.tolist() == [3, 5]
    assert prepared.images.example().shape == (1, 3, 32, 32)
    assert prepared.layers.outputs == 10
    tree(tmp_path / "imagenet", ["n15075141"], size=(300, 280))
    overrides = [f"images.kwargs.root={tmp_path}/imagenet", "model.weights=null"]
    small = "model={factory: 'torchvision.models:squeezenet1_1', weights: null}"
    prepared = prepare(load_run("imagenet-vgg16", [*overrides, small]))
    assert prepared.images.target.tolist() == [999]
    assert prepared.images.example().shape == (1, 3, 224, 224)
    assert torch.isfinite(prepared.images.example()).all()
