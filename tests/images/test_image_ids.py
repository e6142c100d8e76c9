"""Ids of images: paths and places, and what becomes of those that several images share."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import ConcatDataset, Subset
from torchvision import datasets

from ddp_tasks.images.dataset_parts import dataset_parts
from ddp_tasks.images.image_ids import image_ids
from schemas import RunError


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Two folders with files of the same names."""
    found = []
    for grey in (10, 20):
        root = tmp_path_factory.mktemp("tree")
        for name in ("ant/0", "bee/0", "bee/1"):
            (root / name).parent.mkdir(exist_ok=True)
            Image.new("L", (4, 4), grey).save(root / f"{name}.png")
        found.append(datasets.ImageFolder(str(root)))
    return found


def ids(dataset):
    parts = dataset_parts(dataset)
    number = np.array([dataset[i][1] for i in range(len(dataset))])
    return image_ids(parts, np.arange(len(parts)), number)


def test_an_image_that_is_taken_twice_is_told_apart_and_said(trees, caplog):
    with caplog.at_level(logging.WARNING):
        found = ids(Subset(trees[0], [2, 0, 2]))
    assert found == ("bee/1.png #1", "ant/0.png", "bee/1.png #2")
    (said,) = caplog.messages
    assert said.startswith("1 ids belong to several images, such as 'bee/1.png' to 2;")


def test_files_of_one_name_in_two_folders_are_told_apart_and_said(trees, caplog):
    with caplog.at_level(logging.WARNING):
        found = ids(ConcatDataset([trees[0], Subset(trees[1], [0])]))
    assert found == ("ant/0.png #1", "bee/0.png", "bee/1.png", "ant/0.png #2")
    assert len(caplog.messages) == 1


class Listed:
    """Items whose files have the names that they are given; they are never read."""

    root = "/data"

    def __init__(self, names):
        self.samples = [(f"/data/{name}", 0) for name in names]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return None, 0


def test_no_image_is_given_the_id_of_another():
    with pytest.raises(RunError, match=r"2 images have the id 'a', and another has 'a #1'"):
        ids(Listed(["a", "a", "a #1"]))


@given(st.lists(st.sampled_from(["a", "b", "c", "a #1", "b #2"]), min_size=1, max_size=8))
def test_ids_are_all_different_and_begin_with_the_name_of_the_file(names):
    try:
        found = ids(Listed(names))
    except RunError:
        # Only where a name is another's with a number.
        assert {"a #1", "b #2"} & set(names)
        return
    assert len(set(found)) == len(names)
    for own, name in zip(found, names, strict=True):
        assert own == name or (own.startswith(f"{name} #") and names.count(name) > 1)
