"""The label of an image is what its item says, whatever lists of labels lie beside it."""

import gzip
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from runs import tiny_run
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset
from torchvision import datasets

from ddp_tasks.images import labels as of_labels
from ddp_tasks.images.class_names import declared_names, target_classes, words
from ddp_tasks.images.dataset_parts import dataset_parts
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.labels import labels_of, remembered
from ddp_tasks.prepared_run import prepare
from schemas import RunError
from schemas.parameters import ImageParameters, ItemKeys

#: What ``made`` gives, as no factory takes a data set that a test has made.
_MADE = {}


def made(key):
    return _MADE[key]


def opened(dataset, **parameters):
    _MADE["it"] = dataset
    factory = f"{__name__}:made"
    return open_images(ImageParameters(factory=factory, kwargs={"key": "it"}, **parameters))


class Items:
    """A data set of whatever items it is told to have, with whatever attributes."""

    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__ |= attributes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def floats(said, **attributes):
    return Items([(torch.full((1, 2, 2), float(i)), y) for i, y in enumerate(said)], **attributes)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for i, name in enumerate(["ant/0", "ant/1", "bee/0", "cat/0", "cat/1", "cat/2"]):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (5, 4), (30 * i, 0, 0)).save(root / f"{name}.png")
    return root


RAW = [0, 0, 1, 2, 2, 2]

FORMS = {
    "int": int,
    "numpy": np.int64,
    "numpy unsigned": np.uint8,
    "0-d array": np.array,
    "column": lambda y: np.array([y]),
    "nested": lambda y: [[y]],
    "0-d tensor": torch.tensor,
    "one-element tensor": lambda y: torch.tensor([y]),
    "whole float": float,
    "digits": str,
    "one-hot list": lambda y: [int(i == y) for i in range(4)],
    "one-hot array": lambda y: np.eye(4)[y],
    "one-hot tensor": lambda y: torch.nn.functional.one_hot(torch.tensor(y), 4),
    "one-hot bool": lambda y: np.arange(4) == y,
}


