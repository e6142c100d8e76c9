"""How far to trust a picture, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from visualized import Normalised, natural_inputs, visualized

from ddp_tasks.networks.calling_convention import AS_THEY_COME
from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.visualization.feature_visualization import Optimised, Visualized
from ddp_tasks.visualization.natural_signals import NaturalSignals
from ddp_tasks.visualization.pixels import PixelSpace
from ddp_tasks.visualization.targets import Target
from ddp_tasks.visualization.trust import (
    NaturalPath,
    excess,
    measured,
    noise_pictures,
    path_signals,
    path_similarity,
)
from ddp_tasks.visualization.unseen_transformations import UNSEEN, unseen
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import TransformParameters


class Doubling(nn.Module):
    """Channels 0 and 1 times 3 and 2; a bias that signals leave out; then their means, halved."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[3.0, 0], [0, 2.0]])[..., None, None])
            self.conv.bias.copy_(torch.tensor([7.0, -5.0]))
            self.fc.weight.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.25]]))
        self.requires_grad_(False).eval()

    def forward(self, images):
        x = self.conv(images) - self.conv.bias[:, None, None]
        return self.fc(x.mean(dim=(2, 3)))


def _layers(model, inputs):
    layers = trace_layers(model, inputs).linear
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in layers}
    return layers, U


def _toy():
    inputs = natural_inputs(4, 2, 3, 3)
    model = Doubling()
    layers, U = _layers(model, inputs)
    space = PixelSpace.of(inputs, TransformParameters())
    of = Visualized(model, AS_THEY_COME, layers[0], U["conv"], torch.zeros(2).double(), space)
    return of, layers, U


#: No mean is taken off.
_ORIGIN = {"conv": np.zeros(2)}


def _flat(first, second):
    """A 3 by 3 picture of two channels, each of one level."""
    return np.full((3, 3, 2), [first, second], dtype=np.uint8)


def test_excess_by_hand():
    one = excess(np.array([5.0, -3.0, 1.0]), np.array([1.0, 1.0, 1.0]), np.array([3.0, -1.0, 1.0]))
    assert one[:2].tolist() == [2.0, 2.0]
    assert math.isnan(one[2])


def test_measures_by_hand():
    of, layers, _ = _toy()
    assert of.U.tolist() == [[1, 0], [0, 1]]
    # Pixels of 204 and 51 are 0.8 and 0.2: signals 2.4 and 0.4.
    pictures = [Optimised(_flat(204, 51)), Optimised(_flat(51, 51)), Optimised(_flat(204, 51))]
    targets = [Target((0,)), Target((1,), direction="negative"), Target((0, 1), (1.0, 2.0))]
    exemplars = np.array([[[3, 0], [0, 1]], [[1, 1], [1, 1]], [[1, 0], [np.nan, np.nan]]])
    path = NaturalPath(layers[:1], {"conv": of.U}, _ORIGIN, {"conv": exemplars.astype(np.float32)})
    found = measured(
        of,
        float64_network(of.model, of.convention),
        path,
        targets,
        pictures,
        natural_mean=np.array([1.5, 1.0, 2.0]),
        best_natural=np.array([2.1, 0.7, 3.0]),
        natural=NaturalSignals(
            mean=np.array([1.5, 1.0]),
            deviation=np.ones(2),
            greatest=np.array([2.1, 1.4]),
            least=np.array([0.9, 0.7]),
        ),
    )
    np.testing.assert_allclose(found.signal, [2.4, 0.4, 2.4 + 2 * 0.4])
    np.testing.assert_allclose(found.excess, [0.9 / 0.6, 0.6 / 0.3, 1.2 / 1.0])
    np.testing.assert_allclose(
        found.member_excess, [[1.5, np.nan], [np.nan, 2.0], [1.5, -0.6 / 0.4]]
    )
    # Of a flat picture, maps, blur and contrast change nothing; 5 % more brightness adds 0.15 and
    # 0.1 to the signals, and the fixed noise of 3 % its mean.
    flat = torch.full((1, 2, 3, 3), 0.5, dtype=torch.float64)
    noise = (unseen(flat)[7] - flat)[0].mean(dim=(1, 2)).numpy()
    added = np.array([[0.15 + 3 * noise[0]], [0.1 + 2 * noise[1]]]) / 8
    expected = [(0.9 + added[0, 0]) / 0.6, (-0.6 + added[1, 0]) / -0.3]
    np.testing.assert_allclose(found.excess_unseen[:2], expected, rtol=1e-5)
    # Cosines of (2.4, 0.4) with (3, 0) and (0, 1); of (0.6, 0.4) with (1, 1) twice.
    norm = math.hypot(2.4, 0.4)
    np.testing.assert_allclose(
        found.path_similarity,
        [(2.4 + 0.4) / norm / 2, 1.0 / math.hypot(0.6, 0.4) / math.sqrt(2), 2.4 / norm],
    )
    np.testing.assert_allclose(found.exemplar_similarity, [0, 1, np.nan], atol=1e-7)
    signals = path_signals(of, float64_network(of.model, of.convention), path, noise_pictures(of))
    sigma = signals["conv"]
    cosines = sigma / np.linalg.norm(sigma, axis=1, keepdims=True)
    np.testing.assert_allclose(found.noise_similarity[2], cosines[:, 0].mean())
    np.testing.assert_allclose(found.noise_similarity[0], cosines.mean())
    assert found.failed[2] == ""


