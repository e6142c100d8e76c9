import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SEEDS, convolutions
from torch import nn
from torch.nn.functional import batch_norm as functional_batch_norm
from torch.nn.functional import conv2d, conv_transpose2d, relu
from torchvision.models import resnet18

from ddp_tasks.networks.batch_norm_folding import fold, fold_batch_norms
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import unfold_weight

pytestmark = pytest.mark.filterwarnings(
    # torch tells that it copies its input there; what it computes is what is asked for.
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


def _randomise(model, seed=0):
    """Running statistics and affine parameters as training might leave them; float64, eval."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.1)
            if module.affine:
                with torch.no_grad():
                    module.weight.copy_(torch.randn(module.num_features, generator=generator))
                    module.bias.copy_(torch.randn(module.num_features, generator=generator))
    return model.double().eval().requires_grad_(False)


def _folding(model, images):
    return fold_batch_norms(model, trace_layers(model, images).linear, images)


def _images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_hand():
    # y = 3x + 1, then (y - 5) / sqrt(4) * 6 + 7 = 3y - 8 = 9x - 5.
    module, batch_norm = nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0)
    with torch.no_grad():
        for tensor, value in [
            (module.weight, 3.0),
            (module.bias, 1.0),
            (batch_norm.running_mean, 5.0),
            (batch_norm.running_var, 4.0),
            (batch_norm.weight, 6.0),
            (batch_norm.bias, 7.0),
        ]:
            tensor.fill_(value)
    found = fold(module, batch_norm.eval(), "bn")
    assert found.batch_norm == "bn"
    assert (found.weight.item(), found.bias.item()) == (9, -5)
    assert (found.scale.item(), found.shift.item()) == (3, -8)


@given(convolutions(), SEEDS, st.booleans())
def test_a_folded_convolution_gives_the_output_of_its_batch_norm(example, seed, affine):
    module, X = example
    kinds = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    batch_norm = _randomise(kinds[X.ndim](module.out_channels, affine=affine), seed)
    found = fold(module, batch_norm)
    Y = module(X)
    expected = batch_norm(Y)
    module.weight.copy_(found.weight)
    module.bias = nn.Parameter(found.bias, requires_grad=False)
    # Whole numbers to some hundreds, times a scale up to 10: rounding of 1e-12.
    np.testing.assert_allclose(module(X), expected, atol=1e-11)
    channels = (-1, *[1] * (Y.ndim - 2))
    affine_map = found.scale.reshape(channels) * Y + found.shift.reshape(channels)
    np.testing.assert_allclose(affine_map, expected, atol=1e-11)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_folded_transposed_convolution(groups):
    module = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups).double().requires_grad_(False)
    batch_norm = _randomise(nn.BatchNorm2d(6))
    X = _images(2, 4, 3, 3)
    found = fold(module, batch_norm)
    folded = conv_transpose2d(X, found.weight, found.bias, stride=2, groups=groups)
    np.testing.assert_allclose(folded, batch_norm(module(X)), atol=1e-13)


class _Network(nn.Module):
    """A convolution, whatever a test does with its output, and a classifier."""

    def __init__(self, between):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.again = nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=True)
        self.same = nn.Sequential(nn.Identity(), nn.Dropout(0.5))
        self.fc = nn.Linear(2, 3)
        self.between = between

    def forward(self, images):
        x = self.between(self, self.conv(images))
        return self.fc(x.mean(dim=(2, 3)))


FOLDED = {
    "directly": lambda net, y: net.norm(y),
    "in-place activation after it": lambda net, y: net.relu(net.norm(y)),
    "modules that do nothing": lambda net, y: net.norm(net.same(y)),
    "by keyword": lambda net, y: net.norm(input=y),
    "only its shape is read": lambda net, y: net.norm(y) * y.shape[1],
    "the norm has another input too": lambda net, y: net.norm(net.norm(y)),
}


@pytest.mark.parametrize("between", FOLDED.values(), ids=FOLDED)
def test_a_batch_norm_that_alone_reads_a_layer_is_folded(between):
    model = _randomise(_Network(between))
    folding = _folding(model, _images(1, 1, 5, 5))
    assert list(folding.layers) == ["conv"]
    assert folding.layers["conv"].batch_norm == "norm"
    assert folding.refused == {}


REFUSED = {
    "in-place activation between": (lambda net, y: net.norm(net.relu(y)), "relu_"),
    "functional in-place": (lambda net, y: net.norm(relu(y, inplace=True)), "relu_"),
    "method in-place": (lambda net, y: net.norm(y.mul_(2)), "mul_"),
    "skip connection": (lambda net, y: net.norm(y) + y, "add"),
    "changed afterwards": (lambda net, y: net.norm(y) + y.zero_(), "zero_"),
    "a view is kept": (lambda net, y: net.norm(y) + y[:, :1], "slice"),
    "two batch norms": (lambda net, y: net.norm(y) + net.again(y), "norm and again"),
    "twice the same": (lambda net, y: net.norm(y) + net.norm(y), "norm and norm"),
}


@pytest.mark.parametrize(("between", "why"), REFUSED.values(), ids=REFUSED)
def test_a_layer_whose_output_is_used_otherwise_too_is_refused(between, why):
    folding = _folding(_randomise(_Network(between)), _images(1, 1, 5, 5))
    assert folding.layers == {}
    assert list(folding.refused) == ["conv"]
    assert why in folding.refused["conv"]


@pytest.mark.parametrize(
    "between",
    [
        lambda net, y: y,
        lambda net, y: net.norm(y * 2),
        lambda net, y: net.norm(torch.relu(y)),
        # The functional form is no module whose statistics could be asked for.
        lambda net, y: functional_batch_norm(y, net.norm.running_mean, net.norm.running_var),
    ],
)
def test_a_layer_that_no_batch_norm_reads_is_not_mentioned(between):
    folding = _folding(_randomise(_Network(between)), _images(1, 1, 5, 5))
    assert (folding.layers, folding.refused) == ({}, {})


def test_an_output_that_the_network_returns_is_refused():
    class Returning(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.norm = nn.BatchNorm1d(3)
            self.both = False

        def forward(self, images):
            y = self.fc(images.flatten(1))
            return {"scores": self.norm(y), "raw": [y]} if self.both else self.norm(y)

    model = _randomise(Returning())
    images = _images(2, 1, 2, 2)
    layers = trace_layers(model, images).linear
    assert list(fold_batch_norms(model, layers, images).layers) == ["fc"]
    model.both = True
    refused = fold_batch_norms(model, layers, images).refused
    assert "the network's own output uses its output, beside norm" in refused["fc"]


def test_batch_norms_that_are_no_fixed_linear_map_are_refused():
    conv = nn.Conv2d(1, 2, 1)
    with pytest.raises(ValueError, match="training mode"):
        fold(conv, nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="no running statistics"):
        fold(conv, nn.BatchNorm2d(2, track_running_stats=False).eval())
    with pytest.raises(ValueError, match="may do more"):
        fold(conv, type("BatchNormAndReLU", (nn.BatchNorm2d,), {})(2).eval())
    with pytest.raises(ValueError, match="neither a convolution nor fully connected"):
        fold(nn.Bilinear(1, 1, 2), nn.BatchNorm1d(2).eval())


def test_a_batch_norm_over_positions_is_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, images):
            return self.norm(self.fc(images.flatten(1, 2))).mean(dim=1)

    folding = _folding(_randomise(Tokens()), _images(1, 2, 2, 4))
    assert "normalises another axis" in folding.refused["fc"]


def test_a_layer_called_twice_folds_what_follows_each_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.first, self.second = nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def forward(self, images):
            return self.second(self.fc(self.first(self.fc(images.flatten(1)))))

    model = _randomise(Twice())
    folding = _folding(model, _images(1, 1, 2, 2))
    assert {k: v.batch_norm for k, v in folding.layers.items()} == {"fc": "first", "fc@2": "second"}
    assert not torch.equal(folding.layers["fc"].weight, folding.layers["fc@2"].weight)


def test_hooks_are_gone_even_after_a_failure():
    def fail(net, y):
        raise ArithmeticError("no")

    model = _randomise(_Network(lambda net, y: net.norm(y)))
    images = _images(1, 1, 5, 5)
    layers = trace_layers(model, images).linear
    model.between = fail
    with pytest.raises(ArithmeticError):
        fold_batch_norms(model, layers, images)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.fixture(scope="module")
def resnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _randomise(resnet18(num_classes=10))
    images = _images(2, 3, 32, 32)
    layers = trace_layers(model, images).linear
    return model, images, layers, fold_batch_norms(model, layers, images)


def test_resnet18_every_convolution_folds(resnet):
    model, images, layers, folding = resnet
    convolutions = [layer.name for layer in layers if layer.kind == "Conv2d"]
    assert list(folding.layers) == convolutions
    assert len(convolutions) == 20
    assert folding.refused == {}

    inputs, outputs = {}, {}
    handles = []
    for layer in layers:
        if layer.name not in folding.layers:
            continue
        conv = model.get_submodule(layer.module)
        norm = model.get_submodule(folding.layers[layer.name].batch_norm)
        handles.append(
            conv.register_forward_hook(
                lambda m, x, y, name=layer.name: inputs.update({name: x[0].clone()})
            )
        )
        handles.append(
            # A copy: the activations of resnet18 work in place.
            norm.register_forward_hook(
                lambda m, x, y, name=layer.name: outputs.update({name: y.clone()})
            )
        )
    model(images)
    for handle in handles:
        handle.remove()
    for layer in layers:
        if (found := folding.layers.get(layer.name)) is None:
            continue
        conv = model.get_submodule(layer.module)
        folded = conv2d(
            inputs[layer.name], found.weight, found.bias, conv.stride, conv.padding, conv.dilation
        )
        expected = outputs[layer.name]
        # Sums of up to 4608 products: some hundred roundings of the largest output.
        np.testing.assert_allclose(folded, expected, atol=1e-12 * float(expected.abs().max()))


def test_signals_of_folded_layers_by_their_definition(resnet):
    # U'ᵀ (mean Y' − b'), Y' the output of the BatchNorm, against extract on the network as it
    # stands. The cube is float32.
    model, images, layers, folding = resnet
    layers = layers[:3]
    vectors, means, handles = {}, {}, []
    for layer in layers:
        found = folding.layers[layer.name]
        vectors[layer.name] = decompose(unfold_weight(found.weight), layer.groups).U
        handles.append(
            model.get_submodule(found.batch_norm).register_forward_hook(
                lambda m, x, y, name=layer.name: means.update({name: y.mean(dim=(2, 3))})
            )
        )
    model(images)
    for handle in handles:
        handle.remove()
    U = {k: folding.layers[k].vectors_for_unfolded_means(v) for k, v in vectors.items()}
    cube = extract(ForwardPass(model, layers, U), [images]).signal
    for i, layer in enumerate(layers):
        bias = folding.layers[layer.name].bias
        expected = (means[layer.name] - bias) @ vectors[layer.name]
        scale = float(expected.abs().max())
        np.testing.assert_allclose(cube[:, i, : expected.shape[1]], expected, atol=1e-5 * scale)


@given(convolutions(), SEEDS)
def test_folding_changes_rank_only_by_channels_scaled_by_zero(example, seed):
    module, _ = example
    assume(bool(module.weight.any()))
    batch_norm = _randomise(nn.BatchNorm2d(module.out_channels), seed)
    W = unfold_weight(module.weight)
    folded = unfold_weight(fold(module, batch_norm).weight)
    assert decompose(folded, module.groups).rank == decompose(W, module.groups).rank
    batch_norm.weight.zero_()
    with pytest.raises(ValueError, match="zero throughout"):
        decompose(unfold_weight(fold(module, batch_norm).weight), module.groups)
