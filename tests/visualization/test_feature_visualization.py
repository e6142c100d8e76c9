"""Optimised pictures: gradients, independence of batches, failures."""

from functools import partial

import numpy as np
import pytest
import torch
from visualized import Normalised, natural_inputs, quick, visualized

from ddp_tasks.networks.float64_networks import float64_network
from ddp_tasks.visualization import objectives as of_objectives
from ddp_tasks.visualization.feature_visualization import (
    Settings,
    Visualized,
    batch_size,
    optimised,
)
from ddp_tasks.visualization.layer_outputs import LayerOutput, layer_outputs
from ddp_tasks.visualization.objectives import (
    kept_for,
    objectives,
    soft_maximum,
    target_directions,
)
from ddp_tasks.visualization.parametrizations import parametrized
from ddp_tasks.visualization.targets import Target
from ddp_tasks.visualization.transformations import Extents, affine, drawn, transformed


def _signals(of, pictures):
    """Mean signals of 8-bit pictures by a whole forward pass in the network's own type."""
    found = {}
    hook = of.model.get_submodule(of.layer.name).register_forward_hook(
        lambda module, args, output: found.update(output=output.clone())
    )
    with torch.no_grad():
        of.model(of.pixels.inputs_of(np.stack(pictures)).float())
    hook.remove()
    Y, bias = found["output"], of.model.get_submodule(of.layer.name).bias
    means = Y.flatten(2).mean(dim=2) if Y.ndim > 2 else Y
    return ((means - bias).double() @ of.U).numpy()


def _targets(rank):
    return [
        Target((0,)),
        Target((1,), (2.0,), "negative"),
        Target((0, 2), (1.0, 0.5)),
        Target((1,), objective="density"),
        Target((2,), parametrization="maco"),
    ]


@pytest.mark.parametrize("layer", ["conv2", "fc"])
def test_signals_rise_for_positive_targets_and_fall_for_negative_ones(layer):
    of = visualized(Normalised(), layer, natural_inputs(20, 3, 9, 9))
    vectors = range(of.U.shape[1])
    targets = [Target((i,), direction=way) for i in vectors for way in ("positive", "negative")]
    begun = optimised(of, targets, [0] * len(targets), quick(steps=1))
    made = optimised(of, targets, [0] * len(targets), quick(steps=60))
    before = _signals(of, [one.picture for one in begun])
    after = _signals(of, [one.picture for one in made])
    for row, target in enumerate(targets):
        (vector,) = target.singular_vectors
        assert target.sign * (after[row, vector] - before[row, vector]) > 0, target.key
        assert made[row].failed == ""
        assert made[row].picture.shape == (9, 9, 3)
        assert made[row].picture.dtype == np.uint8


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc"])
def test_batch_and_order_change_no_bit_in_float64(layer):
    of = visualized(Normalised(), layer, natural_inputs(20, 3, 9, 9))
    targets, seeds = _targets(of.U.shape[1]), [0, 1, 0, 3, 2]
    settings = quick("float64", steps=12)
    together = optimised(of, targets, seeds, settings)
    backwards = optimised(of, targets[::-1], seeds[::-1], settings)[::-1]
    alone = [
        optimised(of, [target], [seed], settings)[0]
        for target, seed in zip(targets, seeds, strict=True)
    ]
    for one, other, single in zip(together, backwards, alone, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.picture, single.picture)


@pytest.mark.parametrize("layer", ["conv2", "fc"])
def test_batch_and_order_change_little_in_float32(layer):
    of = visualized(Normalised(), layer, natural_inputs(20, 3, 9, 9))
    targets, seeds = _targets(of.U.shape[1]), [0, 1, 0, 3, 2]
    together = optimised(of, targets, seeds, quick(steps=12))
    backwards = optimised(of, targets[::-1], seeds[::-1], quick(steps=12))[::-1]
    exact = optimised(of, targets, seeds, quick("float64", steps=12))
    for one, other, reference in zip(together, backwards, exact, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 2
        assert np.abs(one.picture.astype(int) - reference.picture).max() <= 4


def test_seeds_and_vectors_give_different_pictures():
    of = visualized(Normalised(), "conv2", natural_inputs(20, 3, 9, 9))
    made = optimised(of, [Target((0,)), Target((0,)), Target((1,))], [0, 1, 0], quick())
    pictures = [one.picture.tobytes() for one in made]
    assert len(set(pictures)) == 3


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (2, 9), (3, 11), (4, 8)], ids=str)
def test_any_number_of_channels_and_any_size(channels, side):
    of = visualized(Normalised(channels, side), "conv2", natural_inputs(8, channels, side, side))
    targets = [Target((0,)), Target((0,), parametrization="maco")]
    for one in optimised(of, targets, [0, 0], quick(steps=2)):
        assert one.picture.shape == (side, side, channels)
        assert one.failed == ""


