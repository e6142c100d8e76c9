import numpy as np
import pytest
import torch
from torch import nn
from toy_networks import InPlaceNetwork, PickyNetwork, TwiceNetwork

from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.signals.spatial_statistics import Thresholds, spatial_statistics
from ddp_tasks.weights.tensor_svd import decompose


def _pass(network, images, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network().eval().requires_grad_(False)
    layers = trace_layers(model, images[:2]).linear
    U = {one.name: decompose(unfolded_weight(model, one), one.groups).U for one in layers}
    return ForwardPass(model, layers, U)


def _none(forward):
    return {layer.name: Thresholds(0.0, 0.0) for layer in forward.layers}


def test_by_hand():
    # W = (2), so u = 1 and the signal of a pixel x is 2x. Pixels -1, 0, 1, 3 give -2, 0, 2, 6:
    # greater than 1.5 are two of four; of the negatives 2, 0, -2, -6 greater than 1 is one.
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.weight, 2)
    nn.init.constant_(conv.bias, 100)
    model = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten()).eval().requires_grad_(False)
    images = torch.tensor([-1.0, 0, 1, 3]).reshape(1, 1, 2, 2)
    forward = ForwardPass(
        model, trace_layers(model, images).linear, {"0": torch.ones(1, 1, dtype=torch.float64)}
    )
    found = spatial_statistics(forward, {"0": Thresholds(1.5, 1.0)}, [images])
    assert found.maximum.tolist() == [[[6]]]
    assert found.minimum.tolist() == [[[-2]]]
    assert found.share_above.tolist() == [[[0.5]]]
    assert found.share_below.tolist() == [[[0.25]]]


def test_a_signal_equal_to_the_threshold_does_not_exceed_it():
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(conv.weight, 1)
    model = nn.Sequential(conv, nn.Flatten()).eval().requires_grad_(False)
    images = torch.tensor([1.0, -1.0, 2.0, -2.0]).reshape(1, 1, 2, 2)
    forward = ForwardPass(
        model, trace_layers(model, images).linear, {"0": torch.ones(1, 1, dtype=torch.float64)}
    )
    found = spatial_statistics(forward, {"0": Thresholds(1.0, 1.0)}, [images])
    assert (found.share_above.item(), found.share_below.item()) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("network", "shape"), [(InPlaceNetwork, (5, 2, 6, 6)), (TwiceNetwork, (5, 1, 2, 2))]
)
def test_the_mean_signal_lies_between_the_extremes_and_shares_count_positions(network, shape):
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    forward = _pass(network, images)
    mean = extract(forward, [images]).signal
    found = spatial_statistics(forward, _none(forward), [images[:2], images[2:]])
    padding = np.isnan(mean)
    for values in (found.maximum, found.minimum, found.share_above, found.share_below):
        np.testing.assert_array_equal(np.isnan(values), padding)
    inside = ~padding
    assert (found.minimum[inside] <= mean[inside] + 1e-5).all()
    assert (mean[inside] <= found.maximum[inside] + 1e-5).all()
    # A layer with one position has its one signal as mean and extremes.
    last = forward.layers.index(next(x for x in forward.layers if x.kind == "Linear"))
    np.testing.assert_allclose(found.maximum[:, last], mean[:, last], atol=1e-5)
    np.testing.assert_array_equal((found.maximum > 0)[inside], (found.share_above > 0)[inside])
    np.testing.assert_array_equal((found.minimum < 0)[inside], (found.share_below > 0)[inside])


def test_images_are_taken_in_parts_that_fit_into_memory(monkeypatch):
    images = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    forward = _pass(InPlaceNetwork, images)
    whole = spatial_statistics(forward, _none(forward), [images])
    monkeypatch.setattr("ddp_tasks.signals.spatial_statistics._MEMORY", 1)
    cut = spatial_statistics(forward, _none(forward), [images])
    np.testing.assert_allclose(cut.maximum, whole.maximum, rtol=1e-5, atol=1e-6)


def test_positions_of_a_sequence_are_positions():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.each = nn.Linear(2, 2, bias=False)

        def forward(self, images):
            # Positions first, images second, as in many transformers.
            return self.each(images.flatten(2).permute(2, 0, 1)).mean(dim=0)

    images = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(2))
    forward = _pass(Sequence, images)
    found = spatial_statistics(forward, _none(forward), [images])
    model = forward.model
    signals = model.each(images.flatten(2).transpose(1, 2)) @ forward.vectors["each"].float()
    np.testing.assert_allclose(found.maximum[:, 0], signals.amax(1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(found.share_above[:, 0], (signals > 0).float().mean(1).numpy())


def test_hooks_are_gone_after_a_failure():
    forward = _pass(PickyNetwork, torch.ones(2, 1, 2, 2))
    with pytest.raises(ArithmeticError):
        spatial_statistics(forward, _none(forward), [-torch.ones(2, 1, 2, 2)])
    hooks = [h for m in forward.model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert hooks == []
    with pytest.raises(ValueError, match="layer hidden is reached by 0 of the 1 images of a batch"):
        spatial_statistics(forward, _none(forward), [torch.ones(1, 1, 2, 2)])
