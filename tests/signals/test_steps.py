import pytest
import torch
from hypothesis import assume, given
from strategies import convolutions, fully_connected
from torch import nn
from toy_networks import InPlaceNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.layer_steps import capture, layer_steps, project_circle
from ddp_tasks.signals.signals import signal_vector
from ddp_tasks.weights.tensor_svd import decompose
from ddp_tasks.weights.unfolding import linear_part, unfold_weight

# torch tells that it copies its input there; what it computes is what is asked for.
even_same = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


def _steps(module, X):
    svd = decompose(unfold_weight(module.weight), getattr(module, "groups", 1))
    return svd, layer_steps(module, X, svd)


def _holds(module, X):
    assume(bool(module.weight.any()))
    svd, steps = _steps(module, X)
    output = module(X).detach()
    Y = linear_part(module, output)[0]
    # Float64 with entries up to a few hundred: 1e-9 leaves room for sums of a few dozen terms.
    close = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(steps.Y.flatten(1), Y, **close)
    torch.testing.assert_close(steps.signal.flatten(1), svd.U.T @ steps.Y.flatten(1), **close)
    torch.testing.assert_close(
        steps.signal.mean(dim=(1, 2)), signal_vector(steps.Psi.flatten(1), svd.S, svd.V), **close
    )
    with_bias = Y if module.bias is None else Y + module.bias.detach()[:, None]
    torch.testing.assert_close(steps.activation.flatten(1), torch.relu(with_bias), **close)
    torch.testing.assert_close(
        steps.activation_projection.flatten(1), svd.U.T @ torch.relu(with_bias), **close
    )
    return steps


@even_same
@given(convolutions(axes=(2,)))
def test_steps_of_a_convolution_end_in_its_output(example):
    module, X = example
    steps = _holds(module, X[:1])
    assert steps.Y.shape == module(X[:1])[0].shape
    assert torch.equal(steps.X, X[0])


@given(fully_connected())
def test_steps_of_a_fully_connected_layer_end_in_its_output(example):
    module, X = example
    steps = _holds(module, X[:1])
    assert steps.X.flatten(1).T.tolist() == X[0].reshape(-1, module.in_features).tolist()


@pytest.mark.parametrize(
    ("positions", "sides"), [((), (1, 1)), ((4,), (1, 4)), ((2, 3), (2, 3)), ((2, 3, 4), (1, 24))]
)
def test_maps_of_a_fully_connected_layer_have_the_sides_of_its_positions(positions, sides):
    X = torch.arange(float(torch.tensor((*positions, 2)).prod())).reshape(1, *positions, 2)
    _, steps = _steps(nn.Linear(2, 3).double(), X.double())
    assert steps.X.shape == (2, *sides)
    assert steps.Y.shape == (3, *sides)
    # The second channel of the first position is the second number.
    assert steps.X[1, 0, 0] == 1


def test_steps_by_hand():
    # One channel of 2x2 windows, W̄ = (3, 0, 0, 4): s0 = 5, v0 = (3, 0, 0, 4) / 5, u0 = (1).
    module = nn.Conv2d(1, 1, 2, dtype=torch.float64).requires_grad_(False)
    module.weight.copy_(torch.tensor([3.0, 0, 0, 4]).reshape(1, 1, 2, 2))
    module.bias.fill_(-10)
    X = torch.tensor([[0.0, 5, 0], [5, 0, 5]], dtype=torch.float64).reshape(1, 1, 2, 3)
    _, steps = _steps(module, X)
    # The windows are (0, 5, 5, 0) and (5, 0, 0, 5).
    assert steps.Psi[:, 0].tolist() == [[0, 5], [5, 0], [5, 0], [0, 5]]
    torch.testing.assert_close(steps.projection[0, 0], torch.tensor([0.0, 7]).double())
    torch.testing.assert_close(steps.signal[0, 0], torch.tensor([0.0, 35]).double())
    torch.testing.assert_close(steps.activation[0, 0], torch.tensor([0.0, 25]).double())
    assert steps.B is not None
    assert steps.B.tolist() == [[[-10]]]


def test_a_layer_without_bias_has_no_b():
    _, steps = _steps(nn.Linear(3, 2, bias=False).double(), torch.ones(1, 3).double())
    assert steps.B is None
    assert torch.equal(steps.activation, torch.relu(steps.Y))