class Fragile(Normalised):
    """Its square root has no value where a picture is brighter than the natural ones."""

    def forward(self, images):
        return super().forward(
            images + 0 * torch.sqrt(self.most - images.mean(dim=(1, 2, 3), keepdim=True))
        )


def test_a_target_that_becomes_nan_is_named_and_the_others_go_on():
    inputs = natural_inputs(20, 3, 9, 9)
    model = Fragile()
    model.most = 2.0
    of = visualized(model, "conv2", inputs)
    targets = [Target((vector,)) for vector in range(of.U.shape[1])]
    settings = quick("float64", steps=30)
    whole = optimised(of, targets, [0] * len(targets), settings)
    # Where the brightest of the pictures ends, others have not come by then.
    bright = sorted(one.picture.mean() / 255 for one in whole)
    span, low = float(of.pixels.span.mean()), float(of.pixels.low.mean())
    model.most = low + span * (bright[-1] + bright[-2]) / 2
    for precision in ("float64", "float32"):
        made = optimised(of, targets, [0] * len(targets), quick(precision, steps=30))
        failed = [place for place, one in enumerate(made) if one.failed]
        assert 1 <= len(failed) < len(targets)
        for place, (one, other) in enumerate(zip(made, whole, strict=True)):
            if place in failed:
                assert "became NaN at step " in one.failed
                assert 1 <= int(one.failed.rsplit(" ", 1)[1]) <= 30
            elif precision == "float64":
                np.testing.assert_array_equal(one.picture, other.picture)
            else:
                assert np.abs(one.picture.astype(int) - other.picture).max() <= 6


def test_several_images_of_one_target_are_pushed_apart():
    of = visualized(Normalised(), "conv2", natural_inputs(20, 3, 9, 9))
    several = [Target((0,), number=number, images=3) for number in range(3)]
    settings = quick("float64", steps=60)
    pushed = optimised(of, several, [0, 0, 0], settings)
    # One of them alone is the same picture: the others are optimised beside it.
    (second,) = optimised(of, several[1:2], [0], settings)
    np.testing.assert_array_equal(second.picture, pushed[1].picture)
    single = optimised(of, [Target((0,))] * 3, [0, 1, 2], settings)

    def alike(made):
        keep = LayerOutput.mean
        with layer_outputs(of.model, [of.layer], of.convention, keep) as outputs:
            mean = outputs(of.pixels.inputs_of(np.stack([x.picture for x in made])).float())
        rest = mean["conv2"].double()
        rest = rest - of.U @ of.natural_mean
        u = of.U[:, 0]
        rest = torch.nn.functional.normalize(rest - (rest @ u)[:, None] * u, dim=1)
        cosines = rest @ rest.T
        return float((cosines.sum() - 3) / 6)

    assert alike(pushed) < alike(single) - 0.1


