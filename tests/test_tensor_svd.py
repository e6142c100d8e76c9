import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grouped_weights, whole_numbers

from ddp_tasks.tensor_svd import GAP_TOLERANCE, decompose, relative_gaps, signs

# Backward stability of the SVD: errors of some tens of the last bit of s_0, sizes below 30 here.
ROUNDING = 1e-13


def test_decomposition_by_hand():
    # W maps e0 to 3 e0 and e1 to -2 e1. u0 = e0 and u1 = e1 are the positive choices; then
    # W v1 = s1 u1 makes v1 = -e1.
    found = decompose(torch.tensor([[3.0, 0.0], [0.0, -2.0]]))
    assert found.rank == 2
    np.testing.assert_allclose(found.S, [3, 2], rtol=ROUNDING)
    np.testing.assert_allclose(found.U, [[1, 0], [0, 1]], atol=ROUNDING)
    np.testing.assert_allclose(found.V, [[1, 0], [0, -1]], atol=ROUNDING)
    assert found.block.tolist() == [0, 0]


def test_groups_are_ordered_together_by_hand():
    # Blocks (2) and (-5) on the diagonal: the second group's value comes first, u = e1 is
    # positive, so v = -e1 carries the sign.
    found = decompose(torch.tensor([[2.0], [-5.0]]), groups=2)
    np.testing.assert_allclose(found.S, [5, 2], rtol=ROUNDING)
    assert found.block.tolist() == [1, 0]
    np.testing.assert_allclose(found.U, [[0, 1], [1, 0]], atol=ROUNDING)
    np.testing.assert_allclose(found.V, [[0, 1], [-1, 0]], atol=ROUNDING)


@given(grouped_weights())
def test_factors_reproduce_the_block_diagonal_weight(example):
    W, groups = example
    found = decompose(W, groups)
    whole = reference.block_diagonal(W.numpy(), groups)
    U, S, V = found.U.numpy(), found.S.numpy(), found.V.numpy()

    np.testing.assert_allclose(U @ np.diag(S) @ V.T, whole, atol=ROUNDING * S[0])
    np.testing.assert_allclose(U.T @ U, np.eye(found.rank), atol=ROUNDING)
    np.testing.assert_allclose(V.T @ V, np.eye(found.rank), atol=ROUNDING)
    assert np.all(np.diff(S) <= 0)
    assert S[-1] > 0
    rows, columns = W.shape[0] // groups, W.shape[1]
    for i, block in enumerate(found.block.tolist()):
        outside = np.delete(U[:, i], slice(block * rows, (block + 1) * rows))
        assert not outside.any()
        assert not np.delete(V[:, i], slice(block * columns, (block + 1) * columns)).any()
    assert np.all(U[np.abs(U).argmax(axis=0), np.arange(found.rank)] > 0)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
def test_agrees_with_the_reference(seed, rows, columns):
    W = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).double()
    found = decompose(W)
    U, S, V = reference.singular_value_decomposition(W.numpy())
    np.testing.assert_allclose(found.S, S, rtol=1e-9, atol=ROUNDING * S[0])
    # A vector is known as well as its value stands apart: rounding over the gap.
    atol = 1e-12 / max(float(relative_gaps(found.S).min()), 1e-9)
    np.testing.assert_allclose(found.V, V, atol=atol)
    np.testing.assert_allclose(found.U, U, atol=atol)


@given(SEEDS, st.integers(1, 4), st.integers(0, 3))
def test_rank_of_a_rank_deficient_weight(seed, rank, more):
    # A product of d x r and r x c whole-number matrices, each with an identity block, has rank
    # r exactly.
    generator = torch.Generator().manual_seed(seed)
    left = torch.cat([torch.eye(rank), whole_numbers(generator, more, rank)])
    right = torch.cat([torch.eye(rank), whole_numbers(generator, rank, more + 1)], dim=1)
    assert decompose(left.double() @ right.double()).rank == rank


def test_a_group_of_zeros_has_no_singular_vectors():
    W = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    found = decompose(W, groups=2)
    assert found.rank == 1
    assert found.block.tolist() == [0]
    np.testing.assert_allclose(found.V[:, 0], [1 / 5**0.5, 2 / 5**0.5, 0, 0], rtol=ROUNDING)


@given(SEEDS, st.integers(2, 6), st.integers(1, 4), st.data())
def test_signs_undo_whatever_flips_a_routine_made(seed, rows, rank, data):
    U = torch.randn(rows, rank, generator=torch.Generator().manual_seed(seed)).double()
    flips = torch.tensor(
        data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=rank, max_size=rank))
    ).double()
    # Flipping is exact, so the fixed vectors agree to the bit.
    assert torch.equal(U * signs(U), (U * flips) * signs(U * flips))


def test_the_first_of_equal_magnitudes_decides_the_sign():
    # Magnitudes of (-a, a) that differ by rounding alone count as equal: row 0 decides.
    a = 0.5**0.5
    U = torch.tensor([[-a, a], [a * (1 + 1e-15), -a * (1 + 1e-15)]], dtype=torch.float64)
    assert signs(U).tolist() == [-1, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        decompose(torch.tensor([[1.0, bad]]))


def test_zero_weights_are_refused():
    with pytest.raises(ValueError, match="zero throughout"):
        decompose(torch.zeros(3, 4))


def test_relative_gaps_by_hand():
    # Over s_0 = 8: 8 is 4 from 4; both 4 have a twin; 1 is 3 from 4.
    gaps = relative_gaps(torch.tensor([8.0, 4.0, 4.0, 1.0]))
    assert gaps.tolist() == [0.5, 0.0, 0.0, 0.375]
    assert relative_gaps(torch.tensor([7.0])).tolist() == [1.0]


def test_gaps_tell_duplicate_singular_values():
    # 2 I has one singular value twice; diag(2, 1) has two.
    assert bool((relative_gaps(decompose(2 * torch.eye(2)).S) < GAP_TOLERANCE).all())
    apart = relative_gaps(decompose(torch.diag(torch.tensor([2.0, 1.0]))).S)
    np.testing.assert_allclose(apart, [0.5, 0.5], rtol=ROUNDING)


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=8))
def test_relative_gap_is_the_distance_to_the_nearest_other_value(values):
    values = sorted(values, reverse=True)
    gaps = relative_gaps(torch.tensor(values, dtype=torch.float64))
    for i, gap in enumerate(gaps.tolist()):
        others = [abs(values[i] - v) / values[0] for j, v in enumerate(values) if j != i]
        # One subtraction and one division: two roundings.
        assert gap == pytest.approx(min(others, default=1.0), rel=1e-15, abs=0)
