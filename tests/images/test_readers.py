"""Every fast way to read a dataset gives what the dataset's own index gives."""

import gzip

import numpy as np
import pytest
import torch
from image_sets import photograph
from PIL import Image
from torchvision import datasets
from torchvision.transforms import functional

from ddp_tasks.images.readers import FileReader, IndexReader, MemoryReader, reader

CPU = torch.device("cpu")
ALL = np.arange(6)
SCATTERED = np.array([4, 0, 5])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Pictures of all kinds in folders, some of which only PIL reads."""
    root = tmp_path_factory.mktemp("tree")
    for name, mode in {
        "a/1.jpg": "RGB", "a/2.jpg": "CMYK", "a/3.png": "P", "b/1.bmp": "RGB", "b/2.webp": "RGB",
        "b/3.png": "L",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(exist_ok=True)
        photograph(seed=len(name)).convert(mode).save(root / name)
    return root


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Six images in the files that MNIST comes in."""
    root = tmp_path_factory.mktemp("mnist")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(6, dtype=np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        for part in ("train", "t10k"):
            (raw / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
            (raw / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return root


def cifar(cls=datasets.CIFAR10):
    """CIFAR-10 as its constructor leaves it, without its 170 MB."""
    made = cls.__new__(cls)
    made.data = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    made.targets = list(range(6))
    made.transform = made.target_transform = None
    return made


def by_index(dataset, index):
    return [functional.pil_to_tensor(dataset[int(i)][0]) for i in index]


@pytest.mark.parametrize("index", [ALL, SCATTERED], ids=["all", "scattered"])
def test_files_are_read_as_the_dataset_reads_them(tree, index):
    dataset = datasets.ImageFolder(tree)
    found = reader(dataset)
    assert isinstance(found, FileReader)
    for picture, expected in zip(found.read(index, CPU), by_index(dataset, index), strict=True):
        # One level between two releases of libjpeg-turbo (see test_pictures); none was seen.
        assert (picture.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("index", [ALL, SCATTERED, np.array([2, 3])])
@pytest.mark.parametrize("kind", ["mnist", "cifar"])
def test_arrays_in_memory_are_read_as_the_dataset_reads_them(mnist, kind, index):
    dataset = datasets.MNIST(mnist) if kind == "mnist" else cifar()
    found = reader(dataset)
    assert isinstance(found, MemoryReader)
    expected = torch.stack(by_index(dataset, index))
    assert torch.equal(found.block(index), expected)
    assert torch.equal(torch.stack(list(found.read(index, CPU))), expected)


class Mirrored(datasets.CIFAR10):
    """CIFAR-10 whose index does more than take from the array."""

    def __getitem__(self, index):
        picture, target = super().__getitem__(index)
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), target


def test_classes_with_an_index_of_their_own_are_asked_by_it(tree):
    dataset = cifar(Mirrored)
    found = reader(dataset)
    assert isinstance(found, IndexReader)
    pictures = torch.stack(list(found.read(ALL, CPU)))
    assert torch.equal(pictures, torch.stack(by_index(dataset, ALL)))
    assert not torch.equal(pictures, torch.stack(by_index(cifar(), ALL)))
    # So are those whose transform or loader would otherwise be passed over.
    turned = cifar()
    turned.transform = functional.hflip
    own_transform = datasets.ImageFolder(tree, transform=functional.hflip)
    own_loader = datasets.ImageFolder(tree, loader=lambda path: Image.open(path).convert("L"))
    for dataset in (turned, own_transform, own_loader):
        found = reader(dataset)
        assert isinstance(found, IndexReader)
        for picture, expected in zip(found.read(ALL, CPU), by_index(dataset, ALL), strict=True):
            assert torch.equal(picture, expected)


class AtOnce:
    """A dataset that can be asked for many items, and notes how it was asked."""

    def __init__(self, broken=()):
        self.broken, self.asked = broken, []

    def __len__(self):
        return 6

    def __getitem__(self, index):
        self.asked.append(index)
        if index in self.broken:
            raise ValueError("broken")
        return torch.full((1, 2, 2), index, dtype=torch.uint8), 0

    def __getitems__(self, indices):
        self.asked.append(tuple(indices))
        return [AtOnce(self.broken)[i] for i in indices]


def test_datasets_that_give_many_items_are_asked_for_them_at_once():
    dataset = AtOnce()
    found = reader(dataset).read(SCATTERED, CPU)
    assert [int(picture[0, 0, 0]) for picture in found] == [4, 0, 5]
    assert dataset.asked == [(4, 0, 5)]
    # Where one of them fails, the others are still read: each is asked for by itself.
    dataset = AtOnce(broken=(0,))
    found = reader(dataset).read(SCATTERED, CPU)
    assert found[1] == "ValueError: broken"
    assert [int(found[i][0, 0, 0]) for i in (0, 2)] == [4, 5]
    assert dataset.asked == [(4, 0, 5), 4, 0, 5]


def test_subsets_are_asked_through_their_dataset(tree):
    subset = torch.utils.data.Subset(datasets.ImageFolder(tree), [3, 1])
    for picture, expected in zip(
        reader(subset).read(np.array([0, 1]), CPU), by_index(subset, [0, 1]), strict=True
    ):
        assert torch.equal(picture, expected)


def test_files_that_cannot_be_read_are_told_by_reason_and_leave_the_others(tree, tmp_path):
    for path in tree.rglob("*.*"):
        copy = tmp_path / path.relative_to(tree)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    dataset = datasets.ImageFolder(tmp_path)
    whole = (tmp_path / "a/1.jpg").read_bytes()
    (tmp_path / "a/1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a/2.jpg").write_bytes(b"")
    (tmp_path / "a/3.png").unlink()
    found = reader(dataset).read(ALL, CPU)
    assert "truncated" in found[0]
    assert found[1].startswith("UnidentifiedImageError: cannot identify image file")
    assert str(tmp_path) not in found[1]
    assert found[2] == "FileNotFoundError: [Errno 2] No such file or directory: 'a/3.png'"
    for picture, expected in zip(found[3:], by_index(dataset, ALL[3:]), strict=True):
        assert torch.equal(picture, expected)
