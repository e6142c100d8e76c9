import numpy as np
import odd_networks
import pytest
import torch
from torch import nn
from toy_networks import InPlaceNetwork, MixedNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs
from ddp_tasks.weights.tensor_svd import decompose


class Transposed(nn.Module):
    """Upsamples, in one dimension."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 4, 3, stride=2, groups=2)
        self.down = nn.Conv1d(4, 3, 2)

    def forward(self, X):
        return self.down(self.up(X).relu_()).relu_().mean(dim=2)


class PositionsFirst(nn.Module):
    """Takes its sequences with the images second."""

    def __init__(self):
        super().__init__()
        self.each = nn.Linear(2, 3)

    def forward(self, X):
        return self.each(X.flatten(2).permute(2, 0, 1)).relu_().mean(dim=0)


class Windows(nn.Module):
    """Cuts each image into two windows."""

    def __init__(self):
        super().__init__()
        self.inside = nn.Conv2d(1, 3, 2)

    def forward(self, X):
        x = self.inside(X.reshape(2 * len(X), 1, 3, 4)).relu_()
        return x.reshape(len(X), 2, 3, -1).mean(dim=(1, 3))


CASES = [
    (InPlaceNetwork, (5, 2, 6, 6)),
    (TwiceNetwork, (4, 1, 2, 2)),
    (MixedNetwork, (3, 2, 3, 3)),
    (Transposed, (3, 2, 5)),
    (PositionsFirst, (3, 2, 2, 2)),
    (Windows, (3, 1, 6, 4)),
    (odd_networks.Volumes, (2, 1, 5, 6, 7)),
]


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().double().eval()


def inputs(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def hooks_of(model):
    return [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]


def nothing_left(model):
    return hooks_of(model) == [] and torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize(("network", "shape"), CASES)
def test_means_of_maps_are_the_signals_of_the_cube(network, shape):
    model = seeded(network)
    X = inputs(*shape)
    layers = trace_layers(model, X[:2]).linear
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in layers}
    expected = extract(ForwardPass(model, layers, U), [X]).signal

    def maps(output):
        return output.signals(U[output.layer.name]).detach()

    with layer_outputs(model, layers, AS_THEY_COME, maps) as outputs:
        found = outputs(X)
    for place, layer in enumerate(layers):
        signals = found[layer.name].reshape(len(X), -1, U[layer.name].shape[1]).mean(dim=1)
        np.testing.assert_allclose(signals, expected[:, place, : signals.shape[1]], atol=1e-6)
        # The layer alone gives the same, and so do its values and its mean.
        for keep in (maps, LayerOutput.values, LayerOutput.mean):
            with layer_outputs(model, [layer], AS_THEY_COME, keep) as outputs:
                alone = outputs(X)[layer.name]
            alone = alone if keep is maps else alone @ U[layer.name]
            whole = signals if alone.ndim == 2 else found[layer.name]
            torch.testing.assert_close(alone, whole, check_stride=False)
        assert nothing_left(model)


def test_positions_keep_their_shape():
    for network, shape, expected in [
        (InPlaceNetwork, (5, 2, 6, 6), {"conv1": (6, 6), "conv2": (2, 2), "fc1": (), "fc2": ()}),
        (PositionsFirst, (3, 2, 2, 2), {"each": (4,)}),
        (Windows, (3, 1, 6, 4), {"inside": (2, 2, 3)}),
        (Transposed, (3, 2, 5), {"up": (11,), "down": (10,)}),
    ]:
        model = seeded(network)
        X = inputs(*shape)
        layers = trace_layers(model, X[:2]).linear
        with layer_outputs(model, layers, AS_THEY_COME, LayerOutput.values) as outputs:
            found = outputs(X)
        shapes = {layer.name: (len(X), *expected[layer.name], layer.shape[0]) for layer in layers}
        assert {name: tuple(values.shape) for name, values in found.items()} == shapes


def test_values_are_those_of_the_layer_before_what_follows_overwrites_them():
    model = seeded(InPlaceNetwork)
    X = inputs(3, 2, 6, 6)
    layers = trace_layers(model, X).linear
    conv1 = model.conv1(X)
    conv2 = model.conv2(conv1.relu())
    expected = {"conv1": conv1, "conv2": conv2}
    with layer_outputs(
        model, layers, AS_THEY_COME, lambda output: output.values(bias=True)
    ) as outputs:
        found = outputs(X)
    for name, values in expected.items():
        assert values.min() < 0
        torch.testing.assert_close(found[name], values.permute(0, 2, 3, 1))


@pytest.mark.parametrize(("network", "shape"), CASES)
def test_gradients_against_a_whole_pass_with_finite_differences(network, shape):
    model = seeded(network)
    X = inputs(*shape)[:2]
    layers = trace_layers(model, X).linear
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in layers}

    def objective(images, chosen):
        def keep(output):
            weights = inputs(*output.values().shape, seed=1)
            return output.signals(U[output.layer.name]).flatten(1).sum(1) + (
                output.values() * weights
            ).flatten(1).sum(1)

        with layer_outputs(model, chosen, AS_THEY_COME, keep) as outputs:
            return sum(kept.sum() for kept in outputs(images).values())

    # All layers in one pass, so that in-place activations follow those that are not the last.
    for chosen in (layers, layers[:1]):
        assert torch.autograd.gradcheck(
            lambda images, chosen=chosen: objective(images, chosen),
            X.clone().requires_grad_(),
            fast_mode=True,
        )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_pass_ends_at_the_deepest_layer():
    model = seeded(InPlaceNetwork)
    X = inputs(2, 2, 6, 6)
    layers = {layer.name: layer for layer in trace_layers(model, X).linear}
    called = []
    for name in ("conv1", "conv2", "fc1", "fc2"):
        getattr(model, name).register_forward_pre_hook(lambda *_, name=name: called.append(name))
    asked = [layers["conv2"], layers["conv1"]]
    with layer_outputs(model, asked, AS_THEY_COME, LayerOutput.mean) as outputs:
        assert list(outputs(X)) == ["conv2", "conv1"]
        assert called == ["conv1", "conv2"]
        outputs(X[:1])
        assert called == ["conv1", "conv2"] * 2


def test_the_second_use_of_a_weight_is_a_layer_of_its_own():
    model = seeded(TwiceNetwork)
    X = inputs(3, 1, 2, 2)
    second = next(x for x in trace_layers(model, X).linear if x.name == "shared@2")
    W, b = model.shared.weight, model.shared.bias
    first = torch.relu(X.flatten(1) @ W.T + b)
    with layer_outputs(model, [second], AS_THEY_COME, LayerOutput.values) as outputs:
        for _ in range(2):
            torch.testing.assert_close(outputs(X)["shared@2"], first @ W.T)


def test_hooks_are_gone_after_any_failure():
    model = PickyNetwork().eval()
    layers = trace_layers(model, torch.ones(2, 1, 2, 2)).linear

    def interrupt(output):
        raise KeyboardInterrupt

    for failure, keep, X in [
        (ArithmeticError, LayerOutput.mean, -torch.ones(2, 1, 2, 2)),
        (KeyboardInterrupt, interrupt, torch.ones(2, 1, 2, 2)),
    ]:
        with (
            pytest.raises(failure),
            layer_outputs(model, layers, AS_THEY_COME, keep) as outputs,
        ):
            outputs(X)
        assert nothing_left(model)
    with (
        pytest.raises(ValueError, match="layer hidden is reached by 0 of the 1 images"),
        layer_outputs(model, layers[:1], AS_THEY_COME, LayerOutput.mean) as outputs,
    ):
        outputs(torch.ones(1, 1, 2, 2))
    assert nothing_left(model)


def test_a_network_that_catches_errors_does_not_go_on():
    class Catching(TwiceNetwork):
        def forward(self, images):
            try:
                return super().forward(images)
            except Exception:  # noqa: BLE001 - as people write it
                return self.head(torch.zeros(len(images), 4))

    model = Catching().eval()
    X = torch.ones(2, 1, 2, 2)
    layers = trace_layers(model, X).linear[:1]
    called = []
    model.head.register_forward_pre_hook(lambda *_: called.append("head"))
    with layer_outputs(model, layers, AS_THEY_COME, LayerOutput.mean) as outputs:
        outputs(X)
    assert called == []


def test_images_that_are_filled_up_or_pass_alone():
    # A batch of one is filled up to two, whose second row is not given back.
    model = odd_networks.Paired().eval()
    X = inputs(1, 2, 6, 6).float()
    layers = trace_layers(model, X.expand(2, -1, -1, -1)).linear
    pairs = CallingConvention(fewest=2)
    with layer_outputs(model, layers, pairs, LayerOutput.values) as outputs:
        assert outputs(X)["conv2"].shape == (1, 4, 4, 5)

    # Images that pass alone may miss a layer: their rows are NaN.
    model = odd_networks.EarlyExit().eval()
    X = torch.stack([torch.zeros(2, 6, 6), torch.ones(2, 6, 6)])
    layers = {x.name: x for one in X for x in trace_layers(model, one[None]).linear}
    alone = CallingConvention(alone=True)
    for name, reached in (("conv1", [1, 1]), ("conv2", [1, 0]), ("exit", [0, 1])):
        with layer_outputs(model, [layers[name]], alone, LayerOutput.mean) as outputs:
            found = outputs(X)[name].isfinite().all(dim=1)
        assert found.tolist() == [bool(value) for value in reached]
