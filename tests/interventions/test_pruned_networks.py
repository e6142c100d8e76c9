"""Whole networks with pairs of layers: faithful with all vectors, and found out where not."""

from functools import partial

import numpy as np
import odd_networks
import pytest
import torch
from removals import inputs, seeded
from torch import nn
from toy_networks import Colours, InPlaceNetwork

from ddp_tasks.interventions.forward_time import LEAST_TURNS, forward_time_ratio
from ddp_tasks.interventions.pruned_networks import pruned_network, unfaithful
from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.factorised_layers import factorisable
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.paper_networks import CifarResNet
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.weights.tensor_svd import decompose


def decomposed(model, X):
    """The decomposition of every module that a pair may replace."""
    layers = {layer.name: layer for layer in trace_layers(model, X).linear}
    modules, _ = factorisable(model, layers.values())
    return {
        m.module: decompose(unfolded_weight(model, layers[m.layers[0]]), m.groups) for m in modules
    }


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (odd_networks.Plain, (2, 6, 6)),
        (InPlaceNetwork, (2, 6, 6)),  # with groups and a stride
        (Colours, (3, 8, 8)),
        (odd_networks.Volumes, (1, 5, 6, 7)),
        (odd_networks.Series, (3, 20)),
        (partial(CifarResNet, 8), (3, 32, 32)),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["64", "32"]
)
def test_with_all_vectors_a_network_gives_its_own_scores(build, shape, dtype, tolerance):
    model, X = seeded(build).to(dtype), inputs(3, *shape).to(dtype)
    svd = decomposed(model, X)
    assert len(svd) > 1
    every = {name: np.arange(one.rank) for name, one in svd.items()}
    paired = pruned_network(model, svd, every, AS_THEY_COME)
    expected = model(X)
    torch.testing.assert_close(
        paired(X), expected, rtol=0, atol=tolerance * float(expected.abs().max())
    )
    assert len(paired.get_submodule(next(iter(svd)))) == 2
    assert not isinstance(model.get_submodule(next(iter(svd))), nn.Sequential)
    assert unfaithful(model, svd, X, AS_THEY_COME) == {}


class ReadsItsLayer(odd_networks.Plain):
    """Asks a layer how wide it is."""

    def forward(self, images):
        """Logits."""
        return self.fc(self.maps(images).reshape(-1, self.fc.in_features))


class UsesItsWeight(odd_networks.Plain):
    """Scales its scores by the size of a weight."""

    def forward(self, images):
        """Logits."""
        last = self.conv2[1] if isinstance(self.conv2, nn.Sequential) else self.conv2
        return super().forward(images) * last.weight.abs().sum()


def test_layers_that_a_network_looks_into_are_found_out():
    X = inputs(3, 2, 6, 6)
    for build, name, why in (
        (ReadsItsLayer, "fc", "the network fails with two layers in its place: AttributeError"),
        (UsesItsWeight, "conv2", "two layers change scores by"),
    ):
        model = seeded(build)
        reasons = unfaithful(model, decomposed(model, X), X, AS_THEY_COME)
        assert list(reasons) == [name]
        assert reasons[name].startswith(why)


def test_both_networks_are_timed_in_turns():
    calls = []

    class Counting(odd_networks.Plain):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, images):
            calls.append(self.name)
            return super().forward(images)

    ratio = forward_time_ratio(
        Counting("a"), Counting("b"), torch.rand(2, 2, 6, 6), AS_THEY_COME, seconds=0
    )
    turns = [["a", "b"], ["b", "a"]]
    assert calls == ["a", "b", *(name for t in range(LEAST_TURNS) for name in turns[t % 2])]
    assert ratio > 0
