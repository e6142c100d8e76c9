"""What does not stay the same, and what is no image, told before a run's work starts."""

import numpy as np
import odd_networks
import pytest
import torch
from PIL import Image
from runs import tiny_run
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.transforms import v2

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.prepared_run import (
    by_reason,
    check_classes,
    check_split,
    listed,
    opened_once,
    prepare,
)
from flows.checks import check_run
from flows.output_folder import RunFiles
from schemas import RunError
from schemas.parameters import ImageParameters


class Inputs(Dataset):
    """Inputs of a shape, in three classes; one item may answer in its own way."""

    def __init__(self, shape=(2, 6, 6), images=9, odd=None):
        drawn = torch.Generator().manual_seed(0)
        self.inputs = torch.rand(images, *shape, generator=drawn)
        self.odd, self.asked = odd, -1

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        found, label = self.inputs[index].clone(), index % 3
        if index == 4 and self.odd == "other label":
            # Another one every time.
            self.asked += 1
            label = min(self.asked, 2)
        if index == 4 and self.odd == "nan":
            found[0, 0, 0] = torch.nan
        if self.odd == "keys":
            return {"scan": found, "finding": label, "label": 0}
        return found, label


def prepared(network="Plain", kwargs=None, **changes):
    run = tiny_run(
        f"{__name__}:Inputs",
        kwargs,
        model={"factory": f"{odd_networks.__name__}:{network}"},
        significance={},
        **changes,
    )
    return prepare(run)


class Groups(Inputs):
    """Inputs whose classes are said to be groups of a network's."""

    classes = ("a", "b", "c")

    def __init__(self, of_output):
        super().__init__()
        self.class_of_output = of_output


@pytest.mark.parametrize(
    ("of_output", "reason"),
    [
        ([0, 1], r"images: their classes are groups of 2 classes of a network, but .* has 3"),
        ([0, 1, 3], r"class_of_output holds numbers from 0 to 3; those of the 3 classes, from 0,"),
        ([0, -2, 1], r"class_of_output holds numbers from -2 to 1; .* and -1 for none are allowed"),
        ("all", r"Groups.*, whose class_of_output is a str; a whole number for each output"),
        ([[0], [1, 2]], "whose class_of_output is a list; a whole number for each output"),
        ([0.5, 1, 2], "whose class_of_output is a list; a whole number for each output"),
    ],
)
def test_groups_that_do_not_fit_the_network_are_refused(of_output, reason):
    run = tiny_run(
        f"{__name__}:Groups",
        {"of_output": of_output},
        model={"factory": f"{odd_networks.__name__}:Plain"},
        significance={},
    )
    with pytest.raises(RunError, match=reason):
        prepare(run)


class Augmented(datasets.FakeData):
    """Pictures that are cut and turned at random, as for training."""

    def __init__(self):
        flip = v2.Compose([v2.RandomResizedCrop(6), v2.ToImage(), v2.ToDtype(torch.float32)])
        super().__init__(9, (2, 12, 12), 3, v2.Compose([v2.Lambda(_two_channels), flip]))


def _two_channels(picture):
    return torch.from_numpy(np.array(picture)[..., :2].copy()).permute(2, 0, 1)


def test_random_augmentation_is_refused_by_the_name_of_the_data_set():
    run = tiny_run(
        f"{__name__}:Augmented", model={"factory": "odd_networks:Plain"}, significance={}
    )
    with pytest.raises(RunError, match=r"test_prepared_run\.Augmented, whose item 0 has an"):
        prepare(run)


def test_a_label_that_changes_is_refused_by_its_item():
    with pytest.raises(
        RunError, match=r"test_prepared_run\.Inputs, whose item 4 has another label"
    ):
        prepared(kwargs={"odd": "other label"})


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("LeftInTraining", r"asked twice .*module 'drop' \(Dropout\), which is left in training"),
        ("BatchStatistics", r"in another batch: module 'norm' \(BatchNorm2d\).*batch_size: 1"),
        ("Noisy", r"asked twice .*the network's own forward \(Noisy\)"),
    ],
)
def test_a_network_without_one_answer_is_refused_by_the_name_of_its_module(network, said):
    with pytest.raises(RunError, match=rf"^model\.factory 'odd_networks:{network}': .*{said}"):
        prepared(network)


def test_an_input_with_one_nan_is_an_unreadable_image():
    with pytest.raises(RunError, match=r"1 image cannot be read: 4 \(it holds NaN or infinity\)"):
        prepared(kwargs={"odd": "nan"})
    run = tiny_run(
        {"factory": f"{__name__}:Inputs", "kwargs": {"odd": "nan"}, "unreadable": 0.2},
        model={"factory": "odd_networks:Plain"},
        significance={},
    )
    images = prepare(run).images
    found = images.read(0, 9)
    assert [isinstance(picture, str) for picture in found] == [i == 4 for i in range(9)]
    assert found[4] == "it holds NaN or infinity"


def test_items_that_are_mappings_are_read_by_the_keys_of_the_run():
    run = tiny_run(
        images={
            "factory": f"{__name__}:Inputs",
            "kwargs": {"odd": "keys"},
            "keys": {"image": "scan", "label": "finding"},
        },
        model={"factory": "odd_networks:Plain"},
        significance={},
    )
    images = prepare(run).images
    assert images.target.tolist() == [0, 1, 2] * 3
    torch.testing.assert_close(images.batch(0, 9), Inputs().inputs)


