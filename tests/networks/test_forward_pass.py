import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import SEEDS
from torch import Tensor, nn
from toy_networks import InPlaceNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.forward_pass import folded_copy, forward_pass, products
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.paper_networks import CifarResNet
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.extraction_error import error_dataset, sampled
from ddp_tasks.signals.signals import ShardSignals, extract
from ddp_tasks.weights.tensor_svd import decompose
from schemas.parameters import ExtractionParameters, RunError

CPU = torch.device("cpu")


class NormedNetwork(nn.Module):
    """Layers with a BatchNorm that may be folded, and with ones that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 4, 2, groups=2)
        self.norm2 = nn.BatchNorm2d(4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.norm3 = nn.BatchNorm2d(4)
        self.norm4 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)
        self.norm5 = nn.BatchNorm1d(3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, m, m)."""
        x = torch.relu_(self.norm1(self.conv1(images)))
        x = torch.relu_(self.norm2(self.up(x)))
        x = torch.relu_(self.norm3(self.shared(x)))
        x = self.norm4(self.shared(x))
        return self.norm5(self.fc(x.mean(dim=(2, 3))))


def _normed(seed, network=NormedNetwork):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network().eval().requires_grad_(False)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
                module.weight.uniform_(0.3, 3)
                module.weight[0] *= -1
                module.bias.normal_()
    return model


def _images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _pass(model, images, **options):
    layers = trace_layers(model, images[:1]).linear
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in layers}
    return forward_pass(
        model, layers, U, images[:1], options=ExtractionParameters(**options), device=CPU
    )


def _assert_same_signals(found, expected, bound):
    for layer in range(expected.signal.shape[1]):
        # Outputs are about 1 before the bias is taken off, also where ReLU left no signal.
        largest = max(1, np.nanmax(np.abs(expected.signal[:, layer])))
        np.testing.assert_allclose(
            found.signal[:, layer], expected.signal[:, layer], rtol=0, atol=bound * largest
        )


@settings(max_examples=5)
@given(SEEDS)
def test_folded_batch_norms_leave_each_layers_own_signals(seed):
    model, images = _normed(seed), _images(5, 2, 6, 6, seed=seed)
    forward = _pass(model, images, fast=True)
    assert forward.folded == {"conv1": "norm1", "up": "norm2", "fc": "norm5"}
    expected = extract(_pass(model, images), [images])
    # Float32 sums in another order; dividing by the scale costs one digit here.
    _assert_same_signals(extract(forward, [images]), expected, 1e-5)


