import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS
from torch.nn.functional import conv1d, conv2d, conv3d

from ddp_tasks.capacity.toeplitz import (
    block_spectrum,
    blocks,
    frequencies,
    image_of_transposed,
    symbol,
    toeplitz_spectrum,
)
from ddp_tasks.capacity.toeplitz_matrix import boundary_differences, checkable_size, toeplitz_matrix

# Singular values come from eigenvalues of Gram matrices in float64: a zero is known to about
# sqrt(size * 2.2e-16) of the largest, 1e-7 for the sizes here; the stated accuracy is 1e-6.
GRAM = 2e-7


@st.composite
def convolutions(draw):
    """A weight, and all that a convolution of one to three axes may be asked to do."""
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 2))
    per_axis = st.tuples(*[st.integers(1, 2)] * axes)
    longest = {1: 9, 2: 6, 3: 3}[axes]
    size = draw(st.tuples(*[st.integers(1, longest)] * axes))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * axes))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = (groups * draw(st.integers(1, 3)), draw(st.integers(1, 3)), *kernel)
    W = torch.randn(shape, generator=generator, dtype=torch.float64)
    steps = {"stride": draw(per_axis), "dilation": draw(per_axis), "groups": groups}
    return W, size, steps


def test_a_1x1_kernel_has_its_own_singular_values_at_every_frequency():
    W = torch.tensor([[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]]).reshape(3, 2, 1, 1)
    found = toeplitz_spectrum(W, (3, 4))
    np.testing.assert_allclose(found, [3] * 12 + [2] * 12, rtol=1e-12)


def test_a_delta_kernel_only_shifts():
    W = torch.zeros(2, 2, 3, 3)
    W[0, 0, 0, 2] = W[1, 1, 2, 1] = 5
    np.testing.assert_allclose(toeplitz_spectrum(W, (4, 5)), [5] * 40, rtol=1e-12)


def test_the_circulant_of_a_difference_by_hand():
    # y[u] = x[u + 1] - x[u] on a ring of m: |exp(2πi f / m) - 1| = 2 |sin(π f / m)|.
    for m in (1, 2, 5, 6):
        expected = sorted((2 * abs(math.sin(math.pi * f / m)) for f in range(m)), reverse=True)
        found = toeplitz_spectrum(torch.tensor([[[-1.0, 1.0]]]), (m,))
        np.testing.assert_allclose(found, expected, atol=GRAM)


def test_a_strided_1x1_kernel_sees_one_phase_of_the_image():
    # Every second pixel goes through the kernel, the others nowhere: 2 x 3 outputs of s = 2.
    found = toeplitz_spectrum(torch.full((1, 1, 1, 1), -2.0), (4, 6), stride=2)
    np.testing.assert_allclose(found, [2] * 6, rtol=1e-12)


def test_a_fully_connected_layer_is_its_own_toeplitz_matrix():
    W = torch.randn(4, 6, dtype=torch.float64)
    np.testing.assert_allclose(toeplitz_spectrum(W, ()), torch.linalg.svdvals(W), rtol=1e-8)


@given(convolutions())
def test_spectrum_is_that_of_the_explicit_circulant_matrix(example):
    W, size, steps = example
    explicit = torch.linalg.svdvals(toeplitz_matrix(W, size, "periodic", **steps))
    found = toeplitz_spectrum(W, size, **steps)
    # Of a grouped convolution the whole matrix has zeros that belong to no block.
    assert len(found) <= len(explicit)
    np.testing.assert_allclose(found, explicit[: len(found)], atol=GRAM * float(explicit[0]))
    np.testing.assert_allclose(explicit[len(found) :], 0, atol=1e-13 * float(explicit[0]))


@given(convolutions())
def test_squares_add_up_to_the_frobenius_norm_of_the_matrix(example):
    # Eq. 10 repeats the filter for every output, so ‖W̄₂‖² = outputs · ‖W‖² unless taps meet
    # on a ring that is smaller than the filter.
    W, size, steps = example
    layer = symbol(W, size, **steps)
    # Up to 81 values, each with a rounding error of some ε of the largest square.
    total = float(toeplitz_spectrum(W, size, **steps).square().sum())
    ring = [n * t for n, t in zip(layer.size, steps["stride"], strict=True)]
    reach = [e * (k - 1) + 1 for e, k in zip(steps["dilation"], W.shape[2:], strict=True)]
    if all(m >= k for m, k in zip(ring, reach, strict=True)):
        expected = math.prod(layer.size) * float(W.square().sum())
        assert total == pytest.approx(expected, rel=1e-11)


