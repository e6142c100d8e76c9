import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grouped_weights

from ddp_tasks.capacity.metric import (
    COLUMNS,
    Capacity,
    Matrization,
    Spectrum,
    alpha_hat,
    bulk_edge,
    capacity,
    layer_capacity,
    refused_capacity,
    spectrum,
)
from ddp_tasks.capacity.power_law import Refusal, fit_power_law

EVERY = list(Matrization)


def test_every_column_is_defined_once():
    assert [field.name for field in dataclasses.fields(Capacity)] == list(COLUMNS)


def test_norms_by_hand():
    # λ = 100, 16, 9, 4, 1 and one zero; those above 20 are spikes.
    S = torch.tensor([10.0, 4.0, 3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    row = capacity(Spectrum(S, floor=1e-9, bulk_edge=20.0))
    assert row.lambda_max == 100
    assert row.log_spectral_norm == 2
    assert row.log_norm == pytest.approx(math.log10(130))
    assert row.stable_rank == pytest.approx(1.3)
    assert (row.matrix_rank, row.values, row.zeros, row.spikes) == (5, 5, 1, 1)
    assert row.mp_softrank == pytest.approx(0.2)
    assert row.weighted_alpha == pytest.approx(2 * row.alpha)
    assert row.capacity_term == pytest.approx(row.alpha * math.log(100))
    assert row.refusal == ""
    fit = fit_power_law([100, 16, 9, 4, 1])
    assert (row.alpha, row.xmin, row.D, row.tail) == (fit.alpha, fit.xmin, fit.D, fit.tail)


def test_alpha_hat_sums_and_averages_what_has_a_power_law():
    S = torch.tensor([10.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    rows = [capacity(Spectrum(S * c, 0, 1)) for c in (1, 2)] + [refused_capacity("none")]
    found = alpha_hat(rows)
    assert found.total == pytest.approx(rows[0].capacity_term + rows[1].capacity_term)
    # Scaling by 2 leaves α and adds α ln 4.
    assert rows[1].capacity_term == pytest.approx(
        rows[0].capacity_term + rows[0].alpha * math.log(4)
    )
    assert found.mean == found.total / 2
    assert (found.layers, found.left_out) == (2, 1)
    # Errors of α times ln λmax, in squares.
    terms = [row.sigma * math.log(row.lambda_max) for row in rows[:2]]
    assert found.error == pytest.approx(math.sqrt(terms[0] ** 2 + terms[1] ** 2))
    assert found.mean_error == pytest.approx(found.error / 2)
    nothing = alpha_hat([refused_capacity("none")])
    assert math.isnan(nothing.total)
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.error)
    assert math.isnan(nothing.mean_error)
    assert (nothing.layers, nothing.left_out) == (0, 1)


def test_what_makes_alpha_hat_hard_to_trust_is_counted():
    row = capacity(Spectrum(torch.arange(30.0, 0, -1, dtype=torch.float64), 0, 1))
    few = dataclasses.replace(row, independent=19, unstable=False)
    many = dataclasses.replace(few, independent=20)
    below = dataclasses.replace(many, lambda_max=0.5, capacity_term=many.alpha * math.log(0.5))
    unstable = dataclasses.replace(many, unstable=True, lambda_max=1.0)
    found = alpha_hat([few, few, many, below, unstable, refused_capacity("none")])
    assert (found.few, found.below_one, found.unstable) == (2, 1, 1)
    # A greater α of a layer with λmax below 1 lowers the sum.
    more = dataclasses.replace(below, capacity_term=(below.alpha + 1) * math.log(0.5))
    assert alpha_hat([more]).total < alpha_hat([below]).total < 0
    assert alpha_hat([below]).error > 0


@given(grouped_weights())
def test_the_unfolding_has_the_singular_values_of_its_blocks(example):
    W, groups = example
    found = spectrum(W, Matrization.UNFOLDED, groups=groups)
    blocks = [np.linalg.svd(b, compute_uv=False) for b in np.split(W.numpy(), groups)]
    expected = np.sort(np.concatenate(blocks))[::-1]
    # Blocks at least twice as wide as high go through their Gram matrix, which knows a zero to
    # about sqrt(size * 2.2e-16) of the largest.
    np.testing.assert_allclose(found.S, expected, atol=2e-7 * expected[0])


@given(SEEDS, st.sampled_from(EVERY), st.floats(1e-3, 1e3))
def test_scaling_the_weight_scales_what_has_units_and_nothing_else(seed, matrization, c):
    W = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    row = layer_capacity(W, matrization, size=(5, 4))
    scaled = layer_capacity(W * c, matrization, size=(5, 4))
    assert scaled.lambda_max == pytest.approx(row.lambda_max * c * c)
    assert scaled.bulk_edge == pytest.approx(row.bulk_edge * c * c)
    for name in ("stable_rank", "matrix_rank", "mp_softrank", "spikes", "values", "zeros"):
        assert getattr(scaled, name) == pytest.approx(getattr(row, name)), name
    assert scaled.log_norm == pytest.approx(row.log_norm + 2 * math.log10(c), abs=1e-9)
    assert pytest.approx(row.D, abs=1e-6) == scaled.D


@pytest.mark.parametrize(
    ("matrization", "shape", "options"),
    [
        (Matrization.UNFOLDED, (60, 20, 3, 3), {}),
        (Matrization.UNFOLDED, (120, 20, 3, 3), {"groups": 2}),
        (Matrization.TOEPLITZ, (60, 40, 3, 3), {"size": (8, 8)}),
        (Matrization.TOEPLITZ, (60, 40, 3, 3), {"size": (8, 8), "stride": 2}),
        (Matrization.TOEPLITZ, (120, 30, 3, 3), {"size": (9, 9), "stride": 3, "dilation": 2}),
    ],
)
def test_random_weights_have_their_bulk_below_the_edge(matrization, shape, options):
    # With entries that are independent no λ lies far outside; finite sizes blur the edge by
    # some per cent, and the greatest of the 64 blocks of W̄₂ is what λ_max is.
    W = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    row = layer_capacity(W, matrization, **options)
    assert 0.9 < row.mp_softrank < 1.12
    assert row.spikes <= max(1, 0.02 * row.values)


def test_equal_variances_have_the_edge_of_one_matrix():
    assert bulk_edge([2.0], 9, 16) == pytest.approx(2 * 49)
    assert bulk_edge([2.0] * 4, 9, 4) == pytest.approx(2 * 49)
    # Columns of zeros change nothing.
    assert bulk_edge([2.0, 0.0], 9, 16) == pytest.approx(2 * 49)
    assert bulk_edge([0.0, 0.0], 9, 16) == 0


@pytest.mark.parametrize("matrization", EVERY)
def test_a_1x1_layer_has_norms_and_no_power_law(matrization):
    row = layer_capacity(torch.full((1, 1, 1, 1), 3.0), matrization, size=(2, 2))
    assert row.refusal == Refusal.ALL_EQUAL
    assert math.isnan(row.alpha)
    assert math.isnan(row.capacity_term)
    assert row.lambda_max == pytest.approx(9)
    assert row.stable_rank == pytest.approx(row.matrix_rank)


@pytest.mark.parametrize("matrization", EVERY)
def test_a_layer_of_rank_one_is_known_to_be_one(matrization):
    W = torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 5)).reshape(5, 4, 1, 1)
    row = layer_capacity(W, matrization, size=(3, 3))
    # A 1 × 1 kernel has one slice, and channels of one number each.
    assert (
        row.matrix_rank == {"unfolded": 1, "toeplitz": 9, "slices": 1, "channels": 20}[matrization]
    )
    assert row.zeros == {"unfolded": 3, "toeplitz": 27, "slices": 3, "channels": 0}[matrization]


@pytest.mark.parametrize("matrization", EVERY)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_no_number_stops_no_other_layer(matrization, bad):
    W = torch.randn(4, 4, 3, 3)
    W[0, 0, 0, 0] = bad
    row = layer_capacity(W, matrization, size=(4, 4))
    assert "NaN" in row.refusal
    assert math.isnan(row.lambda_max)
    with pytest.raises(ValueError, match="NaN or infinity"):
        spectrum(W, matrization, size=(4, 4))


@pytest.mark.parametrize("matrization", EVERY)
def test_a_layer_of_zeros_is_named(matrization):
    row = layer_capacity(torch.zeros(4, 4, 3, 3), matrization, size=(4, 4))
    assert "zero throughout" in row.refusal
    assert row.matrix_rank == 0
    assert row.zeros > 0
    assert math.isnan(row.log_norm)


@pytest.mark.parametrize("matrization", EVERY)
def test_duplicate_singular_values_are_fitted_as_they_are(matrization):
    # Two equal blocks on the diagonal: every value comes twice, and α is that of one copy's
    # values taken twice.
    W = torch.randn(6, 6, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    twice = layer_capacity(torch.cat([W, W]), matrization, size=(4, 4), groups=2)
    once = layer_capacity(W, matrization, size=(4, 4))
    assert twice.values == 2 * once.values
    assert twice.lambda_max == pytest.approx(once.lambda_max)
    assert twice.stable_rank == pytest.approx(2 * once.stable_rank)


@pytest.mark.parametrize("matrization", EVERY)
def test_a_fully_connected_layer_has_one_matrix(matrization):
    W = torch.randn(20, 30, dtype=torch.float64)
    assert layer_capacity(W, matrization) == layer_capacity(W, Matrization.UNFOLDED)


@given(st.integers(1, 5), st.integers(1, 5), SEEDS)
def test_the_standard_error_of_w2_counts_each_pair_of_frequencies_once(m, n, seed):
    W = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    row = layer_capacity(W, Matrization.TOEPLITZ, size=(m, n))
    # numpy's blocks of every frequency; of ω and -ω only the first is looked at.
    kernel = np.zeros((3, 2, m, n))
    for s, t in np.ndindex(3, 3):
        kernel[:, :, s % m, t % n] += W[:, :, s, t].numpy()
    blocks = np.fft.fft2(kernel)
    seen, every, once = set(), 0, 0
    for place in np.ndindex(m, n):
        squares = np.linalg.svd(blocks[:, :, *place], compute_uv=False) ** 2
        above = int((squares >= row.xmin * (1 - 1e-9)).sum())
        every += above
        once += 0 if place in seen else above
        seen |= {place, (-place[0] % m, -place[1] % n)}
    if row.refusal:
        assert row.independent == 0
        return
    assert (row.tail, row.independent) == (every, once)
    assert row.sigma == pytest.approx((row.alpha - 1) / math.sqrt(once))


def test_every_other_matrization_counts_all_values_of_the_tail():
    W = torch.randn(6, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    for matrization in (Matrization.UNFOLDED, Matrization.SLICES, Matrization.CHANNELS):
        row = layer_capacity(torch.cat([W, W]), matrization, groups=2)
        assert row.independent == row.tail