def test_folding_leaves_the_network_itself_as_it_is():
    model, images = _normed(0), _images(2, 2, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = model(images)
    copied, folded = folded_copy(model, trace_layers(model, images).linear, images)
    assert len(folded) == 3
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert isinstance(copied.norm1, nn.Identity)
    torch.testing.assert_close(copied(images), scores, rtol=1e-4, atol=1e-4)


def test_a_channel_that_is_scaled_away_keeps_its_layer_unfolded():
    model, images = _normed(1), _images(3, 2, 6, 6)
    model.norm1.weight[2] = 0
    forward = _pass(model, images, fast=True)
    assert set(forward.folded) == {"up", "fc"}
    expected = extract(_pass(model, images), [images])
    _assert_same_signals(extract(forward, [images]), expected, 1e-5)


def test_weights_that_two_modules_share_are_not_folded():
    model = _normed(2)
    twin = nn.Conv2d(4, 4, 1, bias=False)
    first = nn.Conv2d(4, 4, 1, bias=False)
    twin.weight = first.weight
    tied = nn.Sequential(model.conv1, model.norm1, first, model.norm3, twin, model.norm4)
    tied = nn.Sequential(tied, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)
    forward = _pass(tied, _images(2, 2, 5, 5), fast=True)
    assert forward.folded == {"0.0": "0.1"}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_comes_with_its_error(precision):
    model, images = _normed(3), _images(6, 2, 6, 6)
    plain = extract(_pass(model, images), [images])
    found = extract(_pass(model, images, precision=precision), [images])
    layers = trace_layers(model, images).linear
    error = error_dataset(plain, found, layers, {})["relative_error"]
    # bfloat16 has 8 bits of mantissa, float16 has 11: an eighth of the error. A mean that
    # cancels, as that of up does here, multiplies either.
    assert 0 < float(error.max()) < {"bfloat16": 0.16, "float16": 0.02}[precision]


# Dynamo and inductor warn of their own use of what torch deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_a_compiled_pass_gives_the_same_signals_for_batches_of_any_size():
    model, images = _normed(4), _images(7, 2, 6, 6)
    forward = _pass(model, images, fast=True, compile=True)
    expected = extract(_pass(model, images), [images])
    found = extract(forward, [images[:2], images[2:6], images[6:]])
    _assert_same_signals(found, expected, 1e-5)
    np.testing.assert_array_equal(found.predicted, expected.predicted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_whose_way_depends_on_the_images_is_not_compiled():
    forward = _pass(
        PickyNetwork().eval().requires_grad_(False), torch.ones(2, 1, 2, 2), compile=True
    )
    with pytest.raises(RunError, match=r"extraction\.compile: the network cannot be compiled"):
        extract(forward, [torch.ones(2, 1, 2, 2)])


def test_a_module_that_is_called_twice_keeps_its_signals_apart():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwiceNetwork().eval().requires_grad_(False)
    images = _images(4, 1, 2, 2)
    with _pass(model, images).reading() as read:
        means = read(images).means
    assert list(means) == ["shared", "shared@2", "head"]
    assert not torch.equal(means["shared"], means["shared@2"])


def test_a_resnet_folds_all_its_batch_norms():
    model = _normed(0, lambda: CifarResNet(8))
    images = _images(2, 3, 8, 8)
    assert len(_pass(model, images, fast=True).folded) == 7
    assert _pass(InPlaceNetwork().eval(), _images(1, 2, 6, 6), fast=True).folded == {}


def test_the_sample_is_spread_over_the_run():
    assert sampled(1) == [0]
    assert sampled(5) == [0, 1, 2, 3, 4]
    spread = sampled(1000)
    assert (len(spread), spread[0], spread[-1]) == (32, 0, 999)
    assert set(np.diff(spread)) <= {32, 33}


def test_error_by_hand():
    # Two images, one layer of rank 2. Signals (3, 4), (0, 0), errors (0.5, 0), (0, -0.5): root
    # mean squares sqrt(25 / 4) and sqrt(0.5 / 4), so the error is sqrt(0.02).
    plain = np.array([[[3, 4, np.nan]], [[0, 0, np.nan]]], dtype=np.float32)
    other = np.array([[[3.5, 4, np.nan]], [[0, -0.5, np.nan]]], dtype=np.float32)
    layers = trace_layers(nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), torch.ones(1, 1, 1, 1))
    confidence = np.ones(2, dtype=np.float32)
    error = error_dataset(
        ShardSignals(plain, np.array([0, 1]), confidence, np.array([2])),
        ShardSignals(other, np.array([0, 0]), confidence, np.array([2])),
        layers.linear,
        {"1": "norm"},
    )
    assert float(error["relative_error"][0]) == pytest.approx(0.02**0.5)
    assert float(error["largest_error"][0]) == 0.5
    assert error["folded"].item() == "norm"
    assert error.attrs == {"images": 2, "predictions_changed": 1}


def test_tensor_float_is_a_setting_that_is_put_back():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    for asked in (False, True):
        with products(tensor_float=asked):
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (asked, asked)
        assert (cudnn.allow_tf32, matmul.allow_tf32) == before


def test_tensor_float_changes_nothing_on_a_processor():
    model, images = _normed(0), _images(3, 2, 6, 6)
    forward = _pass(model, images, precision="tfloat32")
    assert forward.tensor_float
    found, expected = extract(forward, [images]), extract(_pass(model, images), [images])
    np.testing.assert_array_equal(found.signal, expected.signal)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