@given(convolutions())
def test_half_the_frequencies_give_the_full_spectrum(example):
    W, size, steps = example
    half = symbol(W, size, **steps)
    everything = torch.arange(math.prod(half.size))
    full = dataclasses.replace(half, frequency=everything, count=torch.ones_like(everything))
    found = block_spectrum(half, (0, len(half.frequency))).sort().values
    expected = block_spectrum(full, (0, len(everything))).sort().values
    np.testing.assert_allclose(found, expected, atol=GRAM * float(expected[-1]))
    assert len(found) == half.values


@given(st.lists(st.integers(1, 7), max_size=3))
def test_every_frequency_or_its_negative_is_taken_once(size):
    index, count = frequencies(size)
    assert int(count.sum()) == math.prod(size)
    # Those that are their own negative: one on an odd axis, two on an even one.
    assert int((count == 1).sum()) == math.prod(2 - n % 2 for n in size)
    places = {tuple(map(int, np.unravel_index(i, size))) if size else () for i in index.tolist()}
    negatives = {tuple(-f % n for f, n in zip(p, size, strict=True)) for p in places}
    assert len(places | negatives) == math.prod(size)


@given(convolutions(), st.integers(1, 2000))
def test_the_spectrum_does_not_depend_on_the_blocks(example, memory):
    W, size, steps = example
    layer = symbol(W, size, **steps)
    parts = blocks(layer, memory)
    assert [a for a, _ in parts[1:]] == [b for _, b in parts[:-1]]
    assert parts[-1][1] == len(layer.frequency)
    found = torch.cat([block_spectrum(layer, part) for part in parts])
    whole = toeplitz_spectrum(W, size, **steps)
    # The products of a block are summed in another order.
    np.testing.assert_allclose(
        found.sort(descending=True).values, whole, atol=GRAM * float(whole[0])
    )


@given(convolutions())
def test_no_value_known_to_be_zero_lies_above_the_floor(example):
    W, size, steps = example
    W = W.expand(W.shape) * torch.ones(W.shape[0], *[1] * (W.ndim - 1))
    W = torch.cat([W[:: W.shape[0] // steps["groups"]]] * 2).contiguous()
    W = W.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)  # each group has one filter, twice
    layer = symbol(W, size, **steps)
    S = block_spectrum(layer, (0, len(layer.frequency)))
    assert int((layer.floor < S).sum()) <= math.prod(layer.size) * steps["groups"]


@given(convolutions(), st.sampled_from(["valid", "zeros"]), st.integers(0, 2))
def test_the_explicit_matrix_is_the_convolution(example, boundary, padding):
    W, size, steps = example
    convolve = {1: conv1d, 2: conv2d, 3: conv3d}[len(size)]
    margin = padding if boundary == "zeros" else 0
    reach = [e * (k - 1) for e, k in zip(steps["dilation"], W.shape[2:], strict=True)]
    if any(m + 2 * margin <= r for m, r in zip(size, reach, strict=True)):
        with pytest.raises(ValueError, match="does not fit into"):
            toeplitz_matrix(W, size, boundary, padding=padding, **steps)
        return
    X = torch.randn(W.shape[1] * steps["groups"], *size, dtype=torch.float64)
    expected = convolve(X[None], W, padding=margin, **steps)[0]
    matrix = toeplitz_matrix(W, size, boundary, padding=padding, **steps)
    np.testing.assert_allclose(matrix @ X.flatten(), expected.flatten(), atol=1e-12)


def test_the_difference_between_the_boundaries_by_hand():
    # A filter 1 0 1 on three pixels. Periodic: y[u] = x[u] + x[u + 2], s = |1 + exp(2πi 2f / 3)|
    # = 2, 1, 1. Zeros outside, filter centred: y[u] = x[u - 1] + x[u + 1], the path of three,
    # s = √2, √2, 0. Valid: one output that sees both ends, s = √2.
    W = torch.tensor([[[1.0, 0.0, 1.0]]])
    assert toeplitz_matrix(W, (3,), "periodic").tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 1]]
    assert toeplitz_matrix(W, (3,), "zeros").tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert toeplitz_matrix(W, (3,), "valid").tolist() == [[1, 0, 1]]
    found = boundary_differences(W, (3,))
    root = math.sqrt(2)
    zeros, valid = found["zeros"], found["valid"]
    assert (zeros.values, valid.values) == (3, 1)
    assert zeros.largest == pytest.approx(2 / root - 1)
    assert valid.largest == pytest.approx(2 / root - 1)
    assert zeros.frobenius == pytest.approx(math.sqrt(6) / 2 - 1)
    assert valid.frobenius == pytest.approx(math.sqrt(6) / root - 1)
    assert zeros.spectrum == pytest.approx(math.hypot(2 - root, 1 - root, 1) / 2)
    assert valid.spectrum == pytest.approx(math.hypot(2 - root, 1, 1) / root)


