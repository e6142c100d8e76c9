"""Receptive fields against gradients and against finite differences."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_networks import Colours

from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.visualization import receptive_fields as module
from ddp_tasks.visualization.layer_outputs import layer_outputs
from ddp_tasks.visualization.receptive_fields import receptive_fields


class Odd(nn.Module):
    """Stride, dilation, a residual sum, pooling, paddings of several kinds, and a wide kernel."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding="same", dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, (3, 5), padding=(1, 2), groups=4)
        self.three = nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="reflect")
        self.up = nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.fc = nn.Linear(3, 3)

    def forward(self, images):
        x = torch.relu(self.norm(self.one(images)))
        x = torch.relu(x + self.two(x))
        x = nn.functional.avg_pool2d(x, 2)
        return self.fc(self.up(torch.relu(self.three(x))).mean(dim=(2, 3)))


class Apart(nn.Module):
    """Takes its channels apart, and each half sees another part of the image."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(2, 4, 1)
        self.two = nn.Conv2d(2, 2, 3, padding=1)
        self.three = nn.Conv2d(2, 3, 1)
        self.four = nn.Conv2d(4, 3, 1)
        self.fc = nn.Linear(3, 3)

    def forward(self, images):
        x = self.one(images)
        wide, narrow = torch.relu(self.two(x[:, :2])), x[:, 2:]
        again = self.four(torch.cat([wide, narrow], dim=1))
        return self.fc((self.three(narrow) + again).mean(dim=(2, 3)))


class Attends(nn.Module):
    """Every position sees every other."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 4, 4, stride=4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = self.out(x + self.attention(x, x, x)[0])
        return self.fc(x.mean(dim=1))


NETWORKS = {"odd": (Odd, 2), "apart": (Apart, 2), "attends": (Attends, 2), "colours": (Colours, 3)}


@pytest.fixture(params=NETWORKS)
def traced(request):
    torch.manual_seed(0)
    network, channels = NETWORKS[request.param]
    model = network().eval()
    images = torch.randn(3, channels, 12, 16)
    layers = trace_layers(model, images)
    return model, layers, images


def boxes_by_gradients(model, layers, convention, images):
    """Where any output has a gradient, over random images; no ReLU is dead in all of them."""
    boxes = {}
    generator = torch.Generator().manual_seed(1)
    shape = (16, *images.shape[1:])
    given = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    model, convention = float64_network(model, convention)
    for layer in layers:
        with layer_outputs(model, [layer], convention, lambda out: out.values()) as outputs:
            values = outputs(given)[layer.name]
        positions = values.shape[1:-1]
        box = np.zeros((4, *positions), dtype=int)
        weights = torch.randn(values.shape[-1], generator=generator, dtype=torch.float64)
        for position in np.ndindex(*positions):
            total = (values[(slice(None), *position)] @ weights).sum()
            (gradient,) = torch.autograd.grad(total, given, retain_graph=True)
            seen = (gradient != 0).any(dim=0).any(dim=0).numpy()
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            box[(slice(None), *position)] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        boxes[layer.name] = box
    return boxes


def test_boxes_are_where_gradients_are_not_zero(traced):
    model, layers, images = traced
    found = receptive_fields(model, layers.linear, layers.convention, images[:1])
    expected = boxes_by_gradients(model, layers.linear, layers.convention, images)
    for name, box in expected.items():
        np.testing.assert_array_equal(found[name], box, err_msg=name)


def test_pixels_outside_change_nothing_and_edges_do(traced):
    model, layers, images = traced
    found = receptive_fields(model, layers.linear, layers.convention, images[:1])
    model, convention = float64_network(model, layers.convention)
    given = images.double()
    for layer in layers.linear:
        keep = lambda out: out.values()  # noqa: E731
        with torch.no_grad(), layer_outputs(model, [layer], convention, keep) as outputs:
            before = outputs(given)[layer.name]
            positions = list(np.ndindex(*before.shape[1:-1]))
            for position in {positions[0], positions[len(positions) // 2], positions[-1]}:
                at = (slice(None), *position)
                top, left, bottom, right = found[layer.name][at].tolist()
                outside = torch.ones(given.shape[2:], dtype=torch.bool)
                outside[top:bottom, left:right] = False
                changed = given.clone()
                changed[..., outside] += 3.0
                assert torch.equal(outputs(changed)[layer.name][at], before[at])
                for edge in ((top, slice(None)), (bottom - 1, slice(None))):
                    changed = given.clone()
                    changed[:, :, edge[0], left:right] += 10 * torch.randn(right - left).double()
                    assert not torch.equal(outputs(changed)[layer.name][at], before[at])


def test_channels_need_not_pass_one_by_one(traced, monkeypatch):
    # The cheap passes and those of the whole network agree.
    model, layers, images = traced
    cheap = receptive_fields(model, layers.linear, layers.convention, images[:1])

    def refused(*_):
        raise RuntimeError("no positions alone")

    monkeypatch.setattr(module, "_spread", refused)
    whole = receptive_fields(model, layers.linear, layers.convention, images[:1])
    for name, box in cheap.items():
        np.testing.assert_array_equal(box, whole[name])


def test_a_network_that_makes_nan_is_refused():
    class Divides(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, images):
            return self.conv(images / 0.0).mean(dim=(2, 3))

    layer = trace_layers_of(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="makes NaN"):
        receptive_fields(Divides().eval(), layer, AS_THEY_COME, torch.zeros(1, 1, 3, 3))


def trace_layers_of(conv):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv
            self.fc = nn.Linear(1, 2)

        def forward(self, images):
            return self.fc(self.conv(images).mean(dim=(2, 3)))

    return trace_layers(One().eval(), torch.randn(3, 1, 3, 3)).linear[:1]


@pytest.mark.parametrize("name", ["odd", "colours"])
def test_usual_networks_pass_with_a_single_channel(name, monkeypatch):
    network, channels = NETWORKS[name]
    model, images = network().eval(), torch.randn(3, channels, 12, 16)
    layers = trace_layers(model, images)
    monkeypatch.delattr(module, "float64_network")
    found = receptive_fields(model, layers.linear, layers.convention, images[:1])
    assert set(found) == {layer.name for layer in layers.linear}