def test_the_network_is_left_as_it_is():
    model = Normalised()
    model.conv1.weight.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    of = visualized(model, "conv2", natural_inputs(8, 3, 9, 9))
    optimised(of, [Target((0,))], [0], quick(steps=3))

    def stop(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimised(of, [Target((0,))], [0], quick(steps=3), stop)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {"conv1.weight"}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_steps_are_counted_in_pictures():
    of = visualized(Normalised(), "conv1", natural_inputs(8, 3, 9, 9))
    counted = []
    optimised(of, [Target((0,)), Target((1,))], [0, 0], quick(steps=4), counted.append)
    assert counted == [2, 2, 2, 2]


def test_what_cannot_be_asked_is_refused():
    of = visualized(Normalised(), "conv1", natural_inputs(8, 3, 9, 9))
    assert isinstance(of, Visualized)
    for targets, seeds, message in [
        ([Target((5,))], [0], "layer conv1 has 5 singular vectors, so no v5"),
        ([Target((0,))], [0, 1], "2 seeds for 1 targets"),
        ([Target((0,), number=2, images=2)], [0], "image 2 of 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimised(of, targets, seeds, quick())


def test_settings_are_interpolated_between_small_and_large_pictures():
    small, large = Settings.for_size(28, 28), Settings.for_size(260, 260)
    assert small == Settings.for_size(32, 32)
    assert (small.decay, small.extents.shift, small.extents.scale) == (1.5, 2, 0.10)
    assert (large.decay, large.extents.shift, large.extents.scale) == (1.0, 16, 0.15)
    middle = Settings.for_size(84, 86)
    assert small.extents.shift < middle.extents.shift < large.extents.shift
    assert Settings.for_size(32, 32, 7, "float64").steps == 7
    assert 1 <= batch_size(torch.device("cpu"), 224, 224) <= 4


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc"])
@pytest.mark.parametrize("objective", ["mean", "density"])
@pytest.mark.parametrize("kind", ["fourier", "maco"])
def test_the_gradient_of_a_picture_against_finite_differences(layer, objective, kind, monkeypatch):
    """Of Eqs. 19 and 20, from the parameters through pixels, transformation and network."""
    plain = visualized(Normalised(), layer, natural_inputs(20, 3, 9, 9))
    model, convention = float64_network(plain.model, plain.convention)
    space = plain.pixels
    of = parametrized(kind, space, 1.0, torch.empty(0, dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    start = 5 * torch.stack([of.start(generator), of.start(generator)])
    maps = affine(drawn(Extents(1.0, 0.1, 10.0), 2, generator), 9, 9)
    targets = [Target((0, 1), (1.0, 0.5)), Target((2,), direction="negative")]
    directions = target_directions(plain.U, targets)
    temperature = of_objectives._temperature

    def values(parameters):
        keep = partial(kept_for, objective)
        with layer_outputs(model, [plain.layer], convention, keep) as outputs:
            seen = transformed(space.squashed(of.latents(parameters)), maps)
            return objectives(objective, outputs(space.inputs(seen))[layer], directions)

    parameters = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(values(parameters).sum(), parameters)
    # No gradient flows through the temperature of the soft maximum: it is held.
    held = []
    monkeypatch.setattr(
        of_objectives, "_temperature", lambda s: held.append(temperature(s)) or held[0]
    )
    values(start)
    for seed in range(3):
        way = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed)).double()
        step = 1e-6
        rise = values(start + step * way).sum() - values(start - step * way).sum()
        expected = float(rise) / (2 * step)
        assert float((gradient * way).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_objectives_by_hand():
    # u_0 = (1, 0), u_1 = (0, 1); two positions with outputs (1, 2) and (3, 6).
    U = torch.eye(2, dtype=torch.float64)
    targets = [Target((0,)), Target((0, 1), (2.0, 0.5)), Target((1,), direction="negative")]
    directions = target_directions(U, targets)
    assert directions.tolist() == [[1, 0], [2, 0.5], [0, -1]]
    outputs = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]], dtype=torch.float64).expand(3, -1, -1)
    assert objectives("mean", outputs.mean(dim=1), directions).tolist() == [2, 6, -4]
    # Signals 1 and 3 have standard deviation 1, so the temperature is a half.
    found = objectives("density", outputs, directions)
    assert float(found[0]) == pytest.approx(0.5 * np.log((np.exp(2) + np.exp(6)) / 2))
    assert 2 < float(found[0]) < 3
    # Of one position, and of equal signals, it is the signal.
    assert soft_maximum(torch.tensor([[4.0], [-1.0]])).tolist() == [4, -1]
    assert soft_maximum(torch.tensor([[2.0, 2.0, 2.0]])).tolist() == [2]
