"""Pairs of layers in a layer's place: exact with all vectors, and the truncated sum otherwise."""

import numpy as np
import odd_networks
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from removals import inputs, seeded
from strategies import convolutions, fully_connected, transposed_convolutions
from torch import nn
from toy_networks import MixedNetwork

from ddp_tasks.networks.factorised_layers import (
    empty_pair,
    factorisable,
    factorised,
    pruned,
    replace_modules,
)
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import transposed_filters, unfold_weight
from schemas import RunError

pytestmark = pytest.mark.filterwarnings(
    # torch tells that it copies its input there; what it computes is what is asked for.
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)

LAYERS = st.one_of(convolutions(), transposed_convolutions(), fully_connected())


def unfolded(module):
    groups = getattr(module, "groups", 1)
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    W = transposed_filters(module.weight, groups) if transposed else module.weight
    return unfold_weight(W), groups


def filters_back(module, W):
    """The weight of the module's form with the unfolded weight W, by another way."""
    if not isinstance(module, nn.modules.conv._ConvTransposeNd):
        return W.reshape(module.weight.shape)
    groups, (c, d, *kernel) = module.groups, module.weight.shape
    weight = torch.empty(module.weight.shape, dtype=W.dtype)
    blocks = W.reshape(groups, d, c // groups, *kernel)
    for g in range(groups):
        for h in range(d):
            for r in range(c // groups):
                turned = blocks[g, h, r].flip(tuple(range(len(kernel))))
                weight[g * (c // groups) + r, h] = turned
    return weight


@given(LAYERS)
def test_a_pair_with_all_vectors_is_the_layer(example):
    module, X = example
    assume(bool(module.weight.any()))
    svd = decompose(*unfolded(module))
    pair = factorised(module, svd, torch.arange(svd.rank))
    expected = module(X)
    # Rounding of sums of some tens of products of whole numbers up to 4.
    np.testing.assert_allclose(pair(X), expected, atol=1e-10)
    assert pair(X).dtype == expected.dtype


@given(LAYERS, st.data())
def test_a_pair_with_some_vectors_applies_their_sum(example, data):
    module, X = example
    assume(bool(module.weight.any()))
    W, groups = unfolded(module)
    svd = decompose(W, groups)
    chosen = data.draw(st.lists(st.integers(0, svd.rank - 1), min_size=1, unique=True))
    pair = factorised(module, svd, torch.tensor(chosen))
    # The sum block by block, from the whole block-diagonal U and V.
    whole = sum(svd.S[i] * torch.outer(svd.U[:, i], svd.V[:, i]) for i in chosen)
    d, columns = len(W) // groups, W.shape[1]
    W_kept = torch.cat(
        [whole[g * d : (g + 1) * d, g * columns : (g + 1) * columns] for g in range(groups)]
    )
    module.weight.copy_(filters_back(module, W_kept))
    np.testing.assert_allclose(pair(X), module(X), atol=1e-10)
    each = int(torch.bincount(svd.block[torch.tensor(chosen)], minlength=groups).max())
    assert len(pair.US.weight) == len(W)
    assert pair.US.weight.shape[1] == each


@given(LAYERS, st.integers(1, 3))
def test_an_empty_pair_has_the_shapes_that_a_filled_one_has(example, each):
    module, X = example
    W, groups = unfolded(module)
    pair = empty_pair(module, each * groups)
    assert pair(X).shape == module(X).shape
    vectors = each * (len(W) + groups * W.shape[1])
    bias = 0 if module.bias is None else len(module.bias)
    assert sum(p.numel() for p in pair.parameters()) == vectors + bias
    assert not any(p.requires_grad for p in pair.parameters())
    with pytest.raises(ValueError, match="a positive multiple of"):
        empty_pair(module, 0)


def test_by_hand():
    # One filter (3, 4) over two channels, bias 1: s = 5, v = (0.6, 0.8), u = 1.
    module = nn.Conv2d(2, 1, 1).requires_grad_(False)
    module.weight.copy_(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1))
    module.bias.fill_(1)
    svd = decompose(unfold_weight(module.weight))
    pair = factorised(module, svd, torch.tensor([0]))
    assert pair.V.weight.flatten().tolist() == pytest.approx([0.6, 0.8])
    assert pair.US.weight.flatten().tolist() == pytest.approx([5])
    assert pair.US.bias.tolist() == [1]
    with pytest.raises(ValueError, match="made without it"):
        factorised(
            module,
            decompose(unfold_weight(module.weight), right_singular_vectors=False),
            torch.tensor([0]),
        )


def found(model, shape):
    model = model.eval().requires_grad_(False)
    dtype = next(model.parameters()).dtype
    images = inputs(2, *shape).to(dtype)
    return factorisable(model, trace_layers(model, images).linear)


def test_sizes_of_what_a_pair_may_replace():
    modules, reasons = found(odd_networks.Plain(), (2, 6, 6))
    assert [(m.module, m.rows, m.columns) for m in modules] == [
        ("conv1", 4, 18),
        ("conv2", 5, 36),
        ("fc", 3, 80),
    ]
    assert reasons == {}
    # k (4 + 18) < 72 holds up to 3, k (5 + 36) < 180 up to 4, k (3 + 80) < 240 up to 2.
    assert [m.most for m in modules] == [3, 4, 2]


class Tied(odd_networks.Plain):
    """Two layers of one weight, and one with a weight norm."""

    def __init__(self):
        super().__init__()
        self.again, self.head = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.head.weight = self.again.weight
        self.narrow = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))

    def forward(self, images):
        """Logits."""
        return self.narrow(self.head(self.again(super().forward(images))))


def test_layers_that_a_pair_would_change_stay_whole_and_say_why():
    modules, reasons = found(Tied(), (2, 6, 6))
    assert [m.module for m in modules] == ["conv1", "conv2", "fc"]
    assert reasons["again"] == "its weight is shared with head"
    assert reasons["head"] == "its weight is shared with again"
    assert "not used by a plain call" in reasons["narrow"]
    modules, reasons = found(MixedNetwork(), (2, 4, 4))
    assert [m.module for m in modules] == ["up", "fc"]
    assert "as inside attention" in reasons["attention.q"]
    assert "as inside attention" in reasons["attention.out_proj"]
    _, reasons = found(odd_networks.Plain(classes=1), (2, 6, 6))
    assert reasons == {"fc": "two layers with one singular vector have no fewer parameters"}
    hooked = odd_networks.Plain()
    hooked.fc.register_forward_hook(lambda module, args, output: 2 * output)
    assert "hooks of its own" in found(hooked, (2, 6, 6))[1]["fc"]


class Twice(nn.Module):
    """One wide module under two names, called twice."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(16, 16)])
        self.same = self.inner[0]
        self.head = nn.Linear(16, 2)

    def forward(self, images):
        """Logits."""
        return self.head(self.same(torch.relu(self.inner[0](images))))


def test_a_module_called_twice_is_replaced_under_all_its_names():
    model = seeded(Twice)
    (wide, _), reasons = found(model, (16,))
    assert wide.layers == ("inner.0", "inner.0@2")
    assert reasons == {}
    X = inputs(3, 16)
    expected = model(X)
    svd = decompose(unfold_weight(model.same.weight))
    replace_modules(model, {wide.module: factorised(model.same, svd, torch.arange(16))})
    assert model.same is model.inner[0]
    torch.testing.assert_close(model(X), expected)


def test_a_factory_makes_the_network_that_weights_of_a_pruned_one_fit():
    factory = f"{odd_networks.__name__}:Plain"
    model = pruned(factory, {"conv2": 2, "fc": 1}, {"classes": 4})
    assert model.conv2.V.weight.shape == (2, 4, 3, 3)
    assert model.fc.US.weight.shape == (4, 1)
    assert model.conv1.weight.shape == (4, 2, 3, 3)
    assert not model.conv2.US.weight.any()
    with pytest.raises(RunError, match=r"no linear module 'conv3' \(did you mean 'conv"):
        pruned(factory, {"conv3": 1})
    with pytest.raises(RunError, match=r"vectors\.fc: 0 singular vectors; a positive multiple"):
        pruned(factory, {"fc": 0})
    with pytest.raises(RunError, match=r"not a torch\.nn\.Module"):
        pruned("toy_networks:not_a_network", {})
