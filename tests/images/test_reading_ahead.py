"""Batches that are read ahead: the same whatever reads them, bounded, and no thread left."""

import threading
import time
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch
from image_sets import photograph

from ddp_tasks.images import reading_ahead
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.reading_ahead import BATCHES_AHEAD, read_ahead, reading_threads
from schemas.parameters import ImageParameters, RunError, TransformParameters

CPU = torch.device("cpu")
STANDARD = {"resize": 24, "crop": 20, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
IMAGES = 20


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for i in range(IMAGES):
        path = root / "ab"[i % 2] / f"{i:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        photograph(60 + i, 40, seed=i).save(path)
    return root


def opened(factory, transform, **kwargs):
    return open_images(
        ImageParameters(
            factory=factory,
            kwargs=kwargs,
            transform=TransformParameters(**transform) if transform is not None else None,
        )
    )


def of_tree(root):
    return opened("torchvision.datasets:ImageFolder", STANDARD, root=str(root))


def batches(images, chosen=None, size=3, unreadable=None):
    reading = read_ahead(
        images,
        chosen or range(len(images)),
        size,
        CPU,
        {} if unreadable is None else unreadable,
    )
    # Copies, since the next batch is written over the one before.
    return [batch.clone() for batch in reading]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 3, 9, 64])
def test_files_give_the_batches_that_are_read_at_once(tree, monkeypatch, threads, size):
    monkeypatch.setattr(reading_ahead, "reading_threads", lambda images, device: threads)
    images = of_tree(tree)
    found = batches(images, range(2, 19), size)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert torch.equal(torch.cat(found), images.batch(2, 19))


@pytest.mark.parametrize(("name", "transform"), [("Separable", None), ("Greys", {"crop": 3})])
def test_any_dataset_gives_the_batches_that_are_read_at_once(name, transform):
    images = opened(f"image_sets:{name}", transform)
    assert torch.equal(torch.cat(batches(images)), images.batch(0, len(images)))


def test_images_that_cannot_be_read_are_left_out_and_noted(tree, tmp_path):
    for path in tree.rglob("*.jpg"):
        copy = tmp_path / path.relative_to(tree)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    images = of_tree(tree)
    damaged = of_tree(tmp_path)
    # Positions in the order of the tree: the whole second batch of three, and one of the last.
    for position in (3, 4, 5, 19):
        (tmp_path / damaged.ids[position]).write_bytes(b"no picture")
    unreadable = {}
    found = batches(damaged, unreadable=unreadable)
    assert sorted(unreadable) == [3, 4, 5, 19]
    assert all("UnidentifiedImageError" in reason for reason in unreadable.values())
    readable = [i for i in range(IMAGES) if i not in unreadable]
    assert torch.equal(torch.cat(found), images.batch(0, IMAGES)[readable])
    assert [len(batch) for batch in found] == [3, 3, 3, 3, 3, 1]


def test_an_image_of_another_shape_is_noted_and_the_others_are_read():
    unreadable = {}
    found = batches(opened("image_sets:OneOdd", None), unreadable=unreadable)
    assert sorted(unreadable) == [2]
    assert "it has shape (1, 3, 2) and '0' has (1, 2, 2)" in unreadable[2]
    assert torch.cat(found).flatten(1).tolist() == [[i] * 4 for i in (0, 1, 3)]


class Counting:
    """A dataset that counts how many of its images were asked for, and by which threads."""

    def __init__(self, images=60):
        self.targets, self.asked, self.threads = [0] * images, 0, set()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        return torch.full((1, 2, 2), float(index)), 0


def counting():
    images = opened(f"{__file__}:Counting", None)
    images.shape  # noqa: B018 - is read before the batches
    images.dataset.asked = 0
    images.dataset.threads.clear()
    return images


def _settled(images, expected):
    """Wait until as many images were asked for; then a while, in which no more may be."""
    deadline = time.monotonic() + 20
    while images.dataset.asked < expected and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    return images.dataset.asked


def test_no_more_batches_are_read_than_may_wait():
    images = counting()
    with closing(read_ahead(images, range(60), 5, CPU, {})) as reading:
        next(reading)
        assert _settled(images, 5 * (1 + BATCHES_AHEAD)) == 5 * (1 + BATCHES_AHEAD)
        next(reading)
        assert _settled(images, 5 * (2 + BATCHES_AHEAD)) == 5 * (2 + BATCHES_AHEAD)
    assert images.dataset.threads == {"reading_0"}


def reading_threads_alive():
    return [t.name for t in threading.enumerate() if t.name.startswith("reading")]


