"""Batches made beside the network's stream: in which order, and who waits for whom."""

from collections import Counter
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
import torch
from image_sets import photograph

from ddp_tasks.images import reading_ahead
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.images.reading_ahead import read_ahead
from ddp_tasks.images.side_stream import BATCHES_ON_DEVICE, SideStream
from schemas.parameters import ImageParameters, TransformParameters

CPU = torch.device("cpu")
STANDARD = {"resize": 24, "crop": 20, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def opened(factory, transform, **kwargs):
    transform = None if transform is None else TransformParameters(**transform)
    return open_images(ImageParameters(factory=factory, kwargs=kwargs, transform=transform))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for i in range(10):
        path = root / "ab"[i % 2] / f"{i:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        photograph(60 + i, 40, seed=i).save(path)
    (root / "b" / "09.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture
def beside(monkeypatch):
    """Reading as for a GPU, on torch's streams of the processor, which do all at once."""
    monkeypatch.setattr(reading_ahead, "_side_stream", SideStream)


@pytest.mark.usefixtures("beside")
def test_batches_made_on_the_side_are_those_of_the_processor(tree):
    images = opened("torchvision.datasets:ImageFolder", STANDARD, root=str(tree))
    unreadable, decoders = {}, Counter()
    found = list(read_ahead(images, range(10), 3, CPU, unreadable, decoders=decoders))
    assert [len(batch) for batch in found] == [3, 3, 3]
    # Nothing is overwritten: each batch has memory of its own.
    assert torch.equal(torch.cat(found), images.batch(0, 9))
    assert list(unreadable) == [9]
    assert decoders == {"cpu": 9}


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(("name", "transform"), [("Separable", None), ("Greys", {"crop": 3})])
def test_any_dataset_is_made_on_the_side(name, transform):
    images = opened(f"image_sets:{name}", transform)
    found = torch.cat(list(read_ahead(images, range(len(images)), 2, CPU, {})))
    assert torch.equal(found, images.batch(0, len(images)))


@pytest.mark.usefixtures("beside")
def test_an_error_in_making_a_batch_reaches_the_caller(monkeypatch):
    images = opened("image_sets:Greys", {"crop": 3})
    monkeypatch.setattr(type(images), "inputs", lambda *_: 1 / 0)
    with closing(read_ahead(images, range(6), 2, CPU, {})) as reading:
        with pytest.raises(ZeroDivisionError):
            next(reading)
        with pytest.raises(StopIteration):
            next(reading)


class Device:
    """Streams and events that do nothing but write down what they are asked."""

    def __init__(self):
        self.log, self.current, self.events = [], "network", 0
        self.Event, self.Stream = self._event, lambda *_: "side"

    def current_stream(self, _):
        return self.current

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def _event(self):
        number, self.events = self.events, self.events + 1

        def record(stream):
            self.log.append(f"{stream} records {number}")

        def wait(stream):
            self.log.append(f"{stream} waits for {number}")

        def synchronize():
            self.log.append(f"the caller waits for {number}")

        return SimpleNamespace(record=record, wait=wait, synchronize=synchronize)


@pytest.fixture
def device(monkeypatch):
    from ddp_tasks.images import side_stream

    device = Device()
    monkeypatch.setattr(torch, "get_device_module", lambda _: device)
    side_stream._stream.cache_clear()
    yield device
    side_stream._stream.cache_clear()


def test_the_networks_stream_waits_for_a_batch_and_the_caller_for_an_earlier_pass(device):
    side = SideStream(CPU)

    def making():
        device.log.append(f"made on {device.current}")
        return torch.zeros(1)

    for _ in range(4):
        side.handed_over(making)
        device.log.append(f"passed on {device.current}")
        side.used()
    made = ["made on side", "side records {0}", "network waits for {0}", "passed on network"]
    expected = []
    for batch in range(4):
        expected += [line.format(2 * batch) for line in made]
        expected += [f"network records {2 * batch + 1}"]
        if batch >= BATCHES_ON_DEVICE:
            # One wait a batch, for the pass before the last two.
            expected += [f"the caller waits for {2 * (batch - BATCHES_ON_DEVICE) + 1}"]
    assert device.log == expected


def test_the_callers_stream_is_back_when_making_fails(device):
    # The stand-in leaves its stream as torch's context does.
    device.stream = contextmanager(_restoring(device))
    with pytest.raises(ZeroDivisionError):
        SideStream(CPU).handed_over(lambda: 1 / 0)
    assert device.current == "network"
    assert device.log == []


def _restoring(device):
    def stream(stream):
        before, device.current = device.current, stream
        try:
            yield
        finally:
            device.current = before

    return stream
