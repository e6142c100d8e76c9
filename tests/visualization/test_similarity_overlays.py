"""Cosines of activations: against loops, in both bases, and as a page carries them."""

import math

import numpy as np
import odd_networks
import pytest
import torch
from toy_networks import InPlaceNetwork

from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.visualization.similarity_overlays import (
    averaged,
    carried_vectors,
    similarity,
    spatial_activations,
)
from ddp_tasks.weights.tensor_svd import decompose


def _traced(build, *shape):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().double().eval()
        images = torch.rand(*shape, dtype=torch.float64)
    layers = trace_layers(model, images)
    return model, {layer.name: layer for layer in layers.linear}, layers.convention, images


@pytest.fixture(scope="module")
def traced():
    return _traced(InPlaceNetwork, 3, 2, 6, 6)


def _cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return dot / lengths if lengths else 0.0


def test_activations_are_the_layers_output_less_its_bias(traced):
    model, layers, convention, images = traced
    found = spatial_activations(model, layers["conv1"], convention, images)
    own = torch.nn.functional.conv2d(images, model.conv1.weight, padding=1)
    torch.testing.assert_close(found, own.permute(0, 2, 3, 1))
    vector = spatial_activations(model, layers["fc2"], convention, images)
    assert vector.shape == (3, 1, 1, 3)


def test_cosines_agree_with_loops_over_images_and_positions(traced):
    model, layers, convention, images = traced
    activations = spatial_activations(model, layers["conv2"], convention, images)
    activations[1, 0, 1] = 0
    found = similarity(activations, 0, 1, 0)
    vectors = activations.tolist()
    for image in range(3):
        for row in range(found.shape[1]):
            for column in range(found.shape[2]):
                expected = _cosine(vectors[0][1][0], vectors[image][row][column])
                assert found[image, row, column] == pytest.approx(expected, abs=1e-12)
    assert found[0, 1, 0] == pytest.approx(1)
    assert found[1, 0, 1] == 0
    assert similarity(activations, 1, 0, 1).abs().max() == 0


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1"])
def test_cosines_are_the_same_in_channels_and_singular_vectors(layer, rank):
    """Of full rank U is square and orthogonal; of a lower rank W̄ψ still lies in its span."""
    model, layers, convention, images = _traced(InPlaceNetwork, 3, 2, 6, 6)
    chosen = layers[layer]
    if rank is not None:
        weight = model.get_submodule(layer).weight
        flat = weight.detach().flatten(1)
        with torch.no_grad():
            weight.copy_((flat[:, :rank] @ flat[:rank]).reshape(weight.shape))
    svd = decompose(unfolded_weight(model, chosen), chosen.groups)
    d = chosen.shape[0]
    assert (svd.rank == d) == (rank is None)
    channels = spatial_activations(model, chosen, convention, images)
    singular = spatial_activations(model, chosen, convention, images, svd.U)
    assert singular.shape[-1] == svd.rank
    high, wide = channels.shape[1:3]
    for image, row, column in ((0, 0, 0), (2, high - 1, wide - 1)):
        torch.testing.assert_close(
            similarity(channels, image, row, column),
            similarity(singular, image, row, column),
            rtol=0,
            atol=1e-5,
        )


def test_with_the_bias_a_lower_rank_would_change_the_cosines():
    """Why the bias is left out: it lies outside the span of U."""
    model, layers, convention, images = _traced(InPlaceNetwork, 3, 2, 6, 6)
    weight = model.conv1.weight
    with torch.no_grad():
        weight[2:] = 0
        model.conv1.bias.copy_(torch.arange(1.0, 5.0))
    svd = decompose(unfolded_weight(model, layers["conv1"]))
    assert svd.rank == 2
    whole = spatial_activations(model, layers["conv1"], convention, images) + model.conv1.bias
    apart = similarity(whole, 0, 0, 0) - similarity(whole @ svd.U, 0, 0, 0)
    assert apart.abs().max() > 1e-2


def test_positions_of_three_axes_are_refused_by_name():
    model, layers, convention, images = _traced(odd_networks.Volumes, 2, 1, 5, 6, 7)
    volume = next(layer for layer in layers.values() if layer.kind == "Conv3d")
    with pytest.raises(ValueError, match=f"layer {volume.name} has positions of 3 axes"):
        spatial_activations(model, volume, convention, images)


def test_large_maps_are_averaged_and_small_ones_left():
    activations = torch.rand(2, 56, 30, 3, dtype=torch.float64)
    small = averaged(activations)
    assert small.shape == (2, 28, 28, 3)
    # 56 rows become 28 of two each; column 0 of 28 takes columns 0 and 1 of 30.
    expected = activations[:, :2, :2].mean(dim=(1, 2))
    torch.testing.assert_close(small[:, 0, 0], expected)
    assert averaged(activations[:, :28, :28]) is not None
    torch.testing.assert_close(averaged(activations[:, :28, :28]), activations[:, :28, :28])


def test_a_page_carries_what_gives_the_cosines_within_the_bytes():
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(4, 28, 28, 64, generator=generator, dtype=torch.float64)
    carried = carried_vectors(activations)
    assert carried.vectors.dtype == np.float16
    assert carried.vectors.nbytes <= 1 << 18
    assert carried.vectors.shape == (4, 28, 28, 41)
    flat = torch.from_numpy(carried.vectors.astype(np.float64)).reshape(-1, 41)
    worst = 0.0
    for place in (0, 1000, 3135):
        image, position = divmod(place, 784)
        exact = similarity(activations, image, *divmod(position, 28)).flatten()
        worst = max(worst, float((flat @ flat[place] - exact).abs().max()))
    assert worst <= carried.greatest_error < 0.3


def test_few_dimensions_are_carried_whole():
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(3, 7, 7, 16, generator=generator, dtype=torch.float64)
    carried = carried_vectors(activations)
    assert carried.vectors.shape == (3, 7, 7, 16)
    # Half precision has 11 bits; a product of unit vectors adds up 16 rounded terms.
    assert carried.greatest_error < 2e-3
