import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, grouped_weights, whole_numbers

from ddp_tasks.networks.decomposition import decomposition_dataset, stores_right_singular_vectors
from ddp_tasks.weights import gram_matrix
from ddp_tasks.weights.layer_vectors import GAP_TOLERANCE
from ddp_tasks.weights.tensor_svd import (
    decompose,
    relative_gaps,
    right_vectors,
    signs,
)

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


# The gram route. Its errors grow as s_0 / s_i: a factor of 1e5 at its worst, which turns the
# rounding of 1e-15 into 1e-10 of s_0; what was measured is a hundred times less.
GRAM = 1e-10


def _with_singular_values(values, rows, columns, seed):
    """A float64 weight with the singular values given."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    U, _, Vh = torch.linalg.svd(W, full_matrices=False)
    return (U * torch.tensor(values, dtype=torch.float64)) @ Vh


@given(grouped_weights(), st.booleans())
def test_both_routes_give_the_same_decomposition(example, with_v):
    W, groups = example
    exact = decompose(W, groups)
    found = decompose(W, groups, right_singular_vectors=with_v, route="gram")
    assert found.rank == exact.rank
    s0 = float(exact.S[0])
    np.testing.assert_allclose(found.S, exact.S, rtol=1e-6, atol=GRAM * s0)
    whole = reference.block_diagonal(W.numpy(), groups)
    U, S = found.U.numpy(), found.S.numpy()
    np.testing.assert_allclose(U.T @ U, np.eye(found.rank), atol=1e-8)
    # Uᵀ W has the rows sᵢ vᵢᵀ, orthogonal, whatever the signs and however close the values.
    np.testing.assert_allclose((U.T @ whole) @ (U.T @ whole).T, np.diag(S**2), atol=GRAM * s0**2)
    assert np.all(U[np.abs(U).argmax(axis=0), np.arange(found.rank)] > 0)
    assert (found.V is not None) == with_v
    if found.V is not None:
        np.testing.assert_allclose(U @ np.diag(S) @ found.V.numpy().T, whole, atol=1e-9 * s0)


@given(
    st.lists(st.floats(-4.9, 0), min_size=1, max_size=6),
    st.integers(0, 6),
    st.booleans(),
    SEEDS,
)
def test_accuracy_of_the_gram_route(exponents, more, tall, seed):
    # Tall blocks divide by S, so they are held to values above 1e-3.
    scale = 2.9 / 4.9 if tall and more else 1.0
    values = sorted((10.0 ** (scale * e) for e in [0.0, *exponents]), reverse=True)
    short, long = len(values), len(values) + more
    W = _with_singular_values(values, *((long, short) if tall else (short, long)), seed)
    exact, found = decompose(W), decompose(W, right_singular_vectors=False)
    assert (found.route, found.rank) == ("gram", len(values))
    # p ε s_0² / s_i with p below 25 and s_i above 1e-5 s_0, as the docstring derives it.
    np.testing.assert_allclose(found.S, exact.S, rtol=1e-4, atol=0)
    np.testing.assert_allclose(found.S, exact.S, rtol=0, atol=1e-9)
    # Vectors up to p ε s_0 / s_i over the gap, p = 1000 leaving a margin; those whose own bound
    # is above 1e-3, and which may differ in sign, are not known.
    bound = 1000 * 2.0**-52 / exact.S / relative_gaps(exact.S).clamp_min(1e-300)
    known = bound < 1e-3
    turned = (found.U - exact.U).norm(dim=0)
    flipped = (found.U + exact.U).norm(dim=0)
    assert bool((torch.minimum(turned, flipped) <= bound)[known].all())


@given(SEEDS, st.integers(2, 6), st.integers(0, 3), st.sampled_from([1e-6, 1e-8, 1e-10]))
def test_tiny_singular_values_of_a_full_rank_weight_count(seed, rank, more, least):
    values = [*np.linspace(1, 0.5, rank - 1), least]
    for shape in [(rank, rank + more), (rank + more, rank)]:
        W = _with_singular_values(values, *shape, seed)
        found = decompose(W, right_singular_vectors=False)
        assert (found.route, found.rank) == ("svd", rank)
        np.testing.assert_allclose(found.S, values, atol=ROUNDING)


@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 30))
def test_rank_of_a_float32_weight_with_filters_that_repeat(seed, distinct, repeated, more):
    # Copies and multiples by powers of two are exact in float32, so the rank is not a matter of
    # rounding.
    generator = torch.Generator().manual_seed(seed)
    filters = torch.randn(distinct, distinct + more, generator=generator)
    W = torch.cat([filters, -0.5 * filters[:repeated], torch.zeros(1, distinct + more)])
    exact, found = decompose(W), decompose(W, right_singular_vectors=False)
    assert found.route == "svd" or found.rank == min(W.shape)
    assert found.rank == exact.rank == np.linalg.matrix_rank(filters.double().numpy())
    np.testing.assert_allclose(found.S, exact.S, atol=ROUNDING * float(exact.S[0]))


def test_rank_of_a_wide_float32_weight_with_filters_that_repeat():
    filters = torch.randn(40, 2000, generator=torch.Generator().manual_seed(0))
    found = decompose(torch.cat([filters, filters[:7]]), right_singular_vectors=False)
    assert (found.rank, found.route) == (40, "svd")
    found = decompose(filters, right_singular_vectors=False)
    assert (found.rank, found.route) == (40, "gram")


def test_blocks_take_the_route_they_need():
    # Blocks with values (3, 1), (4, 0) and (2, 1e-8): the second is of rank one, the third has
    # a value that its Gram matrix cannot tell from zero.
    rows = [[3.0, 0, 0], [0, 1, 0], [0, 4, 0], [0, 4, 0], [2, 0, 0], [0, 0, 1e-8]]
    W = torch.tensor(rows, dtype=torch.float64)
    found = decompose(W, groups=3, right_singular_vectors=False)
    np.testing.assert_allclose(found.S, [32**0.5, 3, 2, 1, 1e-8], rtol=ROUNDING)
    assert found.block.tolist() == [1, 0, 2, 0, 2]
    assert found.route == "gram"
    np.testing.assert_allclose(found.U[:, 0], [0, 0, 0.5**0.5, 0.5**0.5, 0, 0], atol=ROUNDING)
    np.testing.assert_allclose(found.U[:, 4], np.eye(6)[5], atol=ROUNDING)
    # With V asked for one route has to do for the whole layer.
    assert decompose(W, 3, route="gram").route == "svd"


def test_depthwise_layers_with_many_blocks():
    W = torch.randn(960, 9, generator=torch.Generator().manual_seed(0))
    found = decompose(W, groups=960, right_singular_vectors=False)
    norms = W.double().norm(dim=1)
    np.testing.assert_allclose(found.S, norms.sort(descending=True).values, rtol=ROUNDING)
    # A block of one row has u = 1 in that row.
    assert torch.equal(found.U, torch.eye(960, dtype=torch.float64)[:, found.block])
    V = right_vectors(W, found.U[:, :3], found.S[:3], groups=960)
    for i, row in enumerate(found.block[:3].tolist()):
        expected = np.zeros(960 * 9)
        expected[row * 9 : row * 9 + 9] = W[row].double() / norms[row]
        np.testing.assert_allclose(V[:, i], expected, atol=ROUNDING)


@given(grouped_weights())
def test_right_vectors_follow_from_left_ones(example):
    W, groups = example
    svd = decompose(W, groups)
    some = slice(0, None, 2)
    V = right_vectors(W, svd.U[:, some], svd.S[some], groups)
    bound = 100 * ROUNDING * float(svd.S[0] / svd.S[some].min())
    np.testing.assert_allclose(V, svd.V[:, some], atol=bound)


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (4, 4), (1, 9), (9, 1)])
@pytest.mark.parametrize("slices", [(1, 1), (12, 2), (2**24, 1024)])
def test_gram_matrices_in_slices(shape, slices, monkeypatch):
    # Whole numbers, so sums of products are exact in whatever slices they are taken.
    entries, rows = slices
    monkeypatch.setattr(gram_matrix, "_ENTRIES", entries)
    monkeypatch.setattr(gram_matrix, "_ROWS", rows)
    blocks = whole_numbers(torch.Generator().manual_seed(0), 3, *shape).float()
    wide = blocks.double() if shape[0] <= shape[1] else blocks.double().mT
    assert torch.equal(gram_matrix.gram_matrix(blocks).tril(), (wide @ wide.mT).tril())
    whole, left = gram_matrix.left_singular_vectors(blocks), torch.linalg.svd(blocks.double()).S
    np.testing.assert_allclose(whole[1], left, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-100, 1e100, 1e160, 1e300])
def test_scales_whose_squares_leave_the_range_of_float64(scale):
    W = torch.tensor([[3.0, 0, 0], [0, 1, 0]], dtype=torch.float64) * scale
    found = decompose(W, right_singular_vectors=False)
    np.testing.assert_allclose(found.S, [3 * scale, scale], rtol=ROUNDING)
    np.testing.assert_allclose(found.U, np.eye(2), atol=ROUNDING)


@pytest.mark.parametrize("groups", [1, 2])
def test_duplicate_singular_values_by_the_gram_route(groups):
    found = decompose(2 * torch.eye(4)[:, : 4 // groups], groups, right_singular_vectors=False)
    if groups == 1:
        np.testing.assert_allclose(found.S, [2, 2, 2, 2], rtol=ROUNDING)
        np.testing.assert_allclose(found.U @ found.U.T, np.eye(4), atol=ROUNDING)
        assert bool((relative_gaps(found.S) < GAP_TOLERANCE).all())
    else:
        # The second block, rows 2 and 3 of the first two columns, is zero.
        assert (found.rank, found.block.tolist()) == (2, [0, 0])


@pytest.mark.parametrize("v", [True, False])
def test_layers_of_one_entry_and_of_rank_one(v):
    one = decompose(torch.tensor([[-3.0]]), right_singular_vectors=v)
    assert (one.S.tolist(), one.U.tolist()) == ([3.0], [[1.0]])
    assert one.V is None or one.V.tolist() == [[-1.0]]
    outer = torch.outer(torch.tensor([1.0, -2.0, 2.0]), torch.tensor([3.0, 4.0, 0.0, 0.0]))
    found = decompose(outer, right_singular_vectors=v)
    np.testing.assert_allclose(found.S, [15], rtol=ROUNDING)
    # -2 and 2 are of equal magnitude, so the first decides the sign.
    np.testing.assert_allclose(found.U[:, 0], [-1 / 3, 2 / 3, -2 / 3], rtol=ROUNDING)


@pytest.mark.parametrize("v", [True, False])
@pytest.mark.parametrize(
    ("W", "groups", "reason"),
    [
        (torch.tensor([[1.0, float("nan")]]), 1, "NaN or infinity"),
        (torch.tensor([[1.0], [float("-inf")]]), 2, "NaN or infinity"),
        (torch.zeros(3, 4), 1, "zero throughout"),
        (torch.zeros(3, 1), 3, "zero throughout"),
        (torch.zeros(3, 0), 1, "no entries"),
        (torch.ones(3, 1), 2, "3 filters do not divide into 2 groups"),
    ],
)
def test_refusals_of_both_routes(W, groups, reason, v):
    with pytest.raises(ValueError, match=reason):
        decompose(W, groups, right_singular_vectors=v)


def test_v_is_left_out_of_the_stored_form_where_it_was_not_computed():
    svd = decompose(torch.eye(2), right_singular_vectors=False)
    assert set(decomposition_dataset(svd, "auto").variables) == {"U", "S"}
    with pytest.raises(ValueError, match="has none"):
        decomposition_dataset(svd, "always")


def test_which_layers_store_v():
    # 4096 x 4096 is at the limit of 2**24 entries.
    assert stores_right_singular_vectors((4096, 4096), 1, "auto")
    assert not stores_right_singular_vectors((4096, 4097), 1, "auto")
    assert stores_right_singular_vectors((4096, 4097), 1, "always")
    assert not stores_right_singular_vectors((1, 1), 1, "never")
    # 4096 blocks of 1 x 1 make as large a V; of 1 x 2, one twice as large.
    assert stores_right_singular_vectors((4096, 1), 4096, "auto")
    assert not stores_right_singular_vectors((4096, 2), 4096, "auto")