def test_larger_images_bring_the_three_spectra_together():
    W = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    small, large = (boundary_differences(W, (m, m)) for m in (4, 8))
    for boundary in ("zeros", "valid"):
        assert 0 < large[boundary].frobenius < small[boundary].frobenius
        assert large[boundary].spectrum < small[boundary].spectrum
    assert small["valid"].values == 2 * 2 * 2
    assert small["zeros"].values == 2 * 4 * 4


def test_what_does_not_fit_is_refused_by_name():
    W = torch.randn(2, 2, 3, 3)
    with pytest.raises(ValueError, match="does not take inputs of size"):
        toeplitz_spectrum(W, (4,))
    with pytest.raises(ValueError, match="stride is 0"):
        toeplitz_spectrum(W, (4, 4), stride=0)
    with pytest.raises(ValueError, match="dilation is"):
        toeplitz_spectrum(W, (4, 4), dilation=(1, 2, 3))
    with pytest.raises(ValueError, match="does not divide into 3 groups"):
        toeplitz_spectrum(W, (4, 4), groups=3)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        toeplitz_matrix(W, (4, 4), "periodic", memory=100)
    for bad in (torch.nan, torch.inf):
        W[0, 0, 0, 0] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            toeplitz_spectrum(W, (4, 4))


@st.composite
def transposed_convolutions(draw):
    """A weight as torch holds it, (c, d / groups, k, ...), a size, and the layer's steps."""
    axes = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 2))
    size = draw(st.tuples(*[st.integers(1, 4)] * axes))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * axes))
    per_axis = st.tuples(*[st.integers(1, 2)] * axes)
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = (groups * draw(st.integers(1, 3)), draw(st.integers(1, 3)), *kernel)
    W = torch.randn(shape, generator=generator, dtype=torch.float64)
    return W, size, {"stride": draw(per_axis), "dilation": draw(per_axis), "groups": groups}


def on_a_ring(W, X, steps):
    """y[h, t·u + e·s] += W[r, h, s] x[r, u], places of y modulo t·m: the definition in loops."""
    groups = steps["groups"]
    size = [m * t for m, t in zip(X.shape[1:], steps["stride"], strict=True)]
    Y = np.zeros((W.shape[1] * groups, *size))
    for r, h, *s in np.ndindex(*W.shape):
        group = r // (len(W) // groups)
        for u in np.ndindex(*X.shape[1:]):
            rows = zip(u, s, steps["stride"], steps["dilation"], size, strict=True)
            place = tuple((t * v + e * k) % m for v, k, t, e, m in rows)
            Y[(group * W.shape[1] + h, *place)] += W[(r, h, *s)] * X[(r, *u)]
    return Y


@given(transposed_convolutions())
def test_a_transposed_convolution_has_the_spectrum_of_its_dense_matrix(example):
    W, size, steps = example
    columns = []
    for at in np.ndindex(len(W), *size):
        X = np.zeros((len(W), *size))
        X[at] = 1
        columns.append(on_a_ring(W.numpy(), X, steps).ravel())
    expected = np.linalg.svd(np.stack(columns, axis=1), compute_uv=False)
    found = toeplitz_spectrum(W, image_of_transposed(size, steps["stride"]), **steps)
    np.testing.assert_allclose(found, expected[: len(found)], atol=GRAM * expected[0])
    np.testing.assert_allclose(expected[len(found) :], 0, atol=1e-13 * expected[0])


def test_a_transposed_layers_matrix_is_the_transpose_of_a_convolutions():
    # With a kernel of 2 at stride 2 nothing reaches over the edge: torch's own layer is exact.
    layer = torch.nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False).double().requires_grad_(False)
    basis = torch.eye(3 * 6, dtype=torch.float64).reshape(-1, 3, 2, 3)
    expected = np.linalg.svd(layer(basis).flatten(1).numpy(), compute_uv=False)
    found = toeplitz_spectrum(layer.weight, image_of_transposed((2, 3), 2), stride=2)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    matrix = toeplitz_matrix(layer.weight, (4, 6), "valid", stride=2)
    np.testing.assert_allclose(matrix, layer(basis).flatten(1), atol=1e-15)


def test_the_size_at_which_boundaries_are_compared():
    # 16 x 3 filters: at 18 x 18 the image has 3 · 324 = 972 columns, at 19 x 19 1,083.
    assert checkable_size((16, 3, 3, 3), (32, 32), 1024, padding=1) == (18, 18)
    assert checkable_size((16, 3, 3, 3), (12, 24), 1024, padding=1) == (12, 24)
    assert checkable_size((64, 64, 3, 3), (8, 8), 1024, padding=1) == (4, 4)
    assert checkable_size((512, 512, 3, 3), (14, 14), 1024, padding=1) is None
    # At stride 2 the outputs are the fewer: 16 · 8 · 8.
    assert checkable_size((16, 16, 3, 3), (32, 32), 1024, padding=1, stride=2) == (16, 16)
