import odd_networks
import pytest
import torch
from removals import inputs, layer_named, nothing_left, scores_without, seeded
from torch import nn
from toy_networks import Colours, InPlaceNetwork, MixedNetwork, TwiceNetwork

from ddp_tasks.networks.batch_norm_folding import fold_batch_norms
from ddp_tasks.networks.calling_convention import CallingConvention
from ddp_tasks.networks.tracing import trace_layers


class Headed(nn.Module):
    """One layer, an in-place ReLU, and a head that weighs channels and positions differently."""

    def __init__(self, layer, outputs, *, tokens=False):
        super().__init__()
        self.layer, self.tokens = layer, tokens
        self.head = nn.Linear(outputs, 3)

    def forward(self, images):
        x = images.flatten(2).transpose(1, 2) if self.tokens else images
        return self.head(self.layer(x).relu_().flatten(1))


CASES = {
    "Conv1d": (lambda: Headed(nn.Conv1d(4, 6, 3, padding=1), 6 * 7), (4, 7)),
    "Conv2d": (lambda: Headed(nn.Conv2d(3, 5, 3, stride=2, bias=False), 5 * 2 * 3), (3, 5, 7)),
    "Conv2d, dilated": (lambda: Headed(nn.Conv2d(3, 4, 2, dilation=2), 4 * 3 * 3), (3, 5, 5)),
    "Conv2d, grouped": (lambda: Headed(nn.Conv2d(4, 6, 2, groups=2), 6 * 3 * 3), (4, 4, 4)),
    "Conv2d, by channel": (lambda: Headed(nn.Conv2d(4, 8, 2, groups=4), 8 * 3 * 3), (4, 4, 4)),
    "Conv3d": (lambda: Headed(nn.Conv3d(2, 4, 2), 4 * 2 * 3 * 2), (2, 3, 4, 3)),
    "Linear": (lambda: Headed(nn.Linear(5, 4), 2 * 4), (2, 5)),
    "Linear, tokens": (lambda: Headed(nn.Linear(3, 4), 12 * 4, tokens=True), (3, 4, 3)),
    "ConvTranspose1d": (
        lambda: Headed(nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), 6 * 9),
        (4, 4),
    ),
    "ConvTranspose2d": (lambda: Headed(nn.ConvTranspose2d(3, 5, 2), 5 * 4 * 4), (3, 3, 3)),
    "ConvTranspose3d": (
        lambda: Headed(nn.ConvTranspose3d(2, 4, 2, bias=False), 4 * 3 * 3 * 3),
        (2, 2, 2, 2),
    ),
}


def blocks(module):
    """Views of a module's weight, one for each group, with its output channels first."""
    transposed = type(module).__name__.startswith("ConvTranspose")
    groups = getattr(module, "groups", 1)
    for part in module.weight.data.chunk(groups):
        yield part.transpose(0, 1) if transposed else part


def remove_by_hand(module, block, index):
    """Take s u vᵀ off one block of a module's weight; u among all output channels."""
    part = list(blocks(module))[block]
    U, S, Vh = torch.linalg.svd(part.flatten(1), full_matrices=False)
    part -= (S[index] * torch.outer(U[:, index], Vh[index])).reshape(part.shape)
    width = len(part)
    u = torch.zeros(sum(len(b) for b in blocks(module)), 1, dtype=torch.float64)
    u[block * width : (block + 1) * width, 0] = U[:, index]
    return u


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("together", [True, False])
def test_removals_are_those_of_rebuilt_weights(case, together):
    build, shape = CASES[case]
    X = inputs(5, *shape)
    model = seeded(build)
    layer = layer_named(model, X[:2], "layer")
    expected, directions = [], []
    last = layer.groups - 1
    for taken in ([(0, 0)], [(last, 1)], [(0, 0), (last, 1)]):
        rebuilt = seeded(build)
        columns = [remove_by_hand(rebuilt.layer, *pair) for pair in taken]
        directions.append(torch.cat(columns, dim=1))
        expected.append(rebuilt(X))
    found = scores_without(model, layer, X, directions, together=together)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    # Each of them changes the scores.
    assert ((found - model(X)).abs().amax(dim=(1, 2)) > 1e-3).all()


