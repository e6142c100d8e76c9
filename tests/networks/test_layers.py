import pytest
import torch
from torch import nn
from toy_networks import InPlaceNetwork, MixedNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.layers import attach
from ddp_tasks.networks.tracing import trace_layers


def hooks_of(model):
    return [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]


def modes():
    return torch.overrides._get_current_function_mode_stack()


def geometry(layer):
    return layer.name, layer.module, layer.call, layer.kind, layer.shape, layer.groups


def test_linear_layers_in_forward_order_with_their_geometry():
    layers = trace_layers(InPlaceNetwork().eval(), torch.zeros(1, 2, 6, 6))
    assert [geometry(layer) for layer in layers.linear] == [
        ("conv1", "conv1", 1, "Conv2d", (4, 2, 3, 3), 1),
        ("conv2", "conv2", 1, "Conv2d", (6, 2, 3, 3), 2),
        ("fc1", "fc1", 1, "Linear", (5, 24), 1),
        ("fc2", "fc2", 1, "Linear", (3, 5), 1),
    ]
    assert [layer.input_shape for layer in layers.linear] == [(2, 6, 6), (4, 6, 6), (24,), (5,)]
    assert [layer.output_shape for layer in layers.linear] == [(4, 6, 6), (6, 2, 2), (5,), (3,)]
    assert [layer.unfolded_shape for layer in layers.linear[:2]] == [(4, 18), (6, 18)]
    # Two blocks of 3 x 18.
    assert layers.linear[1].greatest_rank == 6
    assert layers.not_analysed == {}
    assert layers.outputs == 3


def test_a_module_called_twice_is_two_layers():
    # The head is defined first and called last.
    layers = trace_layers(TwiceNetwork().eval(), torch.zeros(1, 1, 2, 2))
    assert [layer.name for layer in layers.linear] == ["shared", "shared@2", "head"]
    assert [(x.module, x.call) for x in layers.linear[:2]] == [("shared", 1), ("shared", 2)]


def test_one_module_under_two_names_is_two_calls_of_one():
    shared = nn.Linear(4, 4)
    layers = trace_layers(nn.Sequential(nn.Flatten(), shared, shared), torch.zeros(1, 1, 2, 2))
    assert [layer.name for layer in layers.linear] == ["1", "1@2"]


def test_other_modules_with_weights_are_named_with_the_reason():
    found = trace_layers(MixedNetwork().eval(), torch.zeros(2, 2, 2, 2))
    assert [layer.name for layer in found.linear] == [
        "up",
        "attention.q",
        "attention.k",
        "attention.v",
        "attention.out_proj",
        "fc",
    ]
    # The weight (c, d, k, k) of the transposed convolution, output channels first.
    assert found.linear[0].shape == (4, 2, 2, 2)
    assert found.not_analysed == {
        "norm": "BatchNorm2d scales each channel by itself, which is no linear layer of the paper",
        "spare": "Linear that the forward pass never calls",
    }


@pytest.mark.parametrize(
    ("model", "images", "shape"),
    [
        (nn.Conv2d(1, 2, 1), torch.zeros(3, 1, 2, 2), "(2, 2, 2, 2)"),
        (nn.Sequential(nn.Flatten(0), nn.Identity()), torch.zeros(1, 1, 2, 2), "(8,)"),
        (nn.LSTM(2, 2), torch.zeros(3, 1, 2), "tuple"),
    ],
)
def test_networks_that_are_no_classifier_are_refused(model, images, shape):
    with pytest.raises(ValueError, match="one row of class scores") as refusal:
        trace_layers(model.eval(), images)
    assert shape in str(refusal.value)
    assert hooks_of(model) == []
    assert modes() == []


def test_hooks_are_gone_after_success_and_after_a_failing_forward():
    model = PickyNetwork().eval()
    trace_layers(model, torch.ones(2, 1, 2, 2))
    assert hooks_of(model) == []
    with pytest.raises(ArithmeticError, match="below zero"):
        trace_layers(model, -torch.ones(2, 1, 2, 2))
    assert hooks_of(model) == []
    assert modes() == []


def test_attach_reads_the_layers_asked_for_at_every_forward():
    model = TwiceNetwork().eval()
    layers = trace_layers(model, torch.zeros(1, 1, 2, 2)).linear
    read = []
    handles = attach(model, layers[1:], lambda name, output: read.append((name, len(output))))
    model(torch.zeros(2, 1, 2, 2))
    model(torch.zeros(3, 1, 2, 2))
    for handle in handles:
        handle.remove()
    model(torch.zeros(4, 1, 2, 2))
    # The first call of the shared module is not asked for; counting starts anew each time.
    assert read == [("shared@2", 2), ("head", 2), ("shared@2", 3), ("head", 3)]
    assert hooks_of(model) == []


def test_counting_starts_anew_after_a_forward_that_failed():
    model = PickyNetwork().eval()
    layers = trace_layers(model, torch.ones(2, 1, 2, 2)).linear
    read = []
    handles = attach(model, layers, lambda name, output: read.append(name))
    with pytest.raises(ArithmeticError):
        model(-torch.ones(2, 1, 2, 2))
    model(torch.ones(2, 1, 2, 2))
    for handle in handles:
        handle.remove()
    assert modes() == []
    assert read == ["hidden", "hidden", "head"]