def test_a_decomposition_of_another_layer_is_refused():
    svd = decompose(unfold_weight(torch.ones(2, 4)))
    with pytest.raises(ValueError, match="receptive fields of 3 entries"):
        layer_steps(nn.Linear(3, 2), torch.ones(1, 3), svd)
    with pytest.raises(ValueError, match="holds 2 images"):
        layer_steps(nn.Conv2d(1, 2, 2), torch.ones(2, 1, 2, 2), svd)


def test_the_real_input_is_kept_before_an_in_place_activation_overwrites_it():
    torch.manual_seed(0)
    model, image = InPlaceNetwork().double().eval(), torch.randn(1, 2, 6, 6).double()
    for layer in trace_layers(model, image).linear:
        captured = capture(model, layer, image)
        module = model.get_submodule(layer.module)
        _, steps = _steps(module, captured.X)
        expected = linear_part(module, captured.output)[0]
        torch.testing.assert_close(steps.Y.flatten(1), expected.detach(), rtol=0, atol=1e-12)
        assert bool((expected < 0).any()), "not the rectified tensor"


def test_each_call_of_a_module_has_an_input_of_its_own():
    model, image = TwiceNetwork().eval(), torch.rand(1, 1, 2, 2)
    layers = {layer.name: layer for layer in trace_layers(model, image).linear}
    first = capture(model, layers["shared"], image)
    second = capture(model, layers["shared@2"], image)
    assert torch.equal(first.X, image.flatten(1))
    assert torch.equal(second.X, torch.relu(first.output))


def test_hooks_are_gone_after_a_failure_too():
    model = PickyNetwork().eval()
    hidden, head = trace_layers(model, torch.ones(2, 1, 2, 2)).linear
    with pytest.raises(ArithmeticError):
        capture(model, head, -torch.ones(1, 1, 2, 2))
    with pytest.raises(ValueError, match="does not reach layer hidden"):
        capture(model, hidden, torch.ones(1, 1, 2, 2))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_circle_is_stretched_by_the_singular_values():
    torch.manual_seed(1)
    W = torch.randn(6, 9, dtype=torch.float64)
    svd = decompose(W)
    seen = project_circle(svd, (1, 3))
    image = W @ (svd.V[:, [1, 3]] @ seen.circle)
    torch.testing.assert_close(svd.U[:, [1, 3]].T @ image, seen.on_singular_vectors)
    torch.testing.assert_close(image[list(seen.channels)], seen.on_channels)
    assert seen.circle[:, 0].tolist() == [1, 0]
    assert seen.on_singular_vectors.abs().amax(dim=1).tolist() == pytest.approx(seen.stretch)
    # Semi-axes by search over the angle; 361 points come within (1 degree)²/8 of them.
    lengths = seen.on_channels.norm(dim=0)
    found = (float(lengths.max()), float(lengths.min()))
    assert found == pytest.approx(seen.channel_stretch, abs=1e-3)
    share = svd.U[:, [1, 3]].square().sum(dim=1)
    assert set(seen.channels) == set(share.topk(2).indices.tolist())
    assert all(a <= b for a, b in zip(seen.channel_stretch, seen.stretch, strict=True))


def test_channels_that_are_singular_vectors_lose_nothing():
    svd = decompose(torch.tensor([[0.0, 3], [0, 0], [2, 0]]))
    seen = project_circle(svd)
    assert seen.channels == (0, 2)
    assert seen.share == pytest.approx((1, 1))
    assert seen.channel_stretch == pytest.approx((3, 2))
    torch.testing.assert_close(seen.on_channels, seen.on_singular_vectors)


@pytest.mark.parametrize("vectors", [(0, 0), (0, 2), (-1, 0)])
def test_what_spans_no_plane_is_refused(vectors):
    with pytest.raises(ValueError, match="two different ones from 0 to 1 are needed"):
        project_circle(decompose(torch.eye(2)), vectors)


def test_one_channel_is_too_few_to_project_on():
    svd = decompose(torch.eye(2))
    single = type(svd)(svd.U[:1], svd.S, svd.V, svd.block)
    with pytest.raises(ValueError, match="single channel"):
        project_circle(single)