def test_only_one_use_of_a_shared_weight_is_cut():
    model, X = seeded(TwiceNetwork), inputs(4, 1, 2, 2)
    U = torch.linalg.svd(model.shared.weight)[0][:, :1]
    P = torch.eye(4, dtype=torch.float64) - U @ U.T
    b = model.shared.bias
    first = X.flatten(1) @ model.shared.weight.T
    for name, cuts in (("shared", (P, None)), ("shared@2", (None, P))):
        x = first
        for number, cut in enumerate(cuts):
            x = x if number == 0 else torch.relu(x) @ model.shared.weight.T
            x = (x if cut is None else x @ cut) + b
        expected = model.head(torch.relu(x))
        layer = layer_named(model, X, name)
        for together in (True, False):
            (found,) = scores_without(model, layer, X, [U], together=together)
            torch.testing.assert_close(found, expected)


def test_projections_of_attention_are_cut_as_their_weights_are():
    X = inputs(3, 2, 3, 3)
    model = seeded(MixedNetwork)
    whole = model.attention.in_proj_weight
    for number, letter in enumerate("qkv"):
        rows = slice(4 * number, 4 * number + 4)
        u = torch.linalg.svd(whole[rows])[0][:, 1:2]
        rebuilt = seeded(MixedNetwork)
        rebuilt.attention.in_proj_weight[rows] -= u @ (u.T @ whole[rows])
        layer = layer_named(model, X, f"attention.{letter}")
        for together in (True, False):
            (found,) = scores_without(model, layer, X, [u], together=together)
            torch.testing.assert_close(found, rebuilt(X))


@pytest.mark.parametrize(
    ("network", "shape", "convention"),
    [
        (InPlaceNetwork, (5, 2, 6, 6), {}),
        (Colours, (4, 3, 8, 8), {}),
        (MixedNetwork, (3, 2, 3, 3), {}),
        (odd_networks.Volumes, (2, 1, 5, 6, 7), {}),
        (odd_networks.Series, (3, 3, 20), {}),
        (odd_networks.Paired, (1, 2, 6, 6), {"fewest": 2}),
        (odd_networks.Normalising, (3, 2, 6, 6), {"copies": True}),
        (odd_networks.Yielding, (3, 2, 6, 6), {}),
    ],
)
def test_removals_together_are_those_one_by_one(network, shape, convention):
    model, X = seeded(network), inputs(*shape)
    taken = CallingConvention(**convention)
    example = X.expand(2, *shape[1:]).clone() if shape[0] == 1 else X[:2].clone()
    for layer in trace_layers(model, example).linear:
        d = layer.shape[0]
        sizes = (1, min(2, d), d, 1)
        bases = [torch.linalg.qr(inputs(d, k, seed=n))[0] for n, k in enumerate(sizes)]
        found = [
            scores_without(model, layer, X.clone(), bases, together=together, convention=taken)
            for together in (True, False)
        ]
        assert found[0].shape[:2] == (4, len(X))
        torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_images_that_pass_alone_may_take_different_paths():
    model = odd_networks.EarlyExit().double().eval()
    X = torch.stack([torch.zeros(2, 6, 6), torch.ones(2, 6, 6)]).double()
    layer = next(x for x in trace_layers(model, X[:1]).linear if x.name == "conv2")
    everything = torch.eye(layer.shape[0], dtype=torch.float64)
    alone = CallingConvention(alone=True)
    (found,) = scores_without(model, layer, X, [everything], together=False, convention=alone)
    with torch.no_grad():
        whole = [model(x[None])[0] for x in X]
    assert not torch.allclose(found[0], whole[0])
    # The second image leaves before the layer, so nothing is taken from it.
    torch.testing.assert_close(found[1], whole[1])


def test_directions_of_a_layer_with_its_batch_norm_are_removed_behind_it():
    model, X = seeded(Colours), inputs(4, 3, 8, 8)
    model.norm.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        model.norm.weight[1] = 0
    layers = trace_layers(model, X).linear
    folded = fold_batch_norms(model, layers, X).layers["conv1"]
    U = torch.linalg.svd(folded.weight.flatten(1), full_matrices=False)[0][:, :2]
    rebuilt = seeded(Colours)
    rebuilt.load_state_dict(model.state_dict())

    def behind(module, args, output):
        centred = output - folded.bias[:, None, None]
        return output - torch.einsum("dm,em,nehw->ndhw", U, U, centred)

    rebuilt.norm.register_forward_hook(behind)
    (found,) = scores_without(model, layers[0], X, [U], together=True, scale=folded.scale)
    torch.testing.assert_close(found, rebuilt(X))


def test_hooks_are_gone_after_a_failure():
    model, X = seeded(InPlaceNetwork), inputs(2, 2, 6, 6)
    layer = layer_named(model, X, "conv1")
    wrong = [torch.eye(7, 1, dtype=torch.float64)]
    with pytest.raises(RuntimeError):
        scores_without(model, layer, X, wrong, together=True)
    assert nothing_left(model)