def test_images_of_different_sizes_are_told_with_the_cure_before_the_work(tmp_path):
    for i, size in enumerate([(32, 32), (32, 40), (40, 32), (32, 32)]):
        (tmp_path / "ant").mkdir(exist_ok=True)
        Image.new("RGB", size, (i, i, i)).save(tmp_path / f"ant/{i}.png")
    folder = {
        "factory": "torchvision.datasets:ImageFolder",
        "kwargs": {"root": str(tmp_path)},
    }
    model = {"factory": "torchvision.models:squeezenet1_1", "kwargs": {"num_classes": 2}}
    sizes = {"mean": [0.5], "std": [0.5]}
    run = tiny_run({**folder, "transform": sizes}, model=model, significance={})
    with pytest.raises(
        RunError, match=r"2 images cannot be read: ant/1\.png \(it has shape .*crop"
    ):
        prepare(run)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_network_of_torch_jit_is_refused_in_a_sentence():
    with pytest.raises(RunError, match="the network is compiled, which hides its layers"):
        prepared("scripted")


class Column:
    """What a feature of Hugging Face's data sets has that is a class."""

    def __init__(self, names):
        self.names = names


class Table(Dataset):
    """A data set as those of Hugging Face: rows are mappings, and features say the names."""

    def __init__(self, custom=False):
        self.features = {
            "image": None,
            "label": Column(["ant", "bee", "cat"]),
            "colour": Column(["red", "green", "blue"]),
            "weight": None,
        }
        self.format = {"type": "custom" if custom else None, "columns": list(self.features)}

    def __len__(self):
        return 9

    def __getitem__(self, index):
        picture = Image.new("RGB", (6, 6), (index, 2 * index, 9))
        return {"image": picture, "label": index % 3, "colour": 2 - index % 3, "weight": index % 2}


@pytest.mark.parametrize(
    ("label", "custom", "names", "first"),
    [
        (None, False, ("ant", "bee", "cat"), 0),
        ("colour", False, ("red", "green", "blue"), 2),
        ("weight", False, ("0", "1"), 0),
        # Its transform may change the labels.
        (None, True, ("0", "1", "2"), 0),
    ],
)
def test_names_of_hugging_face_are_those_of_the_column_of_labels(label, custom, names, first):
    keys = {"keys": {"image": "image", "label": label}} if label else {}
    section = {
        "factory": f"{__name__}:Table",
        "kwargs": {"custom": custom},
        "transform": {},
        **keys,
    }
    images = open_images(ImageParameters(**section))
    assert images.target_classes == names
    assert images.target[0] == first


def test_a_run_is_opened_once_until_its_weights_change(tmp_path):
    weights = tmp_path / "weights.pt"

    def save(more):
        state = odd_networks.Plain().state_dict()
        torch.save({name: value + more for name, value in state.items()}, weights)

    def opened():
        model = {"factory": f"{odd_networks.__name__}:Plain", "weights": str(weights)}
        return prepare(tiny_run(f"{__name__}:Inputs", None, model=model, significance={}))

    save(0)
    with opened_once():
        first = opened()
        with opened_once():
            assert opened() is first
        assert opened() is first
        save(1)
        second = opened()
    assert not torch.equal(first.model.conv1.weight, second.model.conv1.weight)
    assert opened() is not second


def test_what_is_not_analysed_is_told_by_reason():
    norms = {f"norm{i}": "a scale" for i in range(6)}
    modules = {"first": "a mask", **norms, "last": "a mask"}
    told = ["first, last (a mask)", "norm0, norm1, norm2, norm3 and 2 more (a scale)"]
    assert list(by_reason(modules)) == told
    assert listed(modules) == f": not analysed are {told[0]}; {told[1]}"
    assert listed({}) == ""
    many = listed({f"part{i}": f"reason {i}" for i in range(12)})
    assert many.endswith("part9 (reason 9); and more for 2 other reasons")


def test_a_class_with_fewer_images_than_a_split_needs_is_refused_by_its_name():
    # Items 0 to 3 of classes 0, 1, 2, 0: two classes have a single image.
    found = prepared(kwargs={"images": 4})
    names = found.images.target_classes
    run = tiny_run(significance={})
    with pytest.raises(RunError, match="so a class needs 2 images") as refusal:
        check_split(run, found.images)
    for said in (f"{names[1]!r}, {names[2]!r} have 1", "significance.split: 0.5", "write null"):
        assert said in str(refusal.value)
    assert repr(names[0]) not in str(refusal.value)
    check_split(tiny_run(significance={"split": None}), found.images)
    check_split(run, prepared(kwargs={"images": 6}).images)


class OneClass(Inputs):
    """Inputs that are all of the second of three classes."""

    classes = ("cat", "dog", "fox")

    def __getitem__(self, index):
        return super().__getitem__(index)[0], 1


def test_images_of_one_class_are_refused_by_its_name(tmp_path):
    run = tiny_run(
        f"{__name__}:OneClass",
        model={"factory": f"{odd_networks.__name__}:Plain"},
        significance={"split": None},
    )
    with pytest.raises(RunError, match="the images are all of one class, 'dog'") as refusal:
        check_run(run, RunFiles.of(tmp_path))
    assert "at least two classes are needed" in str(refusal.value)
    assert f"images.factory '{__name__}:OneClass'" in str(refusal.value)
    # Its layers can still be listed; only a run is refused.
    assert prepare(run).layers.linear


def test_two_classes_of_three_are_enough():
    found = prepared(kwargs={"images": 2})
    assert sorted(set(found.images.target.tolist())) == [0, 1]
    check_classes(tiny_run(), found.images)