def test_similarity_is_averaged_over_layers():
    _, layers, U = _toy()
    exemplars = {
        "conv": np.array([[[0.0, 1.0]]], dtype=np.float32),
        "fc": np.array([[[0.0, 2.0]]], dtype=np.float32),
    }
    path = NaturalPath(layers, U, {"conv": np.array([-1.0, 1.0]), "fc": np.zeros(2)}, exemplars)
    # Less the mean (-1, 1) the exemplar is (1, 0) and the picture (3, 4).
    pictures = {"conv": np.array([[[2.0, 5.0]]]), "fc": np.array([[[3.0, 4.0]]])}
    np.testing.assert_allclose(path_similarity(path, pictures), [(0.6 + 0.8) / 2])
    assert np.isnan(path_similarity(path, None)).all()
    # A picture without any signal in a layer says nothing there.
    pictures["fc"] = np.zeros((1, 1, 2))
    np.testing.assert_allclose(path_similarity(path, pictures), [0.6])


def test_signals_of_a_path_are_those_of_whole_passes_in_float64():
    model = Normalised()
    inputs = natural_inputs(20, 3, 9, 9)
    of = visualized(model, "fc", inputs)
    layers, U = _layers(model, inputs[:2])
    pictures = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3)).astype(np.uint8)
    path = NaturalPath(layers[:3], U, {}, {})
    exact, convention = float64_network(model, AS_THEY_COME)
    found = path_signals(of, (exact, convention), path, pictures)
    X = of.pixels.inputs_of(pictures)
    conv1 = exact.conv1(X)
    conv2 = exact.conv2(exact.norm(conv1).relu())
    fc = exact.fc(conv2.relu().flatten(1))
    for name, Y in {"conv1": conv1.mean((2, 3)), "conv2": conv2.mean((2, 3)), "fc": fc}.items():
        bias = getattr(exact, name).bias
        torch.testing.assert_close(torch.from_numpy(found[name]), (Y - bias) @ U[name])
    # The network itself stays in float32.
    assert model.conv1.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("levels", "changed", "own", "reason"),
    [
        ((204, 51), {}, [3, 0], ""),
        ((120, 51), {}, [3, 0], "its excess of -0.15 is not above 1"),
        ((204, 51), {"failed": "its objective became NaN at step 12"}, [3, 0], "became NaN at"),
        ((204, 51), {"best": 1.5}, [3, 0], "all natural images have the same"),
    ],
)
def test_why_a_picture_fails(levels, changed, own, reason):
    of, layers, _ = _toy()
    exemplars = np.array([[own, own]], dtype=np.float32)
    found = measured(
        of,
        float64_network(of.model, of.convention),
        NaturalPath(layers[:1], {"conv": of.U}, _ORIGIN, {"conv": exemplars}),
        [Target((0,))],
        [Optimised(_flat(*levels), changed.get("failed", ""))],
        natural_mean=np.array([1.5]),
        best_natural=np.array([changed.get("best", 2.1)]),
        natural=NaturalSignals(*(np.array([value, 1.0]) for value in (1.5, 1.0, 2.1, 0.9))),
    )
    assert reason in found.failed[0]
    assert bool(found.failed[0]) == bool(reason)


