import copy

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, convolutions, fully_connected
from torch import nn
from toy_networks import InPlaceNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import NotFiniteError, extract, signal_vector, signals_of_means
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import mean_of_images, receptive_fields, unfold_weight


def _left_singular_vectors(model, layers):
    vectors = {}
    for layer in layers:
        vectors[layer.name] = decompose(unfolded_weight(model, layer), layer.groups).U
    return vectors


def _extract(model, batches, done=lambda images: None):
    layers = trace_layers(model, batches[0]).linear
    return extract(ForwardPass(model, layers, _left_singular_vectors(model, layers)), batches, done)


def _seeded(network, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network().eval().requires_grad_(False)


def _by_definition(model, images):
    """Signals (layer name, image, vector) from the layers' inputs, in float64, by loops."""
    model = copy.deepcopy(model).double()
    layers = trace_layers(model, images.double()).linear
    inputs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Copied at once: the module before may hand over a tensor that is overwritten later.
            module.register_forward_pre_hook(
                lambda _, given, name=name: inputs.setdefault(name, []).append(
                    given[0].clone().numpy()
                )
            )
    model(images.double())
    signals = {}
    for layer in layers:
        module = model.get_submodule(layer.module)
        W = reference.block_diagonal(module.weight.flatten(1).numpy(), layer.groups)
        X = inputs[layer.module][layer.call - 1]
        if isinstance(module, nn.Linear):
            Psi = [x.reshape(-1, x.shape[-1]).T for x in X]
        else:
            geometry = {
                "stride": module.stride,
                "padding": module.padding,
                "dilation": module.dilation,
            }
            Psi = [reference.receptive_fields(x, module.kernel_size, **geometry) for x in X]
        signals[layer.name] = np.stack([reference.signal_vector(W, psi) for psi in Psi])
    return signals


def _assert_close(signals, expected):
    # Float32 outputs: errors of some last bits (6e-8) of the largest terms summed.
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(signals, expected, rtol=0, atol=atol)


def test_signal_vector_by_hand():
    # Two receptive fields (1, 0) and (3, 2). Along v0 = e0 with s0 = 2 the signals are 2 and 6,
    # mean 4; along v1 = -e1 with s1 = 1 they are 0 and -2, mean -1.
    Psi = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    V = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    assert signal_vector(Psi, torch.tensor([2.0, 1.0]), V).tolist() == [4, -1]
    with pytest.raises(ValueError, match="Psi has 3 rows and V has 2"):
        signal_vector(torch.ones(3, 2), torch.tensor([2.0, 1.0]), V)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@given(st.one_of(convolutions(), fully_connected()))
def test_signals_from_u_and_from_v_agree(example):
    module, X = example
    if not module.weight.any():
        module.weight.fill_(1)
    groups = getattr(module, "groups", 1)
    svd = decompose(unfold_weight(module.weight), groups)
    last = isinstance(module, torch.nn.Linear)
    mean = mean_of_images(module(X), len(X), channels_last=last)
    by_means = signals_of_means(mean, module.bias, svd.U)
    Psi = receptive_fields(module, X).flatten(1, 2)
    by_definition = torch.stack([signal_vector(psi, svd.S, svd.V) for psi in Psi])
    # Both in float64; entries are at most 4, so sums stay below 1e3 and rounding below 1e-11.
    torch.testing.assert_close(by_means, by_definition, rtol=0, atol=1e-10)


@settings(max_examples=20)
@given(SEEDS)
def test_a_small_network_agrees_with_the_definition(seed):
    model = _seeded(InPlaceNetwork, seed)
    images = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
    found = _extract(model, [images])
    expected = _by_definition(model, images)
    assert found.signal.dtype == np.float32
    assert found.signal.shape == (3, 4, 6)
    for position, (name, signals) in enumerate(expected.items()):
        rank = signals.shape[1]
        _assert_close(found.signal[:, position, :rank], signals)
        assert np.isnan(found.signal[:, position, rank:]).all(), name


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 2, 1), nn.Linear(1, 2)],
    ids=["in-place ReLU after a convolution", "in-place ReLU after a fully connected layer"],
)
def test_in_place_relu_after_a_layer_does_not_reach_its_signals(layer):
    # W maps x to (3x, -2x), bias (1, 1). Its one singular value is sqrt(13), with
    # u = (3, -2) / sqrt(13) (the 3 is the largest entry) and v = 1, so the signal of x is
    # sqrt(13) x. At x = -1 what ReLU leaves of the output (-2, 3) is (0, 3): less bias and along
    # u that would be (-1, 2) . u = -7 / sqrt(13) instead.
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([3.0, -2.0]).reshape(layer.weight.shape))
        layer.bias.fill_(1)
    if isinstance(layer, nn.Linear):
        model = nn.Sequential(nn.Flatten(), layer, nn.ReLU(inplace=True), nn.Linear(2, 2))
    else:
        model = nn.Sequential(layer, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(2, 2))
    found = _extract(model.eval(), [torch.tensor([-1.0, 2.0]).reshape(2, 1, 1, 1)])
    # Float32 holds sqrt(13) to 6e-8.
    np.testing.assert_allclose(found.signal[:, 0, 0], [-(13**0.5), 2 * 13**0.5], rtol=1e-6)


