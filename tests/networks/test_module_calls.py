"""Networks of plain modules are read by hooks on these modules, all others by a function mode."""

import pytest
import torch
from hypothesis import given, settings
from strategies import SEEDS
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm
from toy_networks import InPlaceNetwork, TwiceNetwork

from ddp_tasks.networks.layers import means_read
from ddp_tasks.networks.paper_networks import CifarResNet, PaperNetwork
from ddp_tasks.networks.tracing import trace_layers


class Several(nn.Module):
    """Convolutions of all kinds, with and without bias, groups, padding and a second call."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect", groups=2)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2, bias=False)
        self.shared = nn.Conv2d(4, 4, 1)
        self.along = nn.Conv1d(4, 3, 2)
        self.fc = nn.Linear(3, 3)

    def forward(self, images):
        x = torch.relu_(self.conv(images))
        x = torch.relu_(self.shared(self.up(x)))
        x = self.along(self.shared(x).flatten(2))
        # Every position of a sequence is a receptive field.
        return self.fc(x.transpose(1, 2)).mean(dim=1)


class ByKeyword(nn.Module):
    """Gives its modules their inputs by name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(input=self.conv(input=images).mean(dim=(2, 3)))


class BothWays(nn.Module):
    """Applies a module's weight by the module and without it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(50, 50)

    def forward(self, images):
        x = self.fc(functional.linear(images.flatten(1), self.fc.weight))
        return self.fc(x)


class Attending(nn.Module):
    """Attention, which is fused where no function mode listens, before a plain module."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(10, 2, batch_first=True)
        self.fc = nn.Linear(10, 3)

    def forward(self, images):
        x = images.flatten(2).transpose(1, 2).reshape(len(images), 5, 10)
        return self.fc(self.attention(x, x, x)[0].mean(dim=1))


class Rescaled(nn.Conv2d):
    """A convolution whose output is not what torch's function gives."""

    def forward(self, X):
        return 2 * super().forward(X)


def built(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval().requires_grad_(False)


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def read(model, layers, X, *, steady):
    """Means by layer, and whether a function mode listened when they were read."""
    means, modes = {}, []

    def note(name, mean):
        means[name] = mean
        modes.extend(torch.overrides._get_current_function_mode_stack())

    with torch.inference_mode(), means_read(model, layers, note, steady=steady) as run:
        # Whoever hears a call in a function mode is outside of it meanwhile.
        handle = model.register_forward_hook(
            lambda *_: modes.extend(torch.overrides._get_current_function_mode_stack())
        )
        scores = run(X)
        handle.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return means, scores, bool(modes)


def assert_same(model, layers, X):
    means, scores, listened = read(model, layers, X, steady=True)
    expected, same, _ = read(model, layers, X, steady=False)
    assert list(means) == list(expected)
    assert list(means) == [layer.name for layer in layers]
    for name, mean in means.items():
        assert torch.equal(mean, expected[name]), name
    assert torch.equal(scores, same)
    return listened


@settings(max_examples=4)
@given(SEEDS)
def test_plain_modules_are_read_without_a_function_mode_bit_by_bit_alike(seed):
    X = images(4, 2, 6, 6, seed=seed)
    model = built(Several, seed)
    layers = trace_layers(model, X[:2]).linear
    assert [x.name for x in layers] == ["conv", "up", "shared", "shared@2", "along", "fc"]
    assert not assert_same(model, layers, X)
    # A layer's number counts the calls of its module, also of those that the run leaves out.
    assert not assert_same(model, tuple(x for x in layers if x.name in ("shared@2", "fc")), X)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: CifarResNet(depth=8), (3, 3, 32, 32)),
        (PaperNetwork, (3, 1, 28, 28)),
        (ByKeyword, (3, 2, 5, 5)),
        (lambda: nn.Linear(4, 3), (3, 4)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_networks_as_people_have_them(build, shape, layout):
    model, X = built(build), images(*shape)
    layers = trace_layers(model, X[:2]).linear
    if X.ndim == 4:
        model, X = model.to(memory_format=layout), X.contiguous(memory_format=layout)
    assert not assert_same(model, layers, X)


@pytest.mark.parametrize(
    ("build", "shape"), [(InPlaceNetwork, (5, 2, 6, 6)), (TwiceNetwork, (5, 1, 2, 2))]
)
def test_networks_that_overwrite_outputs_or_call_modules_twice(build, shape):
    model, X = built(build), images(*shape)
    layers = trace_layers(model, X[:2]).linear
    assert not assert_same(model, layers, X)


def test_a_hook_of_a_persons_own_does_not_change_what_is_read():
    model, X = built(Several), images(3, 2, 6, 6)
    model.shared.register_forward_hook(lambda module, args, output: output * 3)
    layers = trace_layers(model, X[:2]).linear
    with torch.inference_mode(), means_read(model, layers, lambda *_: None, steady=True) as run:
        run(X)
    means = {}
    with torch.inference_mode(), means_read(model, layers, means.__setitem__) as run:
        run(X)
    again = {}
    with torch.inference_mode(), means_read(model, layers, again.__setitem__, steady=True) as run:
        run(X)
    assert all(torch.equal(means[name], again[name]) for name in means)


def patched(model):
    """A network one of whose modules has another forward pass than its class."""
    original = model.conv.forward
    model.conv.forward = lambda **given: original(**given).abs()
    return model


def normed(model):
    parametrizations.weight_norm(model.conv)
    return model


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (BothWays, (3, 2, 5, 5)),
        (Attending, (3, 2, 5, 5)),
        (lambda: patched(ByKeyword()), (3, 2, 5, 5)),
        (lambda: normed(ByKeyword()), (3, 2, 5, 5)),
        (lambda: nn.Sequential(Rescaled(2, 3, 5), nn.Flatten()), (3, 2, 5, 5)),
    ],
)
def test_other_uses_of_weights_keep_the_function_mode(build, shape):
    model, X = built(build), images(*shape)
    layers = trace_layers(model, X[:2]).linear
    assert assert_same(model, layers, X)


def test_attention_keeps_the_function_mode_though_the_run_leaves_it_out():
    model, X = built(Attending), images(3, 2, 5, 5)
    layers = tuple(x for x in trace_layers(model, X[:2]).linear if x.name == "fc")
    assert layers[0].plain
    assert assert_same(model, layers, X)


def test_a_weight_that_a_hook_computes_before_the_call_is_a_plain_one():
    with pytest.warns(FutureWarning, match="weight_norm"):
        model = weight_norm(nn.Conv2d(2, 3, 5))
    model = nn.Sequential(model, nn.Flatten()).eval().requires_grad_(False)
    X = images(3, 2, 5, 5)
    layers = trace_layers(model, X[:2]).linear
    assert layers[0].plain
    assert model[0]._forward_pre_hooks
    means, expected = {}, {}
    for found, steady in ((means, True), (expected, False)):
        # Not inference_mode: the hook sets an attribute of the module.
        with torch.no_grad(), means_read(model, layers, found.__setitem__, steady=steady) as run:
            run(X)
    assert torch.equal(means["0"], expected["0"])