@given(st.sampled_from(sorted(FORMS)), st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_labels_of_every_form_are_their_class(form, labels):
    assert opened(floats(map(FORMS[form], labels))).target.tolist() == labels


@given(st.lists(st.sampled_from(["ant", "bee", "1 cat", "z"]), min_size=1), st.booleans())
def test_words_are_numbered_by_the_classes_or_the_alphabet(labels, named):
    classes = ["z", "unused", "1 cat", "bee", "ant"]
    images = opened(floats(labels, classes=classes) if named else floats(labels))
    assert [images.target_classes[y] for y in images.target] == labels
    expected = classes if named else sorted(set(labels))
    assert list(images.target_classes) == expected


REFUSED = {
    "ragged": ([0, [0, 1], 1], "has several|differ in form"),
    "several classes": ([[1, 2]], r"item 0 has the label \[1, 2\]: it has several entries"),
    "two of one-hot": ([[1, 1, 0]], "2 of its 3 entries are 1"),
    "none of one-hot": ([[0, 0, 0]], "0 of its 3 entries are 1"),
    "soft": ([np.array([0.3, 0.7])], "not a one-hot"),
    "empty": ([[]], "item 0 has the label"),
    "none": ([None], "item 0 has the label None: the number of one class"),
    "half": ([0, 0.5], "item 1 has the label 0.5"),
    "not a number": ([float("nan")], "item 0 has the label nan"),
    "negative": ([0, -1], "item 1 has the label -1: labels start at 0"),
    "huge": ([10**9], "item 0 has the label 1000000000: labels up to 16,777,215"),
    "past int64": ([2**63], "labels up to"),
    "past uint64": ([2**200], "labels up to"),
    "mixed": (["ant", 3], "numbers and words, such as 3 and 'ant'"),
    "lengths": ([[0, 1], [0, 0, 1]], "differ in form"),
    "object": ([{"a": 1}], "the number of one class"),
    "no image": ([], "gave no images"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_labels_that_are_no_single_class_are_refused(kind):
    labels, said = REFUSED[kind]
    with pytest.raises(RunError, match=said):
        opened(floats(labels))


@pytest.mark.parametrize("lie", ["targets", "labels", "_labels", "samples", "imgs", "y"])
@pytest.mark.parametrize("wrong", [[9] * 4, "words", 7, None, [[1], [2, 3]]])
def test_lists_beside_the_items_are_not_believed(lie, wrong):
    images = opened(floats([3, 1, 0, 1], **{lie: wrong}))
    assert images.target.tolist() == [3, 1, 0, 1]


def counted(dataset):
    """The data set's own class, whose index counts how often it was asked."""
    asked = []
    kind = type(dataset)

    class Counted(kind):
        pass

    index = kind.__getitem__

    def counting(self, i):
        asked.append(i)
        return index(self, i)

    Counted.__getitem__ = counting
    dataset.__class__ = Counted
    return dataset, asked


def test_labels_are_read_without_pictures_of_torchvision_s_own_classes_alone(tree, monkeypatch):
    folder = datasets.ImageFolder(tree)
    loaded = []
    load = folder.loader
    folder.loader = lambda path: loaded.append(path) or load(path)
    assert opened(folder).target.tolist() == RAW
    # All six are the sample; a larger folder would load sixteen.
    assert len(loaded) == 6
    dataset, asked = counted(datasets.ImageFolder(tree))
    assert opened(dataset).target.tolist() == RAW
    assert sorted(asked) == list(range(6))


def mnist(root, kind=datasets.MNIST):
    raw = root / kind.__name__ / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    images = np.zeros((6, 28, 28), np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", np.array(RAW, np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        for part in ("train", "t10k"):
            (raw / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
            (raw / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return kind(root)


def remapped(dataset):
    dataset.target_transform = lambda y: 2 - y
    return dataset


def reversed_list(dataset):
    dataset.targets = list(dataset.targets)[::-1]
    return dataset


class Shifted(datasets.ImageFolder):
    def __getitem__(self, index):
        picture, target = super().__getitem__(index)
        return picture, target + 1


class Columns(datasets.MNIST):
    """As QMNIST: the targets are rows, of which the first entry is the class."""

    def __getitem__(self, index):
        picture, _ = super().__getitem__(index)
        return picture, int(self.rows[index][0])


SETS = {
    "folder": (datasets.ImageFolder, RAW),
    "its targets reversed": (lambda t: reversed_list(datasets.ImageFolder(t)), RAW),
    "target transform": (lambda t: remapped(datasets.ImageFolder(t)), [2, 2, 1, 0, 0, 0]),
    "own index": (Shifted, [1, 1, 2, 3, 3, 3]),
    "subset": (lambda t: Subset(datasets.ImageFolder(t), [5, 0, 2]), [2, 0, 1]),
    "negative subset": (lambda t: Subset(datasets.ImageFolder(t), np.array([-1, -6])), [2, 0]),
    "subset of subset": (
        lambda t: Subset(Subset(datasets.ImageFolder(t), range(1, 6)), [4, 0]), [2, 0]
    ),
    "two": (
        lambda t: ConcatDataset([datasets.ImageFolder(t), remapped(datasets.ImageFolder(t))]),
        [*RAW, 2, 2, 1, 0, 0, 0],
    ),
    "subset of two": (
        lambda t: Subset(
            ConcatDataset([datasets.ImageFolder(t), floats([7, 8])]), torch.tensor([7, 3, 6])
        ),
        [8, 2, 7],
    ),
    "tensors": (
        lambda t: TensorDataset(torch.zeros(3, 1, 2, 2), torch.tensor([1, 0, 2])), [1, 0, 2]
    ),
    "mnist": (lambda t: mnist(t.parent), RAW),
    "mnist remapped": (lambda t: remapped(mnist(t.parent)), [2, 2, 1, 0, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SETS)
def test_every_label_is_that_of_the_item(tree, kind):
    make, expected = SETS[kind]
    dataset = make(tree)
    images = opened(dataset)
    assert images.target.tolist() == expected
    assert images.target.tolist() == [int(dataset[int(i)][1]) for i in images.dataset_index]


def test_a_list_that_disagrees_with_items_is_said_and_left(caplog):
    dataset = datasets.SVHN.__new__(datasets.SVHN)
    dataset.data, dataset.labels = np.zeros((5, 3, 4, 4), np.uint8), np.array([0, 1, 2, 0, 1])
    dataset.transform = dataset.target_transform = dataset.transforms = None
    assert opened(dataset).target.tolist() == [0, 1, 2, 0, 1]

    class Odd(datasets.SVHN):
        @property
        def labels(self):
            self.asked = getattr(self, "asked", 0) + 1
            return self.true if self.asked > 1 else np.zeros(5, int)

    dataset.true = dataset.__dict__.pop("labels")
    dataset.__class__ = Odd
    with caplog.at_level(logging.WARNING):
        assert opened(dataset).target.tolist() == [0, 1, 2, 0, 1]
    assert "gives 0 for item 1, which itself says 1: labels are read item by item" in caplog.text


class Unreadable(Items):
    def __getitem__(self, index):
        if index in self.broken:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


def test_unreadable_items_take_their_label_from_a_list_that_agrees_with_all_others():
    items = floats([0, 1, 1, 0]).items
    assert opened(Unreadable(items, broken=[2], targets=[0, 1, 1, 0])).target.tolist() == [
        0,
        1,
        1,
        0,
    ]
    said = "image 2 cannot be read, nor can its label: OSError: the disk is gone; unreadable images"
    for lists in ({}, {"targets": [0, 1, 1, 1]}, {"targets": [0, 1, 1]}, {"labels": "0110"}):
        with pytest.raises(RunError, match=said):
            opened(Unreadable(items, broken=[2], **lists))


PICTURE = torch.zeros(1, 2, 2)


@pytest.mark.parametrize(
    ("item", "keys"),
    [
        ((PICTURE, 2), None),
        ([PICTURE, 2], None),
        ((PICTURE, 2, "more"), None),
        ({"image": PICTURE, "label": 2}, None),
        ({"img": PICTURE, "labels": 2, "id": 7}, None),
        ({"pixel_values": PICTURE, "target": np.array([2])}, None),
        ({"scan": PICTURE, "diagnosis": 2}, {"image": "scan", "label": "diagnosis"}),
        ({"image": PICTURE, "label": 5, "fine": 2}, {"image": "image", "label": "fine"}),
        ((0, "x", PICTURE, 2), {"image": 2, "label": -1}),
    ],
)
def test_picture_and_label_are_found_in_items_of_every_form(item, keys):
    images = opened(Items([item]), keys=keys and ItemKeys(**keys))
    assert images.target.tolist() == [2]
    assert images.example().shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("item", "keys", "said"),
    [
        (PICTURE, None, r"a float32 tensor \(1, 2, 2\); a pair of picture and label"),
        ((PICTURE,), None, "a tuple of 1 and has no entry 1"),
        ("words", None, "a builtins.str; a pair"),
        (None, None, "a builtins.NoneType"),
        ({"x": PICTURE, "y": 2}, None, r"keys \['x', 'y'\], none of .*images.keys says which"),
        ({"image": PICTURE, "label": 1, "labels": 2}, None, "several of label"),
        ({"x": PICTURE}, {"image": "x", "label": "y"}, r"images.keys names 'y', but .* \['x'\]"),
        ((PICTURE, 1), {"image": "x", "label": "y"}, "its entries have numbers"),
        ((PICTURE, 1), {"image": 0, "label": 2}, "has no entry 2"),
    ],
)
def test_items_without_picture_and_label_are_refused(item, keys, said):
    with pytest.raises(RunError, match=said):
        opened(Items([item]), keys=keys and ItemKeys(**keys))


class Stream(IterableDataset):
    def __iter__(self):
        yield PICTURE, 0

    def __len__(self):
        return 1


class NoLength(Items):
    def __len__(self):
        raise ValueError("not yet loaded")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (Stream(), "no length or index; a map-style"),
        (iter([1]), "no length or index"),
        (DataLoader(TensorDataset(torch.zeros(3))), "no length or index"),
        ({"train": 1, "test": 2}, "with the keys train, test; one data set is needed"),
        (NoLength([]), "whose length fails: ValueError: not yet loaded"),
        (Subset(floats([0, 1]), [0, 2]), "a Subset asks for item 2 of a data set of 2"),
        (None, "no length or index"),
    ],
)
def test_what_is_no_map_style_data_set_is_refused_in_a_sentence(dataset, said):
    with pytest.raises(RunError, match=said):
        opened(dataset)


def test_labels_are_read_once_within_remembered():
    dataset, asked = counted(floats([1, 0, 2]))
    with remembered():
        with remembered():
            opened(dataset)
        assert opened(dataset).target.tolist() == [1, 0, 2]
        assert asked == [0, 1, 2]
    opened(dataset)
    assert asked == [0, 1, 2] * 2


def test_what_a_store_says_takes_the_place_of_reading_labels():
    dataset, asked = counted(floats([1, 0, 1, 0], classes=("a", "b")))
    images = opened(dataset, per_class=1)
    stored = images.described()
    del asked[:]
    unlabelled = open_images(images.parameters, labelled=False)
    again = unlabelled.as_stored(stored)
    assert (again.ids, again.target_classes) == (images.ids, ("a", "b"))
    assert again.target.tolist() == images.target.tolist() == [1, 0]
    assert again.dataset_index.tolist() == [0, 1]
    assert unlabelled.example().shape == (1, 1, 2, 2)
    assert set(asked) == {0}
    assert again.digest() == images.digest()
    # What the items say of the sample is in the digest, not what the store says.
    dataset.items[1] = (dataset.items[1][0], 1)
    assert again.digest() != images.digest()
    del dataset.items[1:]
    shorter = open_images(images.parameters, labelled=False)
    with pytest.raises(RunError, match="uses image 1 of a dataset that has only 1 here"):
        shorter.as_stored(stored)


def test_a_worker_prepares_a_run_without_the_labels_of_all_items():
    dataset, asked = counted(Items([(torch.full((2, 8, 8), float(i)), i % 3) for i in range(60)]))
    _MADE["it"] = dataset
    prepare(tiny_run(f"{__name__}:made", {"key": "it"}), labelled=False)
    assert 0 < len(set(asked)) < 20


def names(dataset):
    parts = dataset_parts(dataset)
    return target_classes(parts, labels_of(parts, None, words(parts)))


DECLARED = {
    "list": ({"classes": ["ant", "bee"]}, ("ant", "bee", "2")),
    "array": ({"classes": np.array(["ant", "bee", "cat"])}, ("ant", "bee", "cat")),
    "numbers": ({"classes": [0, 1, 2]}, ("0", "1", "2")),
    "synonyms": ({"classes": [("ant", "emmet"), ("bee",)]}, ("ant, emmet", "bee", "2")),
    "none": ({"classes": None}, ("0", "1", "2")),
    "a count": ({"classes": 3}, ("0", "1", "2")),
    "a word": ({"classes": "abc"}, ("0", "1", "2")),
    "a set": ({"classes": {"ant", "bee", "cat"}}, ("0", "1", "2")),
    "a function": ({"classes": len}, ("0", "1", "2")),
    "by text": ({"classes": {"0": "ant", "2": "cat"}}, ("ant", "1", "cat")),
    "by number": ({"classes": {2: "cat", 0: "ant", 1: "bee"}}, ("ant", "bee", "cat")),
    "by name": ({"classes": {"cat": 2, "bee": 1, "ant": 0}}, ("ant", "bee", "cat")),
    "class_to_idx": ({"class_to_idx": {"cat": 0, "ant": 2}}, ("cat", "1", "ant")),
    "idx_to_class": ({"class_to_idx": {0: "cat", 2: "ant"}}, ("cat", "1", "ant")),
    "digits": ({"class_to_idx": {"5": 0, "3": 2, "4": 1}}, ("5", "4", "3")),
    "another order": (
        {"classes": ["ant", "bee", "cat"], "class_to_idx": {"cat": 0, "bee": 1, "ant": 2}},
        ("cat", "bee", "ant"),
    ),
    "other names": (
        {"classes": ["ant", "bee", "cat"], "class_to_idx": {"n01": 0, "n02": 1, "n03": 2}},
        ("ant", "bee", "cat"),
    ),
    "shared": ({"classes": ["a (1)", "a", "a"]}, ("a (1)", "a (1) (1)", "a (2)")),
    "shared with a number": ({"classes": ["2", "b"]}, ("2 (0)", "b", "2 (2)")),
}  # fmt: skip


@pytest.mark.parametrize("kind", DECLARED)
def test_names_of_classes_are_those_of_their_labels(kind):
    attributes, expected = DECLARED[kind]
    assert names(floats([0, 1, 2], **attributes)) == expected


@given(st.lists(st.sampled_from(["a", "b", "a (1)", "a (1) (1)", "1", "0"]), min_size=1))
def test_names_are_told_apart_whatever_they_are(classes):
    found = names(floats(range(len(classes)), classes=classes))
    assert len(set(found)) == len(found) == len(classes)
    assert all(own.startswith(name) for own, name in zip(found, classes, strict=True))


class Raises(Items):
    @property
    def classes(self):
        raise RuntimeError("not yet loaded")


def test_attributes_that_fail_name_nothing():
    assert declared_names(Raises([])) == {}


NAMED = {
    "folder": (datasets.ImageFolder, ("ant", "bee", "cat")),
    "subset": (lambda t: Subset(datasets.ImageFolder(t), [0, 3]), ("ant", "bee", "cat")),
    "two alike": (lambda t: ConcatDataset([datasets.ImageFolder(t)] * 2), ("ant", "bee", "cat")),
    "one nameless": (
        lambda t: ConcatDataset([datasets.ImageFolder(t), floats([3])]),
        ("ant", "bee", "cat", "3"),
    ),
    "two that differ": (
        lambda t: ConcatDataset([datasets.ImageFolder(t), floats([0], classes=["dog", "bee"])]),
        ("0", "bee", "cat"),
    ),
    "permuted": (lambda t: remapped(datasets.ImageFolder(t)), ("cat", "bee", "ant")),
    "merged": (
        lambda t: datasets.ImageFolder(t, target_transform=lambda y: y // 2), ("0", "cat")
    ),
    "own index": (Shifted, ("0", "ant", "bee", "cat")),
    "permuted subset": (
        lambda t: Subset(remapped(datasets.ImageFolder(t)), [0, 3]), ("cat", "1", "ant")
    ),
    "a transform of one's own": (
        lambda t: floats([2, 1], classes=["a", "b", "c"], target_transform=lambda y: 2 - y),
        ("0", "1", "2"),
    ),
    "a transform that changes nothing": (
        lambda t: floats([2, 1], classes=["a", "b", "c"], target_transform=int), ("a", "b", "c")
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
def test_names_go_through_wrappers_and_with_changed_labels(tree, kind):
    make, expected = NAMED[kind]
    assert names(make(tree)) == expected


def test_the_table_of_lists_is_of_classes_that_there_are():
    names = [name for _, names in of_labels._LISTS for name in names]
    assert len(names) >= 18
    assert all(hasattr(datasets, name) for name in names)
    indices = {getattr(datasets, name).__getitem__ for name in names}
    assert len(indices) == len(names)
    assert datasets.QMNIST.__getitem__ not in indices