def test_a_picture_like_noise_fails():
    of, layers, _ = _toy()
    # Its signals stand as those of the exemplars, and then at right angles to them.
    for second, fails in ((0, False), (255, True)):
        exemplars = np.array([[[1, 0], [1, 0]]], dtype=np.float32)
        found = measured(
            of,
            float64_network(of.model, of.convention),
            NaturalPath(layers[:1], {"conv": of.U}, _ORIGIN, {"conv": exemplars}),
            [Target((0,))],
            [Optimised(_flat(255, second))],
            natural_mean=np.array([1.5]),
            best_natural=np.array([2.1]),
            natural=NaturalSignals(*(np.array([value, 1.0]) for value in (1.5, 1.0, 2.1, 0.9))),
        )
        assert found.exemplar_similarity.tolist() == pytest.approx([1.0])
        assert ("than noise is" in found.failed[0]) == fails, found


def test_a_picture_that_a_blur_ends_fails():
    class Squares(nn.Module):
        """Answers to a chessboard of single pixels, and to brightness."""

        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(144, 2, bias=False)
            y, x = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
            with torch.no_grad():
                self.fc.weight.copy_(
                    torch.stack([1.0 - 2 * ((y + x) % 2), 0.5 * torch.ones(12, 12)]).flatten(1)
                )
            self.requires_grad_(False).eval()

        def forward(self, images):
            return self.fc(images.flatten(1))

    inputs = natural_inputs(4, 1, 12, 12)
    model = Squares()
    layers, U = _layers(model, inputs)
    space = PixelSpace.of(inputs, TransformParameters())
    of = Visualized(model, AS_THEY_COME, layers[0], U["fc"], torch.zeros(2).double(), space)
    y, x = np.mgrid[:12, :12]
    picture = np.where((y + x) % 2, 64, 192).astype(np.uint8)[..., None]
    signal = 72 * 128 / 255
    found = measured(
        of,
        float64_network(model, AS_THEY_COME),
        NaturalPath(
            layers[:1], U, {"fc": np.zeros(2)}, {"fc": np.ones((1, 2, 2), dtype=np.float32)}
        ),
        [Target((0,))],
        [Optimised(picture)],
        natural_mean=np.array([0.6 * signal]),
        best_natural=np.array([0.8 * signal]),
        natural=NaturalSignals(*(np.array([value, 1.0]) for value in (0, 1, signal / 2, -1))),
    )
    assert found.excess.tolist() == pytest.approx([2])
    assert "is left under changes that it was not optimised for" in found.failed[0]


def test_the_unseen_changes():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 16, 20, generator=generator, dtype=torch.float64)
    changed = unseen(pixels)
    assert changed.shape == (UNSEEN, 2, 3, 16, 20)
    assert changed.min() >= 0
    assert changed.max() <= 1
    # The same for every picture, whatever stands beside it.
    torch.testing.assert_close(unseen(pixels[1:]), changed[:, 1:], rtol=0, atol=0)
    kept = [float((one - pixels).abs().mean()) for one in changed]
    assert min(kept) > 0.01
    torch.testing.assert_close(changed[5], (pixels + 0.05).clamp(max=1))
    # A blur keeps what is flat, and an impulse's sum.
    impulse = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    impulse[0, 0, 15, 15] = 1
    blurred = unseen(impulse)[4]
    assert float(blurred.sum()) == pytest.approx(1)
    y = torch.arange(31) - 15
    spread = float((blurred[0, 0] * (y[:, None] ** 2)).sum())
    assert spread == pytest.approx(0.5**2, rel=0.2)
