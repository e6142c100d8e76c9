import jaxtyping
import numpy as np
import pytest
import reference
import torch
from hypothesis import assume, given
from strategies import convolutions
from torch import nn

from ddp_tasks.weights.svd_convolutions import svd_convolutions
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import unfold_weight

pytestmark = pytest.mark.filterwarnings(
    # torch tells that it copies its input there; what it computes is what is asked for.
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


@given(convolutions())
def test_three_convolutions_reproduce_the_layer(example):
    module, X = example
    assume(bool(module.weight.any()))
    factors = svd_convolutions(module)
    expected = module(X)
    # Rounding of sums of some tens of products of whole numbers up to 4.
    np.testing.assert_allclose(factors(X), expected, atol=1e-11)
    assert factors(X).dtype == expected.dtype


@given(convolutions())
def test_channels_belong_to_singular_vectors(example):
    # The reference's receptive fields of all channels, against V of all groups.
    module, X = example
    assume(bool(module.weight.any()))
    svd = decompose(unfold_weight(module.weight), module.groups)
    factors = svd_convolutions(module, svd)
    Psi = reference.receptive_fields(
        X[0].numpy(),
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        mode=module.padding_mode,
    )
    projections = factors.V(X[:1])
    np.testing.assert_allclose(projections.flatten(2)[0], svd.V.mT.numpy() @ Psi, atol=1e-11)
    signals = factors.S(projections).flatten(2)[0]
    np.testing.assert_allclose(signals, (svd.V * svd.S).mT.numpy() @ Psi, atol=1e-10)


def test_by_hand():
    # One filter (3, 4) over two channels, bias 1: s = 5, v = (0.6, 0.8), u = 1.
    module = nn.Conv2d(2, 1, 1).requires_grad_(False)
    module.weight.copy_(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1))
    module.bias.fill_(1)
    factors = svd_convolutions(module)
    assert factors.V.weight.flatten().tolist() == pytest.approx([0.6, 0.8])
    assert factors.S.weight.flatten().tolist() == pytest.approx([5])
    assert factors.U.weight.flatten().tolist() == [1]
    assert factors.U.bias.tolist() == [1]
    X = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
    assert factors(X).item() == pytest.approx(3 + 8 + 1)


def test_only_nonzero_singular_values_have_channels():
    module = nn.Conv2d(1, 3, 2, bias=False).requires_grad_(False)
    module.weight.copy_(torch.tensor([1.0, -1, 2]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2))
    factors = svd_convolutions(module)
    assert [layer.out_channels for layer in factors] == [1, 1, 3]
    X = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(factors(X), module(X))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
        (nn.Conv3d(2, 5, 2, padding="same", padding_mode="circular"), (1, 2, 3, 4, 3)),
        (nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect"), (1, 8, 5, 5)),
    ],
)
def test_other_convolutions(module, shape):
    module = module.double().eval()
    X = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factors = svd_convolutions(module)
    np.testing.assert_allclose(factors(X), module(X).detach(), atol=1e-13)
    assert not any(p.requires_grad for p in factors.parameters())
    assert not factors.training


def test_a_decomposition_by_the_gram_route_serves_as_well():
    module = nn.Conv2d(3, 8, 3).double()
    svd = decompose(unfold_weight(module.weight), route="gram")
    assert svd.route == "gram"
    X = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    np.testing.assert_allclose(svd_convolutions(module, svd)(X), module(X).detach(), atol=1e-12)


def test_building_draws_no_random_numbers():
    module = nn.Conv2d(2, 3, 3)
    before = torch.get_rng_state()
    svd_convolutions(module)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_of_another_kind_is_refused(monkeypatch):
    # As for a caller whose types nobody checks.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match="Linear is not a Conv1d"):
        svd_convolutions(nn.Linear(2, 3))


def test_refusals():
    module = nn.Conv2d(2, 3, 3)
    W = unfold_weight(module.weight)
    with pytest.raises(ValueError, match="made without it"):
        svd_convolutions(module, decompose(W, right_singular_vectors=False))
    with pytest.raises(ValueError, match="do not belong to a weight"):
        svd_convolutions(module, decompose(W[:, :9]))
    with pytest.raises(ValueError, match="zero throughout"):
        svd_convolutions(nn.Conv2d(1, 1, 1).requires_grad_(False).apply(_zero))


def _zero(module):
    module.weight.zero_()