def test_each_call_of_a_module_has_its_own_signals():
    model = _seeded(TwiceNetwork, 3)
    images = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = _extract(model, [images])
    expected = _by_definition(model, images)
    assert list(expected) == ["shared", "shared@2", "head"]
    for position, signals in enumerate(expected.values()):
        _assert_close(found.signal[:, position, : signals.shape[1]], signals)
    assert not np.allclose(found.signal[:, 0], found.signal[:, 1])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6])
def test_batch_size_changes_nothing(batch_size):
    model = _seeded(InPlaceNetwork, 1)
    images = torch.randn(7, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    whole = _extract(model, [images])
    told = []
    cut = _extract(model, list(images.split(batch_size)), told.append)
    assert sum(told) == 7
    assert max(told) == batch_size
    for layer in range(whole.signal.shape[1]):
        rank = int(np.isfinite(whole.signal[0, layer]).sum())
        _assert_close(cut.signal[:, layer, :rank], whole.signal[:, layer, :rank])
    np.testing.assert_array_equal(cut.predicted, whole.predicted)
    # A probability of float32 scores, whose sums may run in another order.
    np.testing.assert_allclose(cut.confidence, whole.confidence, atol=1e-6)


def test_prediction_and_confidence_by_hand():
    # Scores (x, 0): softmax gives the first class 1 / (1 + exp(-x)).
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [0.0]]))
    found = _extract(model.eval(), [torch.tensor([2.0, -1.0]).reshape(2, 1, 1, 1)])
    assert found.predicted.tolist() == [0, 1]
    expected = [1 / (1 + np.exp(-2)), 1 - 1 / (1 + np.exp(1))]
    np.testing.assert_allclose(found.confidence, expected, rtol=1e-6)


def test_a_network_that_ends_in_a_softmax_is_not_squashed_twice():
    bare = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = _extract(nn.Sequential(*bare, nn.Softmax(dim=1)).eval(), [images])
    expected = _extract(bare.eval(), [images])
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    np.testing.assert_allclose(found.confidence, expected.confidence, rtol=1e-6)


def _picky():
    model = _seeded(PickyNetwork, 0)
    layers = trace_layers(model, torch.ones(2, 1, 2, 2)).linear
    return model, layers, _left_singular_vectors(model, layers)


def _hooks(model):
    return [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_hooks_are_gone_after_success_and_after_a_failing_forward():
    model, layers, U = _picky()
    extract(ForwardPass(model, layers, U), [torch.ones(2, 1, 2, 2)])
    assert _hooks(model) == []
    with pytest.raises(ArithmeticError, match="below zero"):
        extract(ForwardPass(model, layers, U), [torch.ones(2, 1, 2, 2), -torch.ones(2, 1, 2, 2)])
    assert _hooks(model) == []


def test_a_layer_that_is_not_reached_for_every_image_is_named():
    model, layers, U = _picky()
    batches = [torch.ones(2, 1, 2, 2), torch.ones(1, 1, 2, 2)]
    with pytest.raises(ValueError, match="layer hidden is reached by 0 of the 1 images of a batch"):
        extract(ForwardPass(model, layers, U), batches)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_signals_that_are_not_finite_are_refused_with_layer_and_image(bad):
    model, layers, U = _picky()
    images = torch.ones(3, 1, 2, 2)
    images[1, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="layer hidden gives NaN or infinity for image 1 "):
        extract(ForwardPass(model, layers, U), [images])


def test_only_the_layers_asked_for_are_extracted():
    model = _seeded(InPlaceNetwork, 2)
    images = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    layers = trace_layers(model, images).linear[2:3]
    found = extract(ForwardPass(model, layers, _left_singular_vectors(model, layers)), [images])
    assert found.signal.shape == (2, 1, 5)
    _assert_close(found.signal[:, 0], _by_definition(model, images)["fc1"])


@pytest.mark.parametrize("values", [[float("nan")], [float("inf")], [float("inf"), -float("inf")]])
def test_signals_that_are_not_finite_are_refused_by_layer_and_image(values):
    model = _seeded(InPlaceNetwork, 0)
    images = torch.rand(7, 2, 6, 6)
    for image, value in enumerate(values, start=5):
        images[image, 0, 2, 2] = value
    layers = trace_layers(model, images[:2]).linear
    forward = ForwardPass(model, layers, _left_singular_vectors(model, layers))
    with pytest.raises(NotFiniteError, match="conv1 gives NaN or infinity for image 5") as refused:
        extract(forward, images.split(3))
    assert (refused.value.layer, refused.value.image) == ("conv1", 5)
