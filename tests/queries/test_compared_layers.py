"""Random bases that a layer of compared networks stands beside."""

import numpy as np

from ddp_tasks.queries.compared_layers import varied_bases


def test_signals_keep_their_variances_in_random_bases():
    rng = np.random.default_rng(0)
    signals = (rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    signals[3] = np.nan  # an image that does not reach the layer
    bases = varied_bases(signals, 5, np.random.default_rng(1))
    reached = np.delete(signals, 3, axis=0).astype(np.float64)
    for basis in bases:
        np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-9)
        np.testing.assert_allclose((reached @ basis).var(axis=0), reached.var(axis=0), rtol=1e-3)
        assert np.abs(basis).max() < 1


def test_where_no_other_basis_keeps_variances_the_own_one_stands_for_it():
    signals = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    bases = varied_bases(signals, 3, np.random.default_rng(1))
    np.testing.assert_array_equal(bases, [np.eye(2)] * 3)
    nothing = varied_bases(np.full((4, 3), np.nan, dtype=np.float32), 1, np.random.default_rng(1))
    np.testing.assert_array_equal(nothing, [np.eye(3)])
