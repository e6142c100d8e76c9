"""The image sets of presets, from small made trees in each layout that people have."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.models import VGG16_Weights

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.named_image_sets import CIFAR10_CLASSES, cifar10, imagenet
from ddp_tasks.images.readers import FileReader
from ddp_tasks.prepared_run import prepare
from docs import imagenet_groups
from schemas import RunError, load_run, yaml_files
from schemas.parameters import ImageParameters

TEN = "{factory: 'torchvision.models:squeezenet1_1', kwargs: {num_classes: 10}}"


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


#: Of the 1,000: tench, chihuahua, pug, tabby, a cello, and toilet tissue, which is in no group.
FOLDERS = ["n01440764", "n02085620", "n02110958", "n02123045", "n02992211", "n15075141"]


def test_imagenet_by_groups_of_wordnet(tmp_path):
    tree(tmp_path, FOLDERS)
    found = imagenet(str(tmp_path), groups="wordnet")
    names = ["fish", "dogs", "dogs", "cats", "musical instruments"]
    assert [found.classes[label] for label in found.targets] == names
    images = open_images(
        ImageParameters(
            factory="ddp_tasks.images:imagenet",
            kwargs={"root": str(tmp_path), "groups": "wordnet"},
        )
    )
    assert isinstance(images.reader, FileReader)
    assert len(images.target_classes) == 20
    assert [images.target_classes[label] for label in images.target] == names
    assert images.ids[1] == "n02085620/0001.png"
    # Whatever class of a group the network chooses: the 1,000 classes are in order of the folders.
    every = imagenet(str(tmp_path)).class_to_idx
    of_output = images.class_of_output
    assert of_output is not None
    assert len(of_output) == 1000
    outputs = [of_output[every[folder]] for folder in FOLDERS]
    assert outputs == [*images.target.tolist(), -1]


def test_the_groups_of_wordnet_hold_what_their_names_say(tmp_path):
    tree(tmp_path, FOLDERS)
    found = imagenet(str(tmp_path), groups="wordnet")
    sizes = np.bincount(found.class_of_output + 1)
    assert sizes.tolist()[:3] == [432, 118, 13]
    assert min(sizes) >= 12
    names = VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    members = {
        group: {name for name, of in zip(names, found.class_of_output, strict=True) if of == label}
        for label, group in enumerate(found.classes)
    }
    assert members["cats"] == {
        *("tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "cougar", "lynx"),
        *("leopard", "snow leopard", "jaguar", "lion", "tiger", "cheetah"),
    }
    assert {"golden retriever", "pug", "Mexican hairless"} < members["dogs"]
    assert {"flamingo", "king penguin", "ostrich"} < members["birds"]
    assert {"grand piano", "harp", "maraca"} < members["musical instruments"]
    assert {"tank", "unicycle", "jeep"} < members["wheeled vehicles"]


def test_the_first_images_of_a_group_are_of_all_its_folders(tmp_path):
    for folder in ("n02085620", "n02110958", "n02123045"):
        for i in range(3):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("RGB", (4, 4)).save(tmp_path / folder / f"{i}.png")
    run = load_run(
        "imagenet-efficientnet-lite",
        [f"images.kwargs.root={tmp_path}", "images.per_class=2"],
    )
    assert open_images(run.images).ids == (
        *("n02085620/0.png", "n02110958/0.png", "n02123045/0.png"),
        "n02123045/1.png",
    )


def test_groups_of_ones_own(tmp_path):
    tree(tmp_path, FOLDERS)
    groups = {"instruments": ["n02992211", "n03249569"], "paper": ["n15075141"]}
    found = imagenet(str(tmp_path), groups=groups)
    assert (found.classes, found.targets) == (["instruments", "paper"], [0, 1])
    assert (found.class_of_output >= 0).sum() == 3


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ("wordnett", "'wordnett' is refused; wordnet, or WordNet ids by name"),
        (["n02085620"], r"\['n02085620'\] is refused; wordnet, or"),
        ({"dogs": ["n0208562"]}, r"dogs: there is no class 'n0208562' \(did you mean 'n02085620'"),
        ({"dogs": []}, r"dogs: \[\] is refused; list at least one"),
        ({"a": ["n02085620"], "b": ["n02085620"]}, "'n02085620' is in 'a' and 'b'; .* one group"),
        ({"harps": ["n03495258"]}, "holds no picture of a class in a group"),
    ],
)
def test_groups_that_cannot_be_are_refused(tmp_path, groups, reason):
    tree(tmp_path, FOLDERS)
    with pytest.raises(RunError, match=rf"^images\.kwargs\.\w+.*{reason}"):
        imagenet(str(tmp_path), groups=groups)


def test_the_table_of_groups_is_made_from_hypernyms():
    # In the format of WordNet's data.noun: a cello is an instrument by two ways, a dog an animal.
    nouns = imagenet_groups.Nouns(
        [
            "  1 This software and database is being provided to you ...",
            "00000001 03 n 01 entity 0 000 | all that is",
            "00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | it moves",
            "00000003 05 n 01 dog 0 002 @ 00000002 n 0000 ~ 00000009 n 0000 | it barks",
            "00000004 06 n 01 instrument 0 001 @ 00000001 n 0000 | a device",
            "00000005 06 n 01 string 0 001 @ 00000004 n 0000 | it has strings",
            "00000006 06 n 01 cello 0 002 @ 00000005 n 0000 @ 00000004 n 0000 | a | b",
        ]
    )
    assert nouns.hypernyms("n00000006") == {f"n0000000{i}" for i in (1, 4, 5, 6)}
    folders, synsets = ["n00000003", "n00000006"], {"beasts": "n00000002", "music": "n00000004"}
    text = imagenet_groups.table(nouns, [*folders, "n00000001"], synsets)
    assert "1 of the 1,000 are in none" in text
    made = yaml_files.mapping(text, "table")
    assert {name: group["classes"] for name, group in made.items()} == {
        "beasts": ["n00000003"],
        "music": ["n00000006"],
    }
    with pytest.raises(ValueError, match=r"n00000006 \(cello\) belongs to music and all"):
        imagenet_groups.grouped(nouns, folders, {**synsets, "all": "n00000005"})


def test_the_table_that_is_kept_has_the_groups_of_the_command():
    kept = yaml_files.mapping(imagenet_groups.TABLE.read_text(), "table")
    assert {name: group["synset"] for name, group in kept.items()} == imagenet_groups.SYNSETS


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
    overrides = [f"images.kwargs.root={tmp_path}/cifar", "model.weights=null"]
    prepared = prepare(load_run("cifar10-vgg16", overrides))
    assert prepared.layers.linear[6].name == "features.20"
    tree(tmp_path / "imagenet", ["n02085620", "n15075141"], size=(300, 280))
    prepared = prepare(
        load_run("imagenet-efficientnet-lite", [f"images.kwargs.root={tmp_path}/imagenet"])
    )
    assert prepared.images.ids == ("n02085620/0000.png",)
    assert prepared.layers.outputs == 1000
    # The picture is black: (0 - 127) / 128, and more than a level of float32 is not lost.
    example = prepared.images.example()
    assert example.shape == (1, 3, 224, 224)
    torch.testing.assert_close(example, torch.full_like(example, -127 / 128), rtol=0, atol=1e-6)
    with pytest.raises(RunError, match=r"groups of 1000 classes of a network, but .* has 10"):
        prepare(
            load_run(
                "imagenet-efficientnet-lite",
                [f"images.kwargs.root={tmp_path}/imagenet", f"model={TEN}"],
            )
        )
    overrides = [f"images.kwargs.root={tmp_path}/imagenet", "model.weights=null"]
    small = "model={factory: 'torchvision.models:squeezenet1_1', weights: null}"
    prepared = prepare(load_run("imagenet-vgg16", [*overrides, small]))
    assert prepared.images.target.tolist() == [151, 999]
    assert prepared.images.example().shape == (1, 3, 224, 224)
    assert torch.isfinite(prepared.images.example()).all()
