"""Slices and channels of kernels against loops that build every matrix whole."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from ddp_tasks.capacity.kernel_matrices import channel_values, slice_matrices
from ddp_tasks.capacity.metric import Matrization, layer_capacity, spectrum


@st.composite
def convolutions(draw):
    """A weight of a convolution of one to three axes, float64, and its groups."""
    groups, filters, channels = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    shape = (groups * filters, channels, *kernel)
    return torch.randn(shape, generator=generator, dtype=torch.float64), groups


def _slices(W, groups):
    """Singular values of the whole matrix d × c of every place of the kernel, by loops."""
    d, columns = W.shape[:2]
    found = []
    for place in np.ndindex(*W.shape[2:]):
        whole = np.zeros((d, columns * groups))
        for h, r in np.ndindex(d, columns):
            group = h // (d // groups)
            whole[h, group * columns + r] = W[h, r, *place]
        # Block-diagonal, with blocks that may be wide or high: the greatest are those of blocks.
        number = groups * min(d // groups, columns)
        found += np.linalg.svd(whole, compute_uv=False)[:number].tolist()
    return sorted(found, reverse=True)


def _channels(W):
    """Singular values of the kernel of every filter and channel, by loops."""
    found = []
    for h, r in np.ndindex(*W.shape[:2]):
        kernel = W[h, r].reshape(W.shape[2], -1)
        found += np.linalg.svd(kernel, compute_uv=False).tolist()
    return sorted(found, reverse=True)


@given(convolutions())
def test_both_are_what_loops_over_every_matrix_find(example):
    W, groups = example
    slices = spectrum(W, Matrization.SLICES, groups=groups)
    expected = _slices(W.numpy(), groups)
    # Blocks twice as wide as high go through their Gram matrix: sqrt(size · 2e-16) of the largest.
    np.testing.assert_allclose(slices.S, expected, atol=2e-7 * expected[0])
    channels = spectrum(W, Matrization.CHANNELS, groups=groups)
    np.testing.assert_allclose(channels.S, _channels(W.numpy()), atol=1e-13)


def test_slices_and_channels_by_hand():
    W = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    W[0, 0] = torch.tensor([[0.0, 3.0], [0.0, 0.0]])
    W[0, 1] = torch.tensor([[-1.0, 4.0], [0.0, 2.0]])
    # A slice has one row of two channels: (0, -1), (3, 4), (0, 0), (0, 2).
    assert slice_matrices(W).tolist() == [[[0, -1]], [[3, 4]], [[0, 0]], [[0, 2]]]
    np.testing.assert_allclose(spectrum(W, Matrization.SLICES).S, [5, 2, 1, 0], atol=1e-7)
    # Of the second channel sᵀs = 1 + 16 + 4 and s₀ s₁ = |det| = 2.
    both = channel_values(W)
    assert both.square().sum() == pytest.approx(9 + 21)
    assert both[0] * both[2] == pytest.approx(2)
    assert (both[1], both[3]) == (3, 0)


def test_numbers_of_values_are_those_of_the_names():
    W = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    assert layer_capacity(W, Matrization.SLICES).values == 9 * 6
    assert layer_capacity(W, Matrization.CHANNELS).values == 8 * 6 * 3


@pytest.mark.parametrize("matrization", [Matrization.SLICES, Matrization.CHANNELS])
def test_random_kernels_have_their_bulk_below_the_edge(matrization):
    W = torch.randn(60, 40, 9, 9, generator=torch.Generator().manual_seed(0))
    row = layer_capacity(W, matrization)
    # The edge is that of one large matrix; the greatest of 2,400 small ones lies above it.
    assert (0.85 if matrization is Matrization.SLICES else 0.4) < row.mp_softrank < 1.1