def test_no_thread_is_left_whatever_ends_the_reading(tree, monkeypatch):
    monkeypatch.setattr(reading_ahead, "reading_threads", lambda images, device: 2)
    images = of_tree(tree)
    batches(images)
    assert reading_threads_alive() == []
    # The consumer stops.
    with closing(read_ahead(images, range(IMAGES), 2, CPU, {})) as reading:
        next(reading)
        assert len(reading_threads_alive()) == 2
    assert reading_threads_alive() == []
    # The consumer fails.
    reading = read_ahead(images, range(IMAGES), 2, CPU, {})
    with pytest.raises(ZeroDivisionError), closing(reading):
        1 / len(next(reading)[:0])
    assert reading_threads_alive() == []
    # A thread fails in a way that is no image's fault.
    reading = read_ahead(images, range(IMAGES), 2, CPU, {})
    monkeypatch.setattr(type(images), "read", _exhausted)
    with pytest.raises(MemoryError):
        list(reading)
    assert reading_threads_alive() == []


def _exhausted(self, start, stop, device=CPU, contents=None):
    if start >= 2:
        raise MemoryError
    return [torch.zeros(self.shape, dtype=torch.uint8)] * (stop - start)


def test_reading_threads_leave_torch_the_threads_it_has(tree, monkeypatch):
    monkeypatch.setattr(reading_ahead, "reading_threads", lambda images, device: 2)
    images, inside = of_tree(tree), []
    read = type(images).read

    def noting(self, *arguments):
        inside.append(torch.get_num_threads())
        return read(self, *arguments)

    monkeypatch.setattr(type(images), "read", noting)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        batches(images)
        assert set(inside) == {1}
        assert torch.get_num_threads() == 2
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [2]
        # One reading thread beside up to seven of torch's: a fourth of them, at least one.
        for torch_threads, expected in ((1, 1), (7, 1), (8, 2), (32, 8)):
            monkeypatch.undo()
            monkeypatch.setattr(torch, "get_num_threads", lambda n=torch_threads: n)
            assert reading_threads(images, CPU) == expected
            assert reading_threads(opened("image_sets:Separable", None), CPU) == 1
    finally:
        monkeypatch.undo()
        torch.set_num_threads(before)


def test_arrays_in_memory_are_read_without_threads(monkeypatch):
    from torchvision.datasets import CIFAR10

    def made():
        cifar = CIFAR10.__new__(CIFAR10)
        cifar.data = np.random.default_rng(1).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
        cifar.targets, cifar.transform, cifar.target_transform = list(range(7)), None, None
        return cifar

    monkeypatch.setattr("image_sets.stream", made)
    transform = {"mean": [0.5] * 3, "std": [0.5] * 3}
    images = opened("image_sets:stream", transform)
    assert images.in_memory
    expected = torch.stack([torch.from_numpy(picture) for picture in made().data])
    expected = (expected.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with closing(read_ahead(images, range(7), 3, CPU, {})) as reading:
        first = next(reading)
        assert reading_threads_alive() == []
        torch.testing.assert_close(first, expected[:3], rtol=0, atol=1e-6)
        place = first.data_ptr()
        # The same memory again, so that nothing is spent on it.
        assert [batch.data_ptr() for batch in reading] == [place, place]
    torch.testing.assert_close(torch.cat(batches(images)), expected, rtol=0, atol=1e-6)


def test_a_transform_that_pictures_in_memory_do_not_take_is_refused(monkeypatch):
    images = opened("image_sets:Greys", {"mean": [0.0, 0.0], "std": [1.0, 1.0]})
    with pytest.raises(RunError, match="has 1 channels"):
        next(read_ahead(images, range(3), 2, CPU, {}))
    assert reading_threads_alive() == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("decoder", ["cpu", "cuda"])
def test_a_gpu_is_given_what_the_processor_is_given(tree, decoder):
    images, gpu, decoders = of_tree(tree), torch.device("cuda"), Counter()
    reading = read_ahead(
        images, range(IMAGES), 6, gpu, {}, decoder=torch.device(decoder), decoders=decoders
    )
    found = [batch.cpu() for batch in reading]
    difference = (torch.cat(found) - images.batch(0, IMAGES)).abs()
    assert decoders == {decoder: IMAGES}
    # From the same pixels, only the last bit of float32 may differ. nvJPEG and resizing in float32
    # differ by few levels of 255, over a deviation of 0.2.
    assert difference.mean() < (1e-6 if decoder == "cpu" else 4 / 255 / 0.2)
